//! Caddy's JSON document as types: what a Caddyfile is lowered to, what `--config FILE.json`
//! reads, and what the proxy compiles from.
//!
//! The names are Caddy's own, so <https://caddyserver.com/docs/json/> describes every field.
//! Three rules hold everywhere:
//!
//! - A missing field means the field's `Default`; a field that has its default is not written
//!   (Go's `omitempty`). An `Option` is used where Caddy tells "absent" from "empty".
//! - A field that Caddy does not know is an error, as in Caddy. A module (handler, matcher,
//!   issuer, ...) that is not modelled here is kept as raw JSON in the `Other` variant or field,
//!   so that every valid document survives a round trip; the reader decides what to refuse.
//! - Maps are sorted by key, which is how Go writes them.

mod admin;
mod duration;
mod handler;
mod headers;
mod http;
mod log;
mod matcher;
mod origin;
mod pki;
mod proxying;
mod rewrite;
mod tls;
mod weak_string;

pub use self::admin::{Admin, AdminConfigSettings, Storage};
pub use self::duration::{Duration, ParseDurationError};
pub use self::handler::{
    AcmeServer, Authentication, AuthenticationProviders, BasicAuth, BasicAuthAccount, Browse,
    Cache, CopyResponse, CopyResponseHeaders, Encode, ErrorHandler, FileServer, Handler, Intercept,
    Invoke, LogAppend, MapHandler, Mapping, Metrics, PasswordHash, Push, PushHeaders, PushResource,
    RateLimit, RateLimitZone, RequestBody, StaticResponse, Subroute, Templates, Tracing,
};
pub use self::headers::{
    HeaderOps, Headers, Replacement, ResponseHandler, ResponseHeaderOps, ResponseMatcher,
};
pub use self::http::{
    AutomaticHttps, CloudflareIps, ErrorRoutes, HttpApp, HttpMetrics, IpSource, Route, Server,
    ServerLogs, StaticIps,
};
pub use self::log::{
    CustomLog, FileWriter, FilterEncoder, LogEncoder, LogWriter, Logging, NetWriter, Sampling,
    SingleFieldEncoder, Sink, TemplateEncoder, TextEncoder,
};
pub use self::matcher::{
    Expression, FileMatcher, IpRanges, MatcherSet, NamedExpression, RegexpMatcher, TlsMatcher,
};
pub use self::origin::{Origin, Origins, Written};
pub use self::pki::{CertificateAuthority, KeyPairFiles, PkiApp};
pub use self::proxying::{
    ActiveHealthChecks, CookieHash, FallbackPolicy, FastcgiTransport, HeaderHash, HealthChecks,
    HttpTransport, KeepAlive, LoadBalancing, PassiveHealthChecks, ProxyHeaders, QueryHash,
    RandomChoose, Resolver, ReverseProxy, SelectionPolicy, Transport, Upstream, UpstreamTls,
    WeightedRoundRobin,
};
pub use self::rewrite::{
    QueryOps, QueryRename, QueryReplacement, RegexReplacement, Rewrite, SubstringReplacement,
};
pub use self::tls::{
    AcmeIssuer, Automation, AutomationPolicy, CertificateLoaders, CertificateSelection, Challenges,
    ClientAuthentication, ConnectionMatcher, ConnectionPolicy, DnsChallenge, ExternalAccount,
    InternalIssuer, Issuer, LoadFiles, OnDemand, PortChallenge, PreferredChains, TlsApp,
    ZeroSslIssuer,
};
pub use self::weak_string::WeakString;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Declares a JSON object of Caddy's: every field may be missing and is left out at its default.
macro_rules! object {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* pub $field:ident: $type:ty, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(skip_serializing_if = "crate::document::is_default")]
                pub $field: $type,
            )*
        }
    };
}

/// Declares a module namespace of Caddy's: an object whose `$tag` field names the module.
macro_rules! modules {
    (
        $(#[$meta:meta])*
        pub enum $name:ident in $tag:literal {
            $( $(#[$variant_meta:meta])* $module:literal => $variant:ident($type:ty), )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[serde(tag = $tag)]
        pub enum $name {
            $(
                $(#[$variant_meta])*
                #[serde(rename = $module)]
                $variant($type),
            )*
            /// A module that is not modelled here, with its naming field, as it was read.
            #[serde(untagged)]
            Other(serde_json::Map<String, serde_json::Value>),
        }

        impl $name {
            /// The module's name: the value of the field that Caddy tells modules apart by.
            pub fn module(&self) -> &str {
                match self {
                    $( Self::$variant(_) => $module, )*
                    Self::Other(object) => {
                        object.get($tag).and_then(serde_json::Value::as_str).unwrap_or_default()
                    }
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use serde::de::Error as _;

                let mut object = serde_json::Map::deserialize(deserializer)?;
                let module = match object.get($tag) {
                    Some(serde_json::Value::String(module)) => module.clone(),
                    _ => return Err(D::Error::missing_field($tag)),
                };
                match module.as_str() {
                    $(
                        $module => {
                            object.remove($tag);
                            let value = serde_json::Value::Object(object);
                            let module: $type = serde_json::from_value(value).map_err(|error| {
                                D::Error::custom(format_args!("{} `{}`: {error}", $tag, $module))
                            })?;
                            Ok(Self::$variant(module))
                        }
                    )*
                    _ => Ok(Self::Other(object)),
                }
            }
        }
    };
}

use {modules, object};

object! {
    /// The whole configuration.
    pub struct Document {
        /// The admin endpoint.
        pub admin: Option<Admin>,
        /// Logs of the process and of the servers.
        pub logging: Option<Logging>,
        /// Where certificates and other assets are kept.
        pub storage: Option<Storage>,
        /// What runs.
        pub apps: Apps,
    }
}

/// The applications of a document, by name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Apps {
    /// The HTTP servers.
    #[serde(skip_serializing_if = "is_default")]
    pub http: Option<HttpApp>,
    /// The certificate authorities of Caddy's own.
    #[serde(skip_serializing_if = "is_default")]
    pub pki: Option<PkiApp>,
    /// Certificates: which to load and how to obtain the others.
    #[serde(skip_serializing_if = "is_default")]
    pub tls: Option<TlsApp>,
    /// Applications that are not modelled here, as they were read.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// An empty JSON object: a module without options.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
