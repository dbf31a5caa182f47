//! Names that are certified when a client first asks for them.

use caddyfile::document::{self, AutomationPolicy, TlsApp};
use url::Url;

use super::super::CompileError;
use super::policy::{OnDemand, Policy};
use super::{Plan, environment, subject};

const PERMISSION: &str = "apps.tls.automation.on_demand.permission";

impl Plan {
    /// The index of the policy by which `name`, in lower case, is certified when a client asks for
    /// it; `None` when it is not. A policy that names it goes before those that only fit.
    pub fn on_demand(&self, name: &str) -> Option<usize> {
        if self.names.contains_key(name) || !is_host_name(name) {
            return None;
        }
        let names_it = |subjects: &Vec<String>| subjects.iter().any(|subject| subject == name);
        let fits = |subjects: &Vec<String>| {
            let mut matching = subjects.iter().filter(|one| subject::matches(one, name));
            subjects.is_empty() || matching.next().is_some()
        };
        let policies = &self.subjects;
        let index = policies
            .iter()
            .position(names_it)
            .or_else(|| policies.iter().position(fits))?;
        self.policies[index].on_demand.as_ref().map(|_| index)
    }

    /// The policies of names that clients bring.
    pub fn on_demand_policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies
            .iter()
            .filter(|policy| policy.on_demand.is_some())
    }
}

/// Whether `name` can be somebody's host: no address, and not of one label.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    };
    name.len() <= 253
        && name.contains('.')
        && name.split('.').all(is_label)
        // No top-level domain is a number, but the last octet of an address is.
        && !name.ends_with(|c: char| c.is_ascii_digit())
}

/// What a policy with `on_demand` asks before it certifies a name.
///
/// Without a permission anybody could have certificates ordered without end, so it is needed
/// wherever names are not bounded and a public authority is asked. Caddy: the same, since 2.8.
pub(super) fn compile(
    index: usize,
    policy: &AutomationPolicy,
    tls: &TlsApp,
    errors: &mut Vec<CompileError>,
) -> OnDemand {
    let automation = tls.automation.as_ref();
    let permission = automation
        .and_then(|automation| automation.on_demand.as_ref())
        .and_then(|on_demand| on_demand.permission.as_ref());
    let Some(permission) = permission else {
        if !is_bounded(policy) && !is_internal(policy) {
            errors.push(
                CompileError::new(
                    format_args!("apps.tls.automation.policies[{index}].on_demand"),
                    "on-demand TLS for any name needs a permission, or anybody could have \
                     certificates ordered without end",
                )
                .with_hint(
                    "add the global option `on_demand_tls { ask http://app:8000/allowed }`; it is \
                     asked with `?domain=NAME`, and a status of 2xx allows the name",
                ),
            );
        }
        return OnDemand::default();
    };
    match (
        permission["module"].as_str(),
        permission["endpoint"].as_str(),
    ) {
        (Some("http"), Some(endpoint)) => {
            let ask_url = environment::fill(endpoint);
            if let Err(reason) = check(&ask_url) {
                let error = CompileError::new(PERMISSION, format!("`{endpoint}`: {reason}"));
                push_once(errors, error);
            }
            OnDemand { ask_url }
        }
        _ => {
            let error = CompileError::new(PERMISSION, "this way to allow names is not supported")
                .with_hint("use `ask` with a URL");
            push_once(errors, error);
            OnDemand::default()
        }
    }
}

fn check(ask_url: &str) -> Result<(), String> {
    let url = Url::parse(ask_url).map_err(|error| error.to_string())?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(())
    } else {
        Err("this is no `http` or `https` URL".to_owned())
    }
}

/// Every policy comes to the same permission.
fn push_once(errors: &mut Vec<CompileError>, error: CompileError) {
    if !errors.contains(&error) {
        errors.push(error);
    }
}

fn is_bounded(policy: &AutomationPolicy) -> bool {
    !policy.subjects.is_empty() && !policy.subjects.iter().any(|name| name.starts_with('*'))
}

fn is_internal(policy: &AutomationPolicy) -> bool {
    match &policy.issuers[..] {
        [] => {
            !policy.subjects.is_empty()
                && policy
                    .subjects
                    .iter()
                    .all(|name| subject::is_internal(name))
        }
        [issuer] => matches!(issuer, document::Issuer::Internal(_)),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
