//! When to renew, as the authority says (RFC 9773).

use std::time::Duration;

use instant_acme::{CertificateIdentifier, Error};
use jiff::Timestamp;
use serde::Deserialize;

use super::AcmeIssuer;
use super::failure::Failure;
use super::http::{Answer, Transport};
use super::requests::Directory;
use super::tries::{STEP_TIMEOUT, retried};
use crate::certificate::Certificate;
use crate::issuer::RenewalInfo;
use crate::record::Step;

/// How long an answer holds that does not say so (RFC 9773 section 4.3.2).
const USUAL_INTERVAL: Duration = Duration::from_secs(6 * 3600);
/// The limits of what an authority may say (RFC 9773 section 4.3.2).
const SHORTEST_INTERVAL: Duration = Duration::from_secs(60);
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 3600);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    suggested_window: Window,
    #[serde(rename = "explanationURL")]
    explanation_url: Option<String>,
}

#[derive(Deserialize)]
struct Window {
    start: Timestamp,
    end: Timestamp,
}

impl AcmeIssuer {
    pub(super) async fn ask_renewal_info(
        &self,
        certificate: &Certificate,
    ) -> Result<Option<RenewalInfo>, Failure> {
        let Some(id) = self.identifier(certificate) else {
            return Ok(None);
        };
        let transport = Transport::new(self.client.clone());
        let directory = Directory::fetch(&transport, &self.policy.directory_url).await?;
        let Some(base) = directory.renewal_info else {
            return Ok(None);
        };
        // Neither signed nor with a nonce (RFC 9773 section 4.1).
        let url = format!("{}/{id}", base.trim_end_matches('/'));
        let answer = retried!(Step::RenewalInfo, &transport, STEP_TIMEOUT, async {
            transport.get(&url).await
        })?;
        read(&answer)
            .map(Some)
            .map_err(|error| Failure::of_request(Step::RenewalInfo, error, &transport))
    }

    /// What the authority calls `certificate`; `None` where it is another authority's, or has no
    /// identifier of its authority's key.
    pub(super) fn identifier(
        &self,
        certificate: &Certificate,
    ) -> Option<CertificateIdentifier<'static>> {
        let leaf = certificate.chain.first()?;
        if certificate.facts.issuer != self.id {
            return None;
        }
        let id = CertificateIdentifier::try_from(leaf).ok()?;
        Some(id.into_owned())
    }
}

fn read(answer: &Answer) -> Result<RenewalInfo, Error> {
    let body: Body = serde_json::from_slice(&answer.body)?;
    let Window { start, end } = body.suggested_window;
    // To be treated as no answer at all (RFC 9773 section 4.2).
    if end <= start {
        return Err(Error::Str("a renewal window with an end after its start"));
    }
    let asked = answer.retry_after().unwrap_or(USUAL_INTERVAL);
    Ok(RenewalInfo {
        window_start: start,
        window_end: end,
        explanation_url: body.explanation_url,
        ask_again_after: asked.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL),
    })
}

#[cfg(test)]
mod tests {
    use http::header::RETRY_AFTER;
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;

    fn answer(window: &str, retry_after: Option<&'static str>) -> Result<RenewalInfo, Error> {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
        }
        read(&Answer {
            status: StatusCode::OK,
            headers,
            body: format!(r#"{{ "suggestedWindow": {window} }}"#).into(),
        })
    }

    #[test]
    fn an_answer_holds_for_a_time_within_limits() {
        let window = r#"{ "start": "2026-01-02T04:00:00Z", "end": "2026-01-03T04:00:00+01:00" }"#;
        let seconds = |retry_after| {
            let info = answer(window, retry_after).unwrap();
            assert_eq!(info.window_end.to_string(), "2026-01-03T03:00:00Z");
            info.ask_again_after.as_secs()
        };
        assert_eq!(seconds(None), 21_600);
        assert_eq!(seconds(Some("7200")), 7200);
        assert_eq!(seconds(Some("0")), 60);
        assert_eq!(seconds(Some("999999")), 86_400);
    }

    #[test]
    fn a_window_that_ends_before_it_begins_is_no_answer() {
        let window = r#"{ "start": "2026-01-02T04:00:00Z", "end": "2026-01-02T04:00:00Z" }"#;
        assert!(answer(window, None).is_err());
        assert!(answer("{}", None).is_err());
    }
}
