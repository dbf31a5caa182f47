//! Who certifies each name.

use std::collections::BTreeSet;
use std::time::Duration;

use caddyfile::document::{AutomationPolicy, TlsApp};

use super::super::{CompileContext, CompileError};
use super::policy::{Compiler, Issuer, Policy};
use super::{Plan, subject};

/// Finds the policy of each name.
pub(super) fn plan(
    tls: &TlsApp,
    names: BTreeSet<String>,
    context: &CompileContext,
    errors: &mut Vec<CompileError>,
) -> Plan {
    let automation = tls.automation.as_ref();
    let given = automation.map_or(&[][..], |automation| &automation.policies);
    let mut policies: Vec<Policy> = given
        .iter()
        .enumerate()
        .map(|(index, policy)| Compiler::new(index, tls, context, errors).policy(policy))
        .collect();
    let has_default_issuers = given.first().is_none_or(|policy| policy.issuers.is_empty());
    let mut plan = Plan::default();
    for name in names {
        let policy = match choose(&name, given, has_default_issuers) {
            Ok(index) if given[index].on_demand => continue,
            Ok(index) => index,
            Err(policy) => policies
                .iter()
                .position(|known| *known == policy)
                .unwrap_or_else(|| {
                    policies.push(policy);
                    policies.len() - 1
                }),
        };
        plan.names.insert(name, policy);
    }
    plan.policies = policies;
    plan.subjects = given
        .iter()
        .map(|policy| normalized(&policy.subjects))
        .collect();
    plan
}

fn normalized(subjects: &[String]) -> Vec<String> {
    let subjects = subjects.iter();
    subjects
        .map(|name| subject::to_ascii(name).unwrap_or_else(|| name.to_lowercase()))
        .collect()
}

/// The index of the policy for `name`, or a policy that the document only implies.
fn choose(
    name: &str,
    given: &[AutomationPolicy],
    has_default_issuers: bool,
) -> Result<usize, Policy> {
    let internal = || Policy {
        issuers: vec![Issuer::Internal {
            lifetime: Duration::ZERO,
            sign_with_root: false,
        }],
        ..Policy::default()
    };
    let named = given.iter().position(|policy| {
        policy
            .subjects
            .iter()
            .any(|subject| subject.eq_ignore_ascii_case(name))
    });
    if let Some(index) = named {
        let policy = &given[index];
        let is_internal = policy.issuers.is_empty()
            && !policy.on_demand
            && policy
                .subjects
                .iter()
                .all(|subject| subject::is_internal(subject));
        return if is_internal {
            Err(internal())
        } else {
            Ok(index)
        };
    }
    // Public authorities that certify addresses must be asked for by name. Caddy: the same.
    let is_ip = name.parse::<std::net::IpAddr>().is_ok();
    if !subject::is_public(name) || (is_ip && has_default_issuers) {
        return Err(internal());
    }
    given
        .iter()
        .position(|policy| {
            policy.subjects.is_empty()
                || policy
                    .subjects
                    .iter()
                    .any(|subject| subject::matches(&subject.to_lowercase(), name))
        })
        .ok_or_else(Policy::default)
}
