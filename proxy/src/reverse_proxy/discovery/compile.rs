//! Caddy's `dynamic_upstreams` to a [`Discovery`].

use std::time::Duration;

use caddyfile::document;
use parking_lot::Mutex;
use proto::sidecar::dns::Resolver;
use serde::Deserialize;
use serde_json::Value;

use super::{Discovery, Kind, Source};
use crate::compile::Scope;
use crate::log_limit::LogLimit;
use crate::placeholder::Unknown;
use crate::reverse_proxy::transport::{Transport, name_servers, some};

/// Caddy: the default of `refresh`.
const REFRESH: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
#[serde(tag = "source", rename_all = "lowercase")]
enum Document {
    A(Addresses),
    Multi { sources: Vec<Self> },
    Srv(Services),
}

#[derive(Deserialize)]
#[serde(default)]
struct Addresses {
    name: String,
    port: String,
    versions: Option<Versions>,
    #[serde(flatten)]
    common: Common,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Services {
    service: String,
    proto: String,
    name: String,
    grace_period: document::Duration,
    #[serde(flatten)]
    common: Common,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Versions {
    ipv4: Option<bool>,
    ipv6: Option<bool>,
}

/// Time limits of dialling name servers are among what is left out: there is one for all.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Common {
    refresh: document::Duration,
    resolver: Option<document::Resolver>,
}

impl Discovery {
    pub(in crate::reverse_proxy) fn compile(
        document: &Value,
        transport: Transport,
        max_requests: Option<usize>,
        scope: &mut Scope,
    ) -> Option<Self> {
        let read = Document::deserialize(document);
        let document = read
            .map_err(|error| {
                scope.error_with_hint(
                    format!("these dynamic upstreams cannot be used: {error}"),
                    "the sources are `a`, `srv` and `multi`",
                );
            })
            .ok()?;
        let mut sources = Vec::new();
        collect(document, &mut sources, scope);
        Some(Self {
            sources: sources.into(),
            transport,
            max_requests,
            log: LogLimit::new(),
        })
    }
}

fn collect(document: Document, sources: &mut Vec<Source>, scope: &mut Scope) {
    let (kind, common, grace) = match document {
        Document::Multi { sources: several } => {
            for document in several {
                collect(document, sources, scope);
            }
            return;
        }
        Document::A(document) => {
            let versions = document.versions.unwrap_or_default();
            let is_any = versions.ipv4.is_none() && versions.ipv6.is_none();
            let kind = Kind::Addresses {
                name: scope.template(&document.name, Unknown::Empty),
                port: scope.template(&document.port, Unknown::Empty),
                takes_v4: versions.ipv4.unwrap_or(is_any),
                takes_v6: versions.ipv6.unwrap_or(is_any),
            };
            (kind, document.common, Duration::ZERO)
        }
        Document::Srv(document) => {
            let kind = Kind::Services {
                service: scope.template(&document.service, Unknown::Empty),
                protocol: scope.template(&document.proto, Unknown::Empty),
                name: scope.template(&document.name, Unknown::Empty),
            };
            (kind, document.common, document.grace_period.to_std())
        }
    };
    sources.push(Source {
        kind,
        grace,
        refresh: some(common.refresh).unwrap_or(REFRESH),
        resolver: common
            .resolver
            .and_then(|document| resolver(&document, scope)),
        known: Mutex::default(),
    });
}

/// A resolver that asks these name servers alone.
fn resolver(document: &document::Resolver, scope: &mut Scope) -> Option<Resolver> {
    let servers = name_servers(document, scope);
    match Resolver::with_servers(&servers) {
        Ok(resolver) => Some(resolver),
        Err(error) => {
            scope.error(format!("these name servers cannot be used: {error}"));
            None
        }
    }
}

impl Default for Addresses {
    /// Caddy: port 80.
    fn default() -> Self {
        Self {
            name: String::new(),
            port: "80".to_owned(),
            versions: None,
            common: Common::default(),
        }
    }
}
