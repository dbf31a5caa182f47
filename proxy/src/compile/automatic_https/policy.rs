//! How certificates are obtained, as the document's automation policies say.

mod dns;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use caddyfile::document::{self, AutomationPolicy, Origin, TlsApp};

use super::super::{CompileContext, CompileError};
use super::{environment, on_demand};

pub use dns::{DnsChallenge, DnsProvider};

/// How certificates of some names are obtained.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// Tried in order; empty means cert-manager's default.
    pub issuers: Vec<Issuer>,
    /// The kind of key.
    pub key_type: KeyType,
    /// Whether a renewal keeps the key.
    pub reuse_private_key: bool,
    /// The share of the lifetime that is left at renewal; 0 means the default.
    pub renewal_window_ratio: f64,
    /// Present where names are certified when a client first asks for them.
    pub on_demand: Option<OnDemand>,
}

/// Names that are certified when a client first asks for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnDemand {
    /// URL that is asked whether a name may be certified; empty allows every name.
    pub ask_url: String,
}

/// Who signs.
#[derive(Clone, Debug, PartialEq)]
pub enum Issuer {
    /// An ACME authority.
    Acme(Box<AcmeIssuer>),
    /// cert-manager's own authority.
    Internal {
        /// How long certificates are valid; zero means the default.
        lifetime: Duration,
        /// Whether the root signs them itself.
        sign_with_root: bool,
    },
}

/// An ACME authority, and how its orders are made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AcmeIssuer {
    /// The directory; empty means cert-manager's default.
    pub directory_url: String,
    /// Directory for attempts after a failure; empty means the known one.
    pub test_directory_url: String,
    /// The account's contact; may be empty.
    pub email: String,
    /// Files of roots for the directory's own HTTPS, in PEM.
    pub trusted_root_files: Vec<PathBuf>,
    /// The account elsewhere that ours is bound to.
    pub external_account: Option<ExternalAccount>,
    /// The account's key in PEM; may be empty.
    pub account_key_pem: Secret,
    /// The certificate's profile; may be empty.
    pub profile: String,
    /// The choice among several chains.
    pub preferred_chains: Option<document::PreferredChains>,
    /// The lifetime to ask for; zero leaves it to the authority.
    pub lifetime: Duration,
    /// How long one attempt may take; zero means the default.
    pub timeout: Duration,
    /// HTTP-01 is not used.
    pub http_disabled: bool,
    /// TLS-ALPN-01 is not used.
    pub tls_alpn_disabled: bool,
    /// DNS-01, which is used alone where it is present.
    pub dns: Option<DnsChallenge>,
}

/// An account elsewhere that an ACME account is bound to (RFC 8555 section 7.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAccount {
    /// Key identifier.
    pub key_id: String,
    /// MAC key, base64url.
    pub mac_key: Secret,
}

/// Text that is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

/// The kind of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyType {
    /// Ed25519.
    Ed25519,
    /// ECDSA on P-256.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA of 2048 bits.
    Rsa2048,
    /// RSA of 4096 bits.
    Rsa4096,
}

impl Policy {
    /// Whether certificates come from cert-manager's own authority, which always issues.
    pub fn is_internal(&self) -> bool {
        matches!(self.issuers.first(), Some(Issuer::Internal { .. }))
    }
}

impl Secret {
    /// Keeps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for use and not for show.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Compiles one automation policy.
pub(super) struct Compiler<'a> {
    index: usize,
    path: String,
    origin: Option<Origin>,
    tls: &'a TlsApp,
    context: &'a CompileContext,
    errors: &'a mut Vec<CompileError>,
}

impl<'a> Compiler<'a> {
    /// For the policy at `index` of `tls`.
    pub(super) fn new(
        index: usize,
        tls: &'a TlsApp,
        context: &'a CompileContext,
        errors: &'a mut Vec<CompileError>,
    ) -> Self {
        Self {
            index,
            path: format!("apps.tls.automation.policies[{index}]"),
            origin: None,
            tls,
            context,
            errors,
        }
    }

    pub(super) fn policy(mut self, policy: &AutomationPolicy) -> Policy {
        self.origin = policy.written.0;
        self.refuse("get_certificate", !policy.get_certificate.is_empty());
        self.refuse("must_staple", policy.must_staple);
        self.refuse("storage", policy.storage.is_some());
        let key_type = match policy.key_type.as_str() {
            "" | "p256" => KeyType::P256,
            "ed25519" => KeyType::Ed25519,
            "p384" => KeyType::P384,
            "rsa2048" => KeyType::Rsa2048,
            "rsa4096" => KeyType::Rsa4096,
            other => {
                let message = format!("there are no keys of type `{other}`");
                self.error("key_type", message).hint =
                    Some("use `p256`, `p384`, `rsa2048`, `rsa4096` or `ed25519`".to_owned());
                KeyType::P256
            }
        };
        let issuers = policy.issuers.iter();
        Policy {
            issuers: issuers.filter_map(|issuer| self.issuer(issuer)).collect(),
            key_type,
            reuse_private_key: policy.reuse_private_keys,
            renewal_window_ratio: policy.renewal_window_ratio,
            on_demand: policy
                .on_demand
                .then(|| on_demand::compile(self.index, policy, self.tls, self.errors)),
        }
    }

    fn issuer(&mut self, issuer: &document::Issuer) -> Option<Issuer> {
        match issuer {
            document::Issuer::Acme(acme) => Some(Issuer::Acme(Box::new(self.acme(acme)))),
            document::Issuer::Internal(internal) => {
                self.refuse("issuers.ca", !matches!(internal.ca.as_str(), "" | "local"));
                Some(Issuer::Internal {
                    lifetime: internal.lifetime.to_std(),
                    sign_with_root: internal.sign_with_root,
                })
            }
            other => {
                let message = format!("the issuer `{}` is not supported", other.module());
                self.error("issuers", message).hint = Some(
                    "use `acme` with ZeroSSL's directory, https://acme.zerossl.com/v2/DV90"
                        .to_owned(),
                );
                None
            }
        }
    }

    fn acme(&mut self, acme: &document::AcmeIssuer) -> AcmeIssuer {
        self.refuse("issuers.network_proxy", acme.network_proxy.is_some());
        let challenges = acme.challenges.clone().unwrap_or_default();
        AcmeIssuer {
            directory_url: acme.ca.clone(),
            test_directory_url: acme.test_ca.clone(),
            email: environment::fill(&acme.email),
            trusted_root_files: acme
                .trusted_roots_pem_files
                .iter()
                .map(|file| self.context.folder.join(file))
                .collect(),
            external_account: acme
                .external_account
                .as_ref()
                .map(|account| ExternalAccount {
                    key_id: environment::fill(&account.key_id),
                    mac_key: Secret::new(environment::fill(&account.mac_key)),
                }),
            account_key_pem: Secret::new(environment::fill(&acme.account_key)),
            profile: acme.profile.clone(),
            preferred_chains: acme.preferred_chains.clone(),
            lifetime: acme.certificate_lifetime.to_std(),
            timeout: acme.acme_timeout.to_std(),
            http_disabled: challenges.http.is_some_and(|http| http.disabled),
            tls_alpn_disabled: challenges.tls_alpn.is_some_and(|alpn| alpn.disabled),
            dns: challenges.dns.and_then(|dns| self.dns_challenge(&dns)),
        }
    }

    fn refuse(&mut self, field: &str, is_used: bool) {
        if is_used {
            let name = field.rsplit('.').next().unwrap_or(field);
            self.error(field, format!("`{name}` is not supported"));
        }
    }

    fn error(&mut self, field: &str, message: String) -> &mut CompileError {
        let path = format!("{}.{field}", self.path);
        let error = CompileError::new(path, message).with_origin(self.origin);
        self.errors.push_mut(error)
    }
}
