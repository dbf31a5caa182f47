//! What issues certificates: the seam between the manager and the authorities.

pub mod acme;
pub mod hint;
pub mod internal;
pub mod preflight;
mod revocation;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::backoff::Retry;
use crate::certificate::{Certificate, PrivateKey};
use crate::challenge::ChallengeType;
use crate::name::Name;
use crate::policy::{IssuerPolicy, KeyType};
use crate::record::{Problem, Step};
use crate::store::{Authority, StoreError};

pub use revocation::RevocationReason;

/// Issues certificates.
#[async_trait]
pub trait Issuer: fmt::Debug + Send + Sync {
    /// Obtains a certificate. Cancel safe: a later call goes on where this one was left.
    ///
    /// # Errors
    /// Why there is none, and when to try again.
    async fn issue(&self, request: &Request) -> Result<Issued, IssueError>;

    /// The certificate of `name` is stored, so what was kept to go on after a crash can go.
    ///
    /// # Errors
    /// When it may be left.
    async fn stored(&self, name: &Name) -> Result<(), StoreError>;

    /// What the authority says of when to renew `certificate`; `None` when it does not say.
    ///
    /// # Errors
    /// Why it cannot be asked, and when to try again.
    async fn renewal_info(
        &self,
        _certificate: &Certificate,
    ) -> Result<Option<RenewalInfo>, IssueError> {
        Ok(None)
    }

    /// Has the authority revoke `certificate` (RFC 8555 section 7.6). One that is revoked already is
    /// no error.
    ///
    /// # Errors
    /// Why it is not revoked.
    async fn revoke(
        &self,
        _certificate: &Certificate,
        _reason: RevocationReason,
    ) -> Result<(), IssueError> {
        let message = "this authority does not revoke certificates";
        Err(IssueError::new(Step::Revocation, message))
    }

    /// Gives the account at the authority a new key (RFC 8555 section 7.3.5).
    ///
    /// # Errors
    /// Why it keeps the present one, or that it is not known which of the two the authority has:
    /// then the next attempt finds out.
    async fn change_account_key(&self) -> Result<(), IssueError> {
        let message = "there are no accounts at this authority";
        Err(IssueError::new(Step::Account, message))
    }
}

/// What an authority says of when to renew a certificate (RFC 9773).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalInfo {
    /// When to renew at the earliest. In the past when the certificate is about to be revoked.
    pub window_start: Timestamp,
    /// When to have renewed.
    pub window_end: Timestamp,
    /// A page that says why.
    pub explanation_url: Option<String>,
    /// How long this holds before the authority should be asked again.
    pub ask_again_after: Duration,
}

/// Finds the issuer that a policy names.
#[async_trait]
pub trait Issuers: fmt::Debug + Send + Sync {
    /// The issuer for `policy`.
    ///
    /// # Errors
    /// When the policy cannot be followed, for example for a malformed root certificate.
    fn issuer(&self, policy: &IssuerPolicy) -> Result<Arc<dyn Issuer>, IssueError>;

    /// Makes `authority` the internal one, also after a restart.
    ///
    /// # Errors
    /// When it cannot be kept, or there is no internal one to take its place.
    async fn adopt(&self, authority: Authority) -> Result<(), StoreError> {
        let id = authority.id.as_str();
        Err(StoreError::Database(format!(
            "nobody keeps the authority {id}"
        )))
    }

    /// What is found out about `name` before an order by `policy`. Cancel safe.
    async fn look(&self, _name: &Name, _policy: &IssuerPolicy) -> preflight::Checked {
        preflight::Checked::default()
    }
}

/// What is asked of an issuer.
#[derive(Clone, Debug)]
pub struct Request {
    /// The name to certify.
    pub name: Name,
    /// The kind of private key.
    pub key_type: KeyType,
    /// The private key to use again; `None` makes a new one.
    pub key: Option<PrivateKey>,
    /// Serial number of the certificate that is stored now.
    pub replaces: Option<String>,
    /// Whether to try at the authority's test directory first, where there is one.
    pub rehearse: bool,
    /// The challenge that worked last for the name.
    pub challenge: Option<ChallengeType>,
}

/// What an issuer gives.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: Certificate,
    /// How control of the name was proven; `None` where it was not asked for.
    pub challenge: Option<ChallengeType>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct IssueError {
    /// What was being done.
    pub step: Step,
    /// One line: what happened.
    pub message: String,
    /// What the operator can do about it; may be empty.
    pub hint: String,
    /// The authority's problem document (RFC 7807) as JSON; empty when there was none.
    pub document: String,
    /// When to try again.
    pub retry: Retry,
}

impl IssueError {
    /// An error without a problem document, retried by the usual backoff.
    pub fn new(step: Step, message: impl Into<String>) -> Self {
        Self {
            step,
            message: message.into(),
            hint: String::new(),
            document: String::new(),
            retry: Retry::Backoff,
        }
    }

    /// With what the operator can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// With another time for the next attempt.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// What is remembered of it.
    pub fn into_problem(self, at: Timestamp) -> Problem {
        Problem {
            at,
            step: self.step,
            message: self.message,
            hint: self.hint,
            document: self.document,
        }
    }
}

/// The authorities of a running manager: the internal one, and ACME ones as policies name them.
#[derive(Debug)]
pub struct Authorities {
    internal: Arc<internal::InternalAuthority>,
    acme: acme::Environment,
    preflight: Arc<preflight::Preflight>,
    known: Mutex<HashMap<IssuerPolicy, Arc<dyn Issuer>>>,
}

impl Authorities {
    /// The internal authority, and ACME ones that work in `acme` after a look by `preflight`.
    pub fn new(
        internal: Arc<internal::InternalAuthority>,
        acme: acme::Environment,
        preflight: Arc<preflight::Preflight>,
    ) -> Self {
        Self {
            internal,
            acme,
            preflight,
            known: Mutex::default(),
        }
    }
}

#[async_trait]
impl Issuers for Authorities {
    async fn adopt(&self, authority: Authority) -> Result<(), StoreError> {
        self.internal.adopt(authority).await
    }

    fn issuer(&self, policy: &IssuerPolicy) -> Result<Arc<dyn Issuer>, IssueError> {
        let mut known = self.known.lock();
        if let Some(issuer) = known.get(policy) {
            return Ok(Arc::clone(issuer));
        }
        let issuer: Arc<dyn Issuer> = match policy {
            IssuerPolicy::Internal {
                lifetime_seconds,
                sign_with_root,
            } => Arc::new(internal::InternalIssuer::new(
                Arc::clone(&self.internal),
                *lifetime_seconds,
                *sign_with_root,
            )),
            IssuerPolicy::Acme(acme) => {
                Arc::new(acme::AcmeIssuer::new(self.acme.clone(), (**acme).clone())?)
            }
        };
        known.insert(policy.clone(), Arc::clone(&issuer));
        Ok(issuer)
    }

    async fn look(&self, name: &Name, policy: &IssuerPolicy) -> preflight::Checked {
        self.preflight.look(name, policy).await
    }
}
