//! DNS-01 (RFC 8555 section 8.4): TXT records that prove control of a name.
//!
//! ```text
//! located (aliases followed) --> written by the provider --> seen at the zone's name servers
//!   --> the authority is told --> removed
//! ```
//!
//! A name and its wildcard share the name of their record, so a provider adds a value and removes
//! that value; it never replaces what others wrote.

mod cloudflare;
mod exec;
mod lookup;
mod propagation;
mod rfc2136;
#[cfg(test)]
mod tests;
mod webhook;
mod wire;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hickory_proto::rr::Name as DnsName;
use proto::sidecar::dns::Resolver;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::name::Name;
use crate::policy::{DnsChallenge, DnsProvider};

use lookup::Lookup;

/// Time to live of records whose policy gives none: caches must soon see another value.
const TTL: Duration = Duration::from_secs(120);

/// How long a record may take to be seen where the policy does not say. Caddy: 2 minutes.
const PROPAGATION_TIMEOUT: Duration = Duration::from_secs(120);

/// The longest part of a program's or server's answer that an error repeats, in bytes.
const LONGEST_EXCERPT: usize = 300;

/// A TXT record that proves control of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxtRecord {
    /// Where it is, without the final dot.
    pub name: String,
    /// What it says.
    pub value: String,
}

/// Why a record cannot be written, seen or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DnsError {
    /// One line: what happened.
    pub message: String,
    /// What the operator can do about it; may be empty.
    pub hint: String,
}

/// What DNS challenges are solved with.
#[derive(Clone, Debug)]
pub struct Tools {
    /// Resolves the hosts of name servers.
    pub resolver: Resolver,
    /// Talks to APIs and webhooks.
    pub http: reqwest::Client,
    /// The program of `--dns-exec`.
    pub exec: Option<PathBuf>,
    /// The time, for signatures.
    pub clock: Arc<dyn Clock>,
}

/// Writes, checks and removes the records of one policy.
#[derive(Debug)]
pub struct Solver {
    policy: DnsChallenge,
    provider: Box<dyn Provider>,
    lookup: Lookup,
}

/// Adds and removes single values of TXT records.
#[async_trait]
trait Provider: fmt::Debug + Send + Sync {
    /// Adds a value beside those that are there.
    async fn add(&self, record: &TxtRecord, ttl: Duration) -> Result<(), DnsError>;

    /// Removes a value and leaves the others. One that is not there is none to remove.
    async fn remove(&self, record: &TxtRecord) -> Result<(), DnsError>;
}

impl Solver {
    /// A solver that follows `policy`.
    ///
    /// # Errors
    /// When the provider cannot be used as the policy says.
    pub fn new(policy: DnsChallenge, tools: &Tools) -> Result<Self, DnsError> {
        let lookup = Lookup::new(policy.resolvers.clone(), tools.resolver.clone());
        let provider: Box<dyn Provider> = match &policy.provider {
            DnsProvider::Cloudflare {
                api_token,
                zone_token,
                api_url,
            } => Box::new(cloudflare::Cloudflare::new(
                tools.http.clone(),
                api_token.clone(),
                zone_token.clone(),
                api_url.as_deref(),
            )?),
            DnsProvider::Exec => Box::new(exec::Exec::new(tools.exec.clone())?),
            DnsProvider::Rfc2136 {
                server,
                key_name,
                key_algorithm,
                key,
            } => Box::new(rfc2136::Rfc2136::new(
                server.clone(),
                rfc2136::signer(key_name, key_algorithm, key)?,
                lookup.clone(),
                Arc::clone(&tools.clock),
            )),
            DnsProvider::Webhook { url, token } => Box::new(webhook::Webhook::new(
                tools.http.clone(),
                url,
                token.clone(),
            )?),
        };
        Ok(Self {
            policy,
            provider,
            lookup,
        })
    }

    /// The record with `value` for `name`: below it or at the policy's own place, and from there
    /// wherever an alias (CNAME) leads.
    ///
    /// # Errors
    /// When no name server says whether there is an alias.
    pub async fn locate(&self, name: &Name, value: String) -> Result<TxtRecord, DnsError> {
        let base = name.as_str();
        let base = base.strip_prefix("*.").unwrap_or(base);
        let begin = match &self.policy.override_domain {
            Some(domain) => domain.clone(),
            None => format!("_acme-challenge.{base}"),
        };
        let begin = parse_name(&begin)?;
        let end = self.lookup.follow(begin.clone()).await?;
        if end != begin {
            tracing::info!(%name, alias = %begin, record = %end, "the challenge's record is elsewhere");
        }
        Ok(TxtRecord {
            name: text(&end),
            value,
        })
    }

    /// Writes `record`.
    ///
    /// # Errors
    /// What the provider says.
    pub async fn add(&self, record: &TxtRecord) -> Result<(), DnsError> {
        self.provider
            .add(record, self.policy.ttl.unwrap_or(TTL))
            .await
    }

    /// Waits until `record` is seen where the policy says.
    ///
    /// # Errors
    /// When it is not in time: which name server answers what.
    pub async fn seen(&self, record: &TxtRecord) -> Result<(), DnsError> {
        tokio::time::sleep(self.policy.propagation_delay).await;
        if self.policy.propagation_check_disabled {
            return Ok(());
        }
        let timeout = self
            .policy
            .propagation_timeout
            .unwrap_or(PROPAGATION_TIMEOUT);
        propagation::wait(&self.lookup, record, timeout).await
    }

    /// Removes `record`.
    ///
    /// # Errors
    /// What the provider says.
    pub async fn remove(&self, record: &TxtRecord) -> Result<(), DnsError> {
        self.provider.remove(record).await
    }
}

impl DnsError {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: String::new(),
        }
    }

    fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// A name that DNS can be asked for; always a full one.
fn parse_name(name: &str) -> Result<DnsName, DnsError> {
    let mut parsed = DnsName::from_ascii(name)
        .map_err(|error| DnsError::new(format!("`{name}` is no DNS name: {error}")))?;
    parsed.set_fqdn(true);
    Ok(parsed.to_lowercase())
}

/// A name without its final dot.
fn text(name: &DnsName) -> String {
    let text = name.to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

/// The beginning of an answer, on one line.
fn excerpt(answer: &str) -> String {
    let answer = answer.trim();
    let mut end = answer.len().min(LONGEST_EXCERPT);
    while !answer.is_char_boundary(end) {
        end -= 1;
    }
    let more = if end < answer.len() { " …" } else { "" };
    let line = answer[..end].split_whitespace().collect::<Vec<_>>();
    line.join(" ") + more
}
