//! An HTTP endpoint of the operator's that writes and removes records.
//!
//! It is sent `POST` with the JSON object `{"action": "present" or "cleanup", "fqdn", "value",
//! "ttl"}`, where `fqdn` has no final dot and `ttl` is in seconds, and a bearer token if there is
//! one. A status of 2xx says that it is done.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use proto::sidecar::error_chain::Chain;
use reqwest::Url;
use serde_json::json;

use super::{DnsError, Provider, TTL, TxtRecord, excerpt};
use crate::policy::Secret;

/// Posts records to one URL.
pub(super) struct Webhook {
    http: reqwest::Client,
    url: Url,
    token: Option<Secret>,
}

impl Webhook {
    /// Posts to `url`.
    ///
    /// # Errors
    /// When that is no URL.
    pub(super) fn new(
        http: reqwest::Client,
        url: &str,
        token: Option<Secret>,
    ) -> Result<Self, DnsError> {
        let url = Url::parse(url).map_err(|error| {
            DnsError::new(format!("`{url}` is no URL: {error}"))
                .with_hint("correct `dns webhook` in the Caddyfile")
        })?;
        Ok(Self { http, url, token })
    }

    async fn post(&self, action: &str, record: &TxtRecord, ttl: Duration) -> Result<(), DnsError> {
        // Without its query, which may hold a secret.
        let place = format!(
            "{}{}",
            self.url.origin().ascii_serialization(),
            self.url.path()
        );
        let body = json!({
            "action": action,
            "fqdn": record.name,
            "value": record.value,
            "ttl": ttl.as_secs(),
        });
        let mut request = self.http.post(self.url.clone()).json(&body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.reveal().trim());
        }
        let answer = request.send().await.map_err(|error| {
            let error = error.without_url();
            DnsError::new(format!("the webhook {place} fails: {}", Chain(&error)))
                .with_hint("is it running, and can cert-manager's container reach it?")
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let text = answer.text().await.unwrap_or_default();
        Err(DnsError::new(format!(
            "the webhook {place} answered {status} to `{action}` of {}: {}",
            record.name,
            excerpt(&text)
        ))
        .with_hint("what it says is for whoever runs it"))
    }
}

#[async_trait]
impl Provider for Webhook {
    async fn add(&self, record: &TxtRecord, ttl: Duration) -> Result<(), DnsError> {
        self.post("present", record, ttl).await
    }

    async fn remove(&self, record: &TxtRecord) -> Result<(), DnsError> {
        self.post("cleanup", record, TTL).await
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}
