//! Whether an authority can be talked to, and what it says of the time.

use jiff::{SignedDuration, Timestamp};
use proto::certs::v1;
use proto::sidecar::error_chain::Chain;
use serde::Deserialize;

use super::{Doctor, check};
use crate::finding::Finding;
use crate::issuer::{acme, hint};
use crate::pem;
use crate::policy::{AcmePolicy, IssuerPolicy, Policy};

/// A difference of the clocks that does no harm.
const SKEW_HARMLESS: SignedDuration = SignedDuration::from_secs(60);
/// A difference of the clocks by which a fresh certificate seems not to be valid yet: authorities
/// put its begin an hour back.
const SKEW_HARMFUL: SignedDuration = SignedDuration::from_hours(1);

/// What is looked at of a directory (RFC 8555 section 7.1.1).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    new_order: String,
    #[serde(default)]
    meta: Meta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    external_account_required: bool,
}

impl Doctor {
    /// Asks each authority of `policy` for its directory.
    pub(super) async fn authorities(&self, policy: &Policy) -> Vec<v1::Check> {
        let mut checks = Vec::new();
        for issuer in &policy.issuers {
            match issuer {
                IssuerPolicy::Acme(acme) => checks.extend(self.authority(acme).await),
                IssuerPolicy::Internal { .. } => {
                    let finding = Finding::ok("this program's own authority signs it");
                    checks.push(check("authority", finding));
                }
            }
        }
        checks
    }

    async fn authority(&self, policy: &AcmePolicy) -> Vec<v1::Check> {
        let url = &policy.directory_url;
        match self.directory(policy).await {
            Ok((directory, date)) => {
                let unbound =
                    directory.meta.external_account_required && policy.external_account.is_none();
                let finding = if unbound {
                    Finding::problem(
                        format!("{url} answers, and wants accounts that are bound to a customer"),
                        "give it the key of your account there: acme_eab, or choose another \
                         authority (acme_ca)",
                    )
                } else {
                    Finding::ok(format!("{url} answers"))
                };
                let now = self.parts.clock.now();
                let clock = date.map(|date| check("clock", skew(date, now)));
                std::iter::once(check("authority", finding))
                    .chain(clock)
                    .collect()
            }
            Err(error) => {
                let message = format!("cannot talk to {url}: {error}");
                let finding = Finding::problem(message, hint::for_connection(url));
                vec![check("authority", finding)]
            }
        }
    }

    /// The directory of an authority, and the time that it has.
    async fn directory(
        &self,
        policy: &AcmePolicy,
    ) -> Result<(Directory, Option<Timestamp>), String> {
        let mut roots = self.parts.roots.clone();
        if !policy.trusted_roots_pem.trim().is_empty() {
            roots.extend(pem::decode_certificates(&policy.trusted_roots_pem)?);
        }
        let client = acme::http::client(&roots, self.parts.resolver.clone())?;
        let failed = |error: reqwest::Error| Chain(&error.without_url()).to_string();
        let answer = client
            .get(&policy.directory_url)
            .send()
            .await
            .map_err(failed)?;
        if !answer.status().is_success() {
            return Err(format!("it answers {}", answer.status()));
        }
        let date = answer
            .headers()
            .get(http::header::DATE)
            .and_then(|date| jiff::fmt::rfc2822::parse(date.to_str().ok()?).ok())
            .map(|date| date.timestamp());
        let directory: Directory = answer
            .json()
            .await
            .map_err(|_| "what it answers is no ACME directory".to_owned())?;
        if directory.new_order.is_empty() {
            return Err("its directory has no newOrder".to_owned());
        }
        Ok((directory, date))
    }
}

/// What is to be said of the difference between the authority's clock and ours.
fn skew(theirs: Timestamp, ours: Timestamp) -> Finding {
    let skew = ours.duration_since(theirs);
    let seconds = skew.as_secs().unsigned_abs();
    let direction = if skew.is_negative() {
        "behind"
    } else {
        "ahead of"
    };
    let message = format!("this machine's clock is {seconds} s {direction} the authority's");
    let hint =
        "set it, for example by an NTP service on the host: containers have the host's clock";
    if skew.abs() < SKEW_HARMLESS {
        Finding::ok("this machine's clock agrees with the authority's")
    } else if skew.abs() < SKEW_HARMFUL {
        Finding::warning(message, hint)
    } else {
        Finding::problem(message, hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;

    #[test]
    fn a_wrong_clock_is_told() {
        let ours: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let severity = |seconds| skew(ours + SignedDuration::from_secs(seconds), ours).severity;
        assert_eq!(severity(30), Severity::Ok);
        assert_eq!(severity(-120), Severity::Warning);
        assert_eq!(severity(2 * 3600), Severity::Problem);
        let behind = skew(ours + SignedDuration::from_secs(90), ours).message;
        assert_eq!(
            behind,
            "this machine's clock is 90 s behind the authority's"
        );
    }
}
