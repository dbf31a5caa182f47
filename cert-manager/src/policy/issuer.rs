//! The ways to get a certificate.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{INTERNAL_LIFETIME, Secret};

/// One way to get a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum IssuerPolicy {
    /// An ACME certificate authority (RFC 8555).
    Acme(Box<AcmePolicy>),
    /// The manager's own authority.
    Internal {
        /// How long a leaf is valid, in seconds.
        lifetime_seconds: u64,
        /// Whether the root signs leaves itself.
        #[serde(default)]
        sign_with_root: bool,
    },
}

/// An ACME certificate authority, and how its orders are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AcmePolicy {
    /// Its directory.
    pub directory_url: String,
    /// Contact of the account, without `mailto:`.
    pub email: Option<String>,
    /// PEM certificates trusted for the directory's HTTPS; may be empty.
    pub trusted_roots_pem: String,
    /// Directory for attempts after a failure, where the known one is not meant.
    #[serde(default)]
    pub test_directory_url: Option<String>,
    /// The account elsewhere that ours is bound to.
    #[serde(default)]
    pub external_account: Option<ExternalAccount>,
    /// The profile of the certificate.
    #[serde(default)]
    pub profile: Option<String>,
    /// The choice among several chains.
    #[serde(default)]
    pub preferred_chains: Option<PreferredChains>,
    /// The account's private key in PEM, where it is given.
    #[serde(default)]
    pub account_key_pem: Option<Secret>,
    /// The lifetime to ask for.
    #[serde(default)]
    pub lifetime: Option<Duration>,
    /// How long one attempt may take in all.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// How control of a name is proven.
    #[serde(default)]
    pub challenges: Challenges,
}

/// An account elsewhere that an ACME account is bound to (RFC 8555 section 7.3.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExternalAccount {
    /// Key identifier, as the authority gave it.
    pub key_id: String,
    /// MAC key, base64url.
    pub mac_key: Secret,
}

/// The choice among the chains that an authority offers (RFC 8555 section 7.4.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreferredChains {
    /// A certificate of the chain is issued by one of these common names.
    AnyCommonName(Vec<String>),
    /// The last certificate of the chain is issued by one of these common names.
    RootCommonName(Vec<String>),
    /// The one with the fewest bytes.
    Smallest,
}

/// How control of a name is proven.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Challenges {
    /// HTTP-01 is not used.
    pub http_disabled: bool,
    /// TLS-ALPN-01 is not used.
    pub tls_alpn_disabled: bool,
    /// DNS-01. Where it is present, it alone is used.
    pub dns: Option<DnsChallenge>,
}

/// How DNS-01 records are made and checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DnsChallenge {
    /// What writes the records.
    pub provider: DnsProvider,
    /// Time to live of the records.
    pub ttl: Option<Duration>,
    /// How long to wait before the record is looked up.
    pub propagation_delay: Duration,
    /// How long the record may take to be seen.
    pub propagation_timeout: Option<Duration>,
    /// The record is not looked up before the authority is told.
    pub propagation_check_disabled: bool,
    /// Name servers to look the record up at, as `HOST` or `HOST:PORT`; empty means the zone's.
    pub resolvers: Vec<String>,
    /// The name to put the record under in place of `_acme-challenge.NAME`.
    pub override_domain: Option<String>,
}

/// What writes DNS-01 records.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DnsProvider {
    /// Cloudflare's API.
    Cloudflare {
        /// May edit the zone.
        api_token: Secret,
        /// May list zones, where the other may not.
        zone_token: Option<Secret>,
        /// Where the API is, if not at Cloudflare.
        api_url: Option<String>,
    },
    /// The program of the manager's `--dns-exec`.
    Exec,
    /// Dynamic update (RFC 2136), signed where there is a key (RFC 8945).
    Rfc2136 {
        /// The primary name server, as `HOST` or `HOST:PORT`.
        server: String,
        /// Name of the key; empty sends unsigned updates.
        key_name: String,
        /// Such as `hmac-sha256`.
        key_algorithm: String,
        /// The key, base64.
        key: Secret,
    },
    /// An HTTP endpoint.
    Webhook {
        /// Where records are posted to.
        url: String,
        /// Sent as bearer token.
        token: Option<Secret>,
    },
}

/// Who issues or issued a certificate; as text `internal`, `imported` or the URL of an ACME directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum IssuerId {
    /// The authority with this directory.
    Acme(String),
    /// Somebody else, of whom nothing more is known: the certificate was imported.
    Imported,
    /// The manager's own authority.
    Internal,
}

impl IssuerPolicy {
    /// The internal authority with its usual lifetime.
    pub fn internal() -> Self {
        Self::Internal {
            lifetime_seconds: INTERNAL_LIFETIME.as_secs(),
            sign_with_root: false,
        }
    }

    /// Who issues by this policy.
    pub fn id(&self) -> IssuerId {
        match self {
            Self::Acme(acme) => IssuerId::Acme(acme.directory_url.clone()),
            Self::Internal { .. } => IssuerId::Internal,
        }
    }
}

impl AcmePolicy {
    /// The authority with this directory, for the account of `email`, with nothing else chosen.
    pub fn new(directory_url: impl Into<String>, email: Option<String>) -> Self {
        Self {
            directory_url: directory_url.into(),
            email,
            ..Self::default()
        }
    }
}

impl fmt::Display for IssuerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acme(directory_url) => f.write_str(directory_url),
            Self::Imported => f.write_str("imported"),
            Self::Internal => f.write_str("internal"),
        }
    }
}

impl From<String> for IssuerId {
    fn from(text: String) -> Self {
        match text.as_str() {
            "imported" => Self::Imported,
            "internal" => Self::Internal,
            _ => Self::Acme(text),
        }
    }
}

impl From<IssuerId> for String {
    fn from(id: IssuerId) -> Self {
        id.to_string()
    }
}
