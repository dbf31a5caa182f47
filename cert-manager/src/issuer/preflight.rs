//! What is found out before an authority is asked, so that a hopeless order costs no rate limit.
//!
//! Two parts: [`check`] knows by the name alone that a public authority will refuse; [`Preflight`]
//! looks at the DNS, at CAA and at port 80. A look is only a look, from a place that may see less
//! than the authority does: it refuses what is certain to fail, and reports the rest.

mod caa;
mod dns;
#[cfg(test)]
mod look_tests;
mod observation;
mod reach;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::backoff::Retry;
use crate::challenge::ChallengeBoard;
use crate::finding::{Finding, Severity};
use crate::name::{Name, Standing};
use crate::policy::{AcmePolicy, IssuerPolicy};
use crate::record::Step;

use super::IssueError;
pub use dns::Dns;
pub(crate) use dns::Lookup;
pub(crate) use observation::Observation;
pub(crate) use reach::{Reach, tls};

/// How long what was seen of a name is used again, so that an attempt that tries one issuer after
/// another, or is repeated soon, does not look twice.
const FRESH: Duration = Duration::from_secs(60);

/// What is done with the findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Look, and refuse an order that is certain to fail.
    #[default]
    Refuse,
    /// Look, report, and order all the same.
    Warn,
    /// Do not look.
    Off,
}

/// The ports that names are reached at from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Where authorities ask for answers to HTTP-01.
    pub http: u16,
    /// Where browsers and TLS-ALPN-01 go.
    pub https: u16,
}

/// Looks at a name before an order.
#[derive(Debug)]
pub struct Preflight {
    dns: Dns,
    challenges: ChallengeBoard,
    ports: Ports,
    mode: Mode,
    recent: Mutex<HashMap<Name, (Instant, Arc<Observation>)>>,
}

/// What came of a look.
#[derive(Debug, Default)]
pub struct Checked {
    /// What is not as it should be.
    pub findings: Vec<Finding>,
    /// Why nothing is ordered.
    pub refusal: Option<IssueError>,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            http: 80,
            https: 443,
        }
    }
}

impl Preflight {
    /// Looks by `dns`, and at `ports` through the proxies that answer `challenges`.
    pub fn new(dns: Dns, challenges: ChallengeBoard, ports: Ports, mode: Mode) -> Self {
        Self {
            dns,
            challenges,
            ports,
            mode,
            recent: Mutex::default(),
        }
    }

    /// Looks at `name` before an order at the authority of `policy`.
    pub async fn look(&self, name: &Name, policy: &IssuerPolicy) -> Checked {
        let IssuerPolicy::Acme(acme) = policy else {
            return Checked::default();
        };
        if self.mode == Mode::Off {
            return Checked::default();
        }
        let observation = self.recent(name, acme.challenges.dns.is_some()).await;
        self.judge(name, acme, &observation)
    }

    /// What is to be said of `observation`.
    fn judge(&self, name: &Name, acme: &AcmePolicy, observation: &Observation) -> Checked {
        let by_dns = acme.challenges.dns.is_some();
        let is_public = is_public_authority(&acme.directory_url);
        let mut findings = Vec::new();
        if !by_dns {
            findings.extend(observation.addresses_finding(name, is_public));
        }
        if !by_dns && !acme.challenges.http_disabled {
            findings.extend(observation.port_findings(name, self.ports));
        }
        findings.extend(observation.caa_finding(name, &acme.directory_url));
        findings.retain(|finding| finding.severity > Severity::Ok);
        let is_refused = self.mode == Mode::Refuse && is_public;
        let hopeless = observation
            .hopeless(name, &acme.directory_url, by_dns)
            .filter(|_| is_refused);
        let refusal = hopeless.map(|finding| {
            // The operator mends it within minutes, and another look costs no rate limit.
            IssueError::new(Step::Preflight, finding.message)
                .with_hint(finding.hint)
                .with_retry(Retry::Backoff)
        });
        Checked { findings, refusal }
    }

    /// What was seen of `name` within the last minute, or is seen now.
    async fn recent(&self, name: &Name, by_dns: bool) -> Arc<Observation> {
        let now = Instant::now();
        if let Some((_, observation)) = self
            .recent
            .lock()
            .get(name)
            .filter(|(at, observation)| now - *at < FRESH && (by_dns || observation.is_whole()))
        {
            return Arc::clone(observation);
        }
        let observation = Arc::new(self.observe(name, !by_dns).await);
        let mut recent = self.recent.lock();
        recent.retain(|_, (at, _)| now.saturating_duration_since(*at) < FRESH);
        recent.insert(name.clone(), (Instant::now(), Arc::clone(&observation)));
        observation
    }

    /// Looks at `name` now; at its ports only where `whole` says so.
    pub(crate) async fn observe(&self, name: &Name, whole: bool) -> Observation {
        Observation::of(&self.dns, &self.challenges, self.ports, name, whole).await
    }

    /// The ports that are looked at.
    pub(crate) fn ports(&self) -> Ports {
        self.ports
    }
}

/// Checks whether a certificate for `name` can be had by `policy` at all.
///
/// # Errors
/// Why not, and what to do about it.
pub fn check(name: &Name, policy: &IssuerPolicy) -> Result<(), IssueError> {
    let IssuerPolicy::Acme(acme) = policy else {
        return Ok(());
    };
    let directory_url = &acme.directory_url;
    let refuse = |message: String, hint: String| {
        Err(IssueError::new(Step::Preflight, message)
            .with_hint(hint)
            .with_retry(Retry::Daily))
    };
    if name.is_wildcard() && acme.challenges.dns.is_none() {
        return refuse(
            format!(
                "a certificate for {name} needs the DNS challenge, and no DNS provider is named"
            ),
            "name one in the site, as in `tls { dns cloudflare {env.CLOUDFLARE_API_TOKEN} }`, or \
             for all with the global option `acme_dns`; `rfc2136`, `webhook` and, for any other \
             provider, `exec` are there too. Or list the host names one by one"
                .to_owned(),
        );
    }
    if !is_public_authority(directory_url) {
        return Ok(());
    }
    match name.standing() {
        Standing::Public => Ok(()),
        Standing::Placeholder => refuse(
            format!("{name} is a placeholder and was not sent to {directory_url}"),
            format!("put your own domain in the place of {name} in the Caddyfile"),
        ),
        Standing::Private => refuse(
            format!("no public authority certifies {name}, so it was not sent to {directory_url}"),
            "use the internal authority for it: `tls internal` in its site, or leave `tls` out"
                .to_owned(),
        ),
    }
}

/// Whether an authority certifies public names only. Others may be a company's own, which certify
/// what they like, and see another DNS than this program does.
pub(crate) fn is_public_authority(directory_url: &str) -> bool {
    caa::identities(directory_url).is_some()
}

/// The host of a directory.
fn host_of(directory_url: &str) -> &str {
    let rest = directory_url
        .split_once("://")
        .map_or(directory_url, |(_, rest)| rest);
    rest.split(['/', ':', '?']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::{AcmePolicy, DnsChallenge, DnsProvider, LETS_ENCRYPT};

    fn acme(directory_url: &str) -> IssuerPolicy {
        IssuerPolicy::Acme(Box::new(AcmePolicy::new(directory_url, None)))
    }

    fn refusal(name: &str, policy: &IssuerPolicy) -> Option<String> {
        let name = Name::parse(name).unwrap();
        check(&name, policy).err().map(|error| error.hint)
    }

    #[test]
    fn hopeless_names_are_not_sent_to_a_public_authority() {
        let public = acme(LETS_ENCRYPT);
        assert_eq!(refusal("quiz.school.org", &public), None);
        let hint = refusal("quiz.your-domain.com", &public).unwrap();
        assert!(hint.contains("your own domain"), "{hint}");
        for name in [
            "localhost",
            "a.localhost",
            "nas.local",
            "192.168.0.9",
            "web",
        ] {
            let hint = refusal(name, &public).unwrap();
            assert!(hint.contains("tls internal"), "{hint}");
        }
    }

    #[test]
    fn a_private_authority_may_be_asked_for_any_name() {
        let private = acme("https://ca.corp.internal/acme/directory");
        assert_eq!(refusal("db.internal", &private), None);
        assert_eq!(refusal("example.com", &private), None);
        assert_eq!(refusal("localhost", &IssuerPolicy::internal()), None);
    }

    #[test]
    fn wildcards_need_a_dns_provider() {
        let hint = refusal("*.school.org", &acme(LETS_ENCRYPT)).unwrap();
        assert!(hint.contains("acme_dns"), "{hint}");
        let mut policy = AcmePolicy::new(LETS_ENCRYPT, None);
        policy.challenges.dns = Some(DnsChallenge {
            provider: DnsProvider::Exec,
            ttl: None,
            propagation_delay: Duration::ZERO,
            propagation_timeout: None,
            propagation_check_disabled: false,
            resolvers: Vec::new(),
            override_domain: None,
        });
        let policy = IssuerPolicy::Acme(Box::new(policy));
        assert_eq!(refusal("*.school.org", &policy), None);
        assert_eq!(refusal("*.localhost", &IssuerPolicy::internal()), None);
    }
}
