//! Cloudflare's API, version 4.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{DnsError, Provider, TxtRecord, excerpt};
use crate::policy::Secret;

/// Where the API is.
const API: &str = "https://api.cloudflare.com/client/v4";

/// Cloudflare takes no shorter time to live.
const SHORTEST_TTL: u64 = 60;

/// There is a record with the same name and value.
const RECORD_EXISTS: i64 = 81058;

/// Writes records of the zones that a token may edit.
pub(super) struct Cloudflare {
    http: reqwest::Client,
    api: Url,
    api_token: Secret,
    zone_token: Option<Secret>,
}

#[derive(Debug, Deserialize)]
struct Envelope<T> {
    success: bool,
    #[serde(default)]
    errors: Vec<Complaint>,
    result: Option<T>,
}

#[derive(Debug, Deserialize)]
struct Complaint {
    code: i64,
    message: String,
    #[serde(default)]
    error_chain: Vec<Self>,
}

#[derive(Debug, Deserialize)]
struct Zone {
    id: String,
}

#[derive(Debug, Deserialize)]
struct Record {
    id: String,
    content: String,
}

/// Why the API does not do what it is asked for.
#[derive(Debug)]
struct Refusal {
    error: DnsError,
    code: Option<i64>,
}

impl Cloudflare {
    /// Uses the API at `api`, or at Cloudflare. `zone_token` finds zones where `api_token` may not.
    ///
    /// # Errors
    /// When `api` is no URL, or there is no token.
    pub(super) fn new(
        http: reqwest::Client,
        api_token: Secret,
        zone_token: Option<Secret>,
        api: Option<&str>,
    ) -> Result<Self, DnsError> {
        if api_token.reveal().trim().is_empty() {
            return Err(
                DnsError::new("the API token for Cloudflare is empty").with_hint(
                    "is the variable that the Caddyfile names set for the proxy, for example \
                 CLOUDFLARE_API_TOKEN?",
                ),
            );
        }
        let api = api.unwrap_or(API);
        let url = Url::parse(api)
            .map_err(|error| DnsError::new(format!("`{api}` is no URL of an API: {error}")))?;
        Ok(Self {
            http,
            api: url,
            api_token,
            zone_token,
        })
    }

    /// The zone that holds `name`: the longest one that the token sees.
    async fn zone(&self, name: &str) -> Result<String, DnsError> {
        let token = self.zone_token.as_ref().unwrap_or(&self.api_token);
        let mut candidate = name;
        while candidate.contains('.') {
            let url = self.url(&["zones"], &[("name", candidate)]);
            let zones: Vec<Zone> = self
                .call(Method::GET, url, token, None)
                .await
                .map_err(|refusal| refusal.error)?;
            if let Some(zone) = zones.into_iter().next() {
                return Ok(zone.id);
            }
            candidate = candidate.split_once('.').map_or("", |(_, parent)| parent);
        }
        Err(DnsError::new(format!(
            "Cloudflare shows the API token no zone that holds {name}"
        ))
        .with_hint(
            "the token needs the permissions Zone.Zone:Read and Zone.DNS:Edit for the zone, which \
             must be in this Cloudflare account",
        ))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        token: &Secret,
        body: Option<Value>,
    ) -> Result<T, Refusal> {
        let what = format!("{method} {}", url.path());
        let refusal = |message: String| Refusal {
            error: DnsError::new(format!("Cloudflare's API: {what}: {message}")),
            code: None,
        };
        let mut request = self
            .http
            .request(method, url)
            .bearer_auth(token.reveal().trim());
        if let Some(body) = &body {
            request = request.json(body);
        }
        let answer = request
            .send()
            .await
            .map_err(|error| refusal(chain(&error.without_url())))?;
        let status = answer.status();
        let text = answer
            .text()
            .await
            .map_err(|error| refusal(chain(&error.without_url())))?;
        let envelope: Envelope<T> = serde_json::from_str(&text)
            .map_err(|_| refusal(format!("it answered {status}: {}", excerpt(&text))))?;
        match envelope.result {
            Some(result) if envelope.success => Ok(result),
            _ => Err(complaint(&what, status, &envelope.errors)),
        }
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.api.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

#[async_trait]
impl Provider for Cloudflare {
    async fn add(&self, record: &TxtRecord, ttl: Duration) -> Result<(), DnsError> {
        let zone = self.zone(&record.name).await?;
        let url = self.url(&["zones", &zone, "dns_records"], &[]);
        let body = json!({
            "type": "TXT",
            "name": record.name,
            "content": format!("\"{}\"", record.value),
            "ttl": ttl.as_secs().max(SHORTEST_TTL),
        });
        let made: Result<Value, Refusal> = self
            .call(Method::POST, url, &self.api_token, Some(body))
            .await;
        match made {
            Ok(_) => Ok(()),
            // An attempt that did not live to remove it.
            Err(refusal) if refusal.code == Some(RECORD_EXISTS) => Ok(()),
            Err(refusal) => Err(refusal.error),
        }
    }

    async fn remove(&self, record: &TxtRecord) -> Result<(), DnsError> {
        let zone = self.zone(&record.name).await?;
        let query = [("type", "TXT"), ("name", record.name.as_str())];
        let url = self.url(&["zones", &zone, "dns_records"], &query);
        let records: Vec<Record> = self
            .call(Method::GET, url, &self.api_token, None)
            .await
            .map_err(|refusal| refusal.error)?;
        for found in records {
            if found.content.trim_matches('"') != record.value {
                continue;
            }
            let url = self.url(&["zones", &zone, "dns_records", &found.id], &[]);
            let _: Value = self
                .call(Method::DELETE, url, &self.api_token, None)
                .await
                .map_err(|refusal| refusal.error)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Cloudflare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloudflare")
            .field("api", &self.api.as_str())
            .finish_non_exhaustive()
    }
}

fn complaint(what: &str, status: reqwest::StatusCode, errors: &[Complaint]) -> Refusal {
    let said: Vec<String> = errors
        .iter()
        .flat_map(|error| std::iter::once(error).chain(&error.error_chain))
        .map(|error| format!("{} ({})", error.message, error.code))
        .collect();
    let said = if said.is_empty() {
        status.to_string()
    } else {
        said.join("; ")
    };
    let error = DnsError::new(format!("Cloudflare's API: {what}: {said}"));
    let is_denied = matches!(status.as_u16(), 400 | 401 | 403);
    Refusal {
        error: if is_denied {
            error.with_hint(
                "is the API token right? It needs the permissions Zone.Zone:Read and \
                 Zone.DNS:Edit for the zone",
            )
        } else {
            error
        },
        code: errors.first().map(|error| error.code),
    }
}

/// An error with its sources.
fn chain(error: &dyn std::error::Error) -> String {
    proto::sidecar::error_chain::Chain(error).to_string()
}
