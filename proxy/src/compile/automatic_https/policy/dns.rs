//! DNS-01: who writes the records, and how they are checked.

use std::time::Duration;

use caddyfile::document;
use serde_json::Value;

use super::super::environment;
use super::{Compiler, Secret};

/// How DNS-01 records are made and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsChallenge {
    /// What writes the records.
    pub provider: DnsProvider,
    /// Time to live of the records; zero means the provider's default.
    pub ttl: Duration,
    /// How long to wait before a record is looked up.
    pub propagation_delay: Duration,
    /// How long a record may take to be seen; `None` does not look, zero means the default.
    pub propagation_timeout: Option<Duration>,
    /// Name servers to look records up at; empty means the zone's.
    pub resolvers: Vec<String>,
    /// The name to put records under; may be empty.
    pub override_domain: String,
}

/// What writes DNS-01 records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsProvider {
    /// Cloudflare's API.
    Cloudflare {
        /// May edit the zone.
        api_token: Secret,
        /// May list zones; may be empty.
        zone_token: Secret,
        /// Where the API is; empty means Cloudflare's.
        api_url: String,
    },
    /// The program of cert-manager's `--dns-exec`.
    Exec,
    /// Dynamic update (RFC 2136).
    Rfc2136 {
        /// The primary name server.
        server: String,
        /// Name of the TSIG key; may be empty.
        key_name: String,
        /// Its algorithm; empty means `hmac-sha256`.
        key_algorithm: String,
        /// The key, base64.
        key: Secret,
    },
    /// An HTTP endpoint.
    Webhook {
        /// Where it is.
        url: String,
        /// Bearer token; may be empty.
        token: Secret,
    },
}

impl Compiler<'_> {
    pub(super) fn dns_challenge(&mut self, dns: &document::DnsChallenge) -> Option<DnsChallenge> {
        let provider = dns.provider.as_ref().or(self.tls.dns.as_ref());
        let Some(provider) = provider.cloned() else {
            let message = "the DNS challenge has no provider".to_owned();
            self.error("issuers.challenges.dns", message).hint =
                Some("name one, as in `dns cloudflare {env.CLOUDFLARE_API_TOKEN}`".to_owned());
            return None;
        };
        let is_checked = dns.propagation_timeout.as_nanoseconds() >= 0;
        let global = &self.tls.resolvers;
        let resolvers = if dns.resolvers.is_empty() {
            global
        } else {
            &dns.resolvers
        };
        Some(DnsChallenge {
            resolvers: resolvers.clone(),
            provider: self.dns_provider(&provider)?,
            ttl: dns.ttl.to_std(),
            propagation_delay: dns.propagation_delay.to_std(),
            propagation_timeout: is_checked.then(|| dns.propagation_timeout.to_std()),
            override_domain: dns.override_domain.clone(),
        })
    }

    fn dns_provider(&mut self, provider: &Value) -> Option<DnsProvider> {
        let text = |field: &str| {
            let text = provider[field].as_str().unwrap_or_default();
            environment::fill(text)
        };
        let secret = |field: &str| Secret::new(text(field));
        match provider["name"].as_str().unwrap_or_default() {
            "cloudflare" => Some(DnsProvider::Cloudflare {
                api_token: secret("api_token"),
                zone_token: secret("zone_token"),
                api_url: text("api_url"),
            }),
            "exec" => Some(DnsProvider::Exec),
            "rfc2136" => Some(DnsProvider::Rfc2136 {
                server: text("server"),
                key_name: text("key_name"),
                key_algorithm: text("key_alg"),
                key: secret("key"),
            }),
            "webhook" => Some(DnsProvider::Webhook {
                url: text("url"),
                token: secret("token"),
            }),
            other => {
                let message = format!("the DNS provider `{other}` is not supported");
                self.error("issuers.challenges.dns.provider", message).hint = Some(
                    "use `cloudflare`, `rfc2136`, `webhook`, or `exec` for any other".to_owned(),
                );
                None
            }
        }
    }
}
