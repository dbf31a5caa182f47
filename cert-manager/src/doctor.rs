//! Why a name has no certificate, or will not get another: everything that can be found out from
//! here, in the order in which it is best read.
//!
//! ```text
//! what is known (declared, certificate, last problem, next try)
//!   --> the proxies --> DNS --> port 80 --> port 443 --> CAA --> the authority, its clock
//! ```
//!
//! It only looks: nothing is ordered, stored or sent to an authority but a request for its
//! directory.

mod authority;
mod known;
mod ports;

use std::sync::Arc;

use proto::certs::v1;
use proto::sidecar::dns::Resolver;
use rustls_pki_types::CertificateDer;

use crate::clock::Clock;
use crate::finding::Finding;
use crate::issuer::preflight::{Observation, Preflight, is_public_authority};
use crate::manager::Manager;
use crate::name::{Name, Standing};
use crate::policy::{IssuerPolicy, Policy};

/// Examines names. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Doctor {
    parts: Arc<Parts>,
}

/// What a doctor works with.
#[derive(Debug)]
pub struct Parts {
    /// What is known of names.
    pub manager: Arc<Manager>,
    /// Looks at the DNS and at ports.
    pub preflight: Arc<Preflight>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Resolves the hosts of directories.
    pub resolver: Resolver,
    /// Trusted for directories beside the public roots.
    pub roots: Vec<CertificateDer<'static>>,
}

impl Doctor {
    /// A doctor that works with `parts`.
    pub fn new(parts: Parts) -> Self {
        Self {
            parts: Arc::new(parts),
        }
    }

    /// Everything that can be found out about `name` from here. Takes some seconds.
    pub async fn examine(&self, name: &Name) -> Vec<v1::Check> {
        let manager = &self.parts.manager;
        let policy = self.policy(name);
        let by_dns = policy.issuers.iter().any(is_by_dns);
        let (observation, authorities) = tokio::join!(
            self.parts.preflight.observe(name, !by_dns),
            self.authorities(&policy),
        );
        let status = manager.status(name);
        let now = self.parts.clock.now();
        let mut checks = known::checks(name, status.as_ref(), now);
        let is_external = policy.issuers.iter().any(is_acme);
        checks.extend(standing(name, &policy));
        if is_external && !by_dns {
            checks.extend(proxies(&observation));
        }
        let is_public = policy.issuers.iter().any(is_public);
        let dns = observation.addresses_finding(name, is_public && !by_dns);
        checks.extend(dns.map(|finding| check("dns", finding)));
        if is_external && !by_dns {
            let found = observation.port_findings(name, self.parts.preflight.ports());
            checks.extend(found.into_iter().map(|finding| check("port 80", finding)));
        }
        let served = status
            .as_ref()
            .and_then(|status| status.certificate.as_ref());
        checks.extend(self.handshakes(name, &observation, served).await);
        for issuer in &policy.issuers {
            if let IssuerPolicy::Acme(acme) = issuer {
                let finding = observation.caa_finding(name, &acme.directory_url);
                checks.extend(finding.map(|finding| check("caa", finding)));
            }
        }
        checks.extend(authorities);
        checks
    }

    /// How the name is certified, or would be if a proxy declared it.
    fn policy(&self, name: &Name) -> Policy {
        let manager = &self.parts.manager;
        let declared = manager.policy_of(name);
        declared.unwrap_or_else(|| {
            // The default policy can always be followed.
            let default = manager.policy(&v1::Policy::default(), name);
            default.unwrap_or_else(|_| Policy::of(IssuerPolicy::internal()))
        })
    }
}

/// Whether the name alone rules out a certificate.
fn standing(name: &Name, policy: &Policy) -> Option<v1::Check> {
    let refused = |issuer: &IssuerPolicy| crate::issuer::preflight::check(name, issuer).err();
    let finding = match policy.issuers.iter().find_map(refused) {
        Some(error) => Finding::problem(error.message, error.hint),
        None if name.standing() == Standing::Placeholder => Finding::warning(
            format!("{name} looks like a placeholder of some documentation"),
            "put your own domain in its place in the Caddyfile",
        ),
        None => return None,
    };
    Some(check("name", finding))
}

fn proxies(observation: &Observation) -> Vec<v1::Check> {
    if observation.proxies.is_empty() {
        let finding = Finding::problem(
            "no proxy is connected, so nobody can answer a challenge",
            "is the proxy running, and do its logs say that it is connected to cert-manager?",
        );
        return vec![check("proxies", finding)];
    }
    let one = |proxy: &crate::challenge::Acknowledgement| {
        let name = match proxy.proxy.as_str() {
            "" => "a proxy that has no name",
            name => name,
        };
        if proxy.is_given {
            Finding::ok(format!("{name} is connected and acknowledged a test token"))
        } else {
            Finding::warning(
                format!("{name} is connected, but did not acknowledge a test token in time"),
                "does it hang? Its logs say; a restart of it is harmless",
            )
        }
    };
    let findings = observation.proxies.iter().map(one);
    findings.map(|finding| check("proxies", finding)).collect()
}

fn check(subject: &str, finding: Finding) -> v1::Check {
    v1::Check {
        subject: subject.to_owned(),
        severity: finding.severity.to_wire().into(),
        message: finding.message,
        hint: finding.hint,
        document: String::new(),
    }
}

fn is_acme(issuer: &IssuerPolicy) -> bool {
    matches!(issuer, IssuerPolicy::Acme(_))
}

fn is_by_dns(issuer: &IssuerPolicy) -> bool {
    matches!(issuer, IssuerPolicy::Acme(acme) if acme.challenges.dns.is_some())
}

fn is_public(issuer: &IssuerPolicy) -> bool {
    matches!(issuer, IssuerPolicy::Acme(acme) if is_public_authority(&acme.directory_url))
}
