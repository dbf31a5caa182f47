//! TLS of a server: its connection policies, and whether HTTP and HTTPS get mixed.

use std::collections::HashSet;

use super::Builder;
use crate::address::Scheme;
use crate::diagnostic::Diagnostic;
use crate::document::{ConnectionMatcher, ConnectionPolicy};
use crate::lower::automation::matches_wildcard;
use crate::lower::site::Site;

impl Builder<'_, '_> {
    pub(super) fn add_connection_policies(&mut self, site: &Site<'_>, hosts: &[String]) {
        let default_sni = &self.options.default_sni;
        let fallback_sni = &self.options.fallback_sni;
        for tls in &site.tls {
            let mut policy = tls.connection.clone();
            let mut names = hosts.to_vec();
            for host in hosts {
                if host == default_sni {
                    names.push(String::new());
                    policy.default_sni.clone_from(default_sni);
                    break;
                }
                if host == fallback_sni {
                    names.push(String::new());
                    policy.fallback_sni.clone_from(fallback_sni);
                    break;
                }
            }
            let is_empty = policy == ConnectionPolicy::default();
            names.sort();
            if names.is_empty() {
                policy.default_sni.clone_from(default_sni);
                policy.fallback_sni.clone_from(fallback_sni);
            } else {
                let matcher = ConnectionMatcher {
                    sni: names,
                    ..ConnectionMatcher::default()
                };
                policy.r#match = Some(matcher);
            }
            let has_settings =
                !is_empty || !policy.default_sni.is_empty() || !policy.fallback_sni.is_empty();
            if has_settings || (tls.force_automate && !hosts.is_empty()) {
                self.has_catch_all_policy = hosts.is_empty();
                self.server.tls_connection_policies.push(policy);
            }
        }
    }

    /// Gives hosts without a policy one of their own where a wildcard's asks for certificates.
    pub(super) fn exempt_from_wildcard_client_authentication(&mut self) {
        let policies = &self.server.tls_connection_policies;
        let names = |policy: &'_ ConnectionPolicy| {
            policy
                .r#match
                .as_ref()
                .map(|matcher| matcher.sni.clone())
                .unwrap_or_default()
        };
        let own: HashSet<String> = policies.iter().flat_map(names).collect();
        let mut exempted: HashSet<String> = HashSet::new();
        let mut result = Vec::with_capacity(policies.len());
        for policy in std::mem::take(&mut self.server.tls_connection_policies) {
            if policy.client_authentication.is_some() {
                let patterns = names(&policy);
                let hosts = self
                    .association
                    .sites
                    .iter()
                    .flat_map(|view| view.hosts(self.sites));
                let mut covered: Vec<String> = hosts
                    .filter(|host| {
                        !own.contains(host)
                            && !exempted.contains(host)
                            && patterns
                                .iter()
                                .any(|pattern| matches_wildcard(host, pattern))
                    })
                    .collect();
                covered.sort();
                if !covered.is_empty() {
                    exempted.extend(covered.iter().cloned());
                    let matcher = ConnectionMatcher {
                        sni: covered,
                        ..ConnectionMatcher::default()
                    };
                    result.push(ConnectionPolicy {
                        r#match: Some(matcher),
                        ..ConnectionPolicy::default()
                    });
                }
            }
            result.push(policy);
        }
        self.server.tls_connection_policies = result;
    }

    /// A listener is either HTTP or HTTPS.
    pub(super) fn check_schemes(&self) -> Result<(), Diagnostic> {
        let has_policies = !self.server.tls_connection_policies.is_empty();
        let mut is_https = None;
        for view in &self.association.sites {
            for key in &view.keys {
                let (token, address) = &self.sites[view.site].keys[*key];
                let http = address.scheme == Some(Scheme::Http)
                    || address.port == Some(self.options.http_port());
                let https = address.scheme == Some(Scheme::Https)
                    || address.port == Some(self.options.https_port())
                    || has_policies;
                let wants_https = if http {
                    false
                } else if https {
                    true
                } else if address.host.is_empty() {
                    false
                } else {
                    continue;
                };
                let listen = self.server.listen.join(", ");
                if !wants_https && has_policies && is_https != Some(true) {
                    let message = format!(
                        "server listening on [{listen}] is HTTP, but attempts to configure TLS \
                         connection policies"
                    );
                    return Err(Diagnostic::error_at(token, message));
                }
                if is_https.is_some_and(|known| known != wants_https) {
                    let known = if wants_https { "HTTP" } else { "HTTPS" };
                    let message = format!(
                        "server listening on [{listen}] is configured for {known} and cannot \
                         natively multiplex HTTP and HTTPS: {}",
                        token.text
                    );
                    return Err(Diagnostic::error_at(token, message)
                        .with_help("give the sites different ports, or the same scheme"));
                }
                is_https = Some(wants_https);
            }
        }
        Ok(())
    }
}
