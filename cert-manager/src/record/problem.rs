//! Why attempts failed.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::backoff::Retry;
use crate::name::Name;

/// The namespace of ACME's problem types (RFC 8555 section 6.7).
const NAMESPACE: &str = "urn:ietf:params:acme:error:";

/// Problem types of RFC 8555 section 6.7 and RFC 9773 section 7.4.
const KINDS: [&str; 25] = [
    "accountDoesNotExist",
    "alreadyReplaced",
    "alreadyRevoked",
    "badCSR",
    "badNonce",
    "badPublicKey",
    "badRevocationReason",
    "badSignatureAlgorithm",
    "caa",
    "compound",
    "connection",
    "dns",
    "externalAccountRequired",
    "incorrectResponse",
    "invalidContact",
    "malformed",
    "orderNotReady",
    "rateLimited",
    "rejectedIdentifier",
    "serverInternal",
    "tls",
    "unauthorized",
    "unsupportedContact",
    "unsupportedIdentifier",
    "userActionRequired",
];

/// Those that are about the name and its server: an authority's test directory finds the same.
const REHEARSED: [&str; 9] = [
    "caa",
    "compound",
    "connection",
    "dns",
    "incorrectResponse",
    "rejectedIdentifier",
    "tls",
    "unauthorized",
    "unsupportedIdentifier",
];

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// When.
    pub at: Timestamp,
    /// What was being done.
    pub step: Step,
    /// One line: what happened.
    pub message: String,
    /// What the operator can do about it; may be empty.
    pub hint: String,
    /// The authority's problem document (RFC 7807) as JSON; empty when there was none.
    pub document: String,
}

/// What is done to obtain a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Asking whether a name that a client brought may be certified.
    Permission,
    /// Checking that the name can be certified at all.
    Preflight,
    /// Registering with the authority, or finding the registration again.
    Account,
    /// Opening an order, or finding it again.
    Order,
    /// Proving control of the name.
    Challenge,
    /// Sending the certificate signing request.
    Finalize,
    /// Fetching the certificate.
    Certificate,
    /// Signing by the internal authority.
    Sign,
    /// Writing the certificate to the store.
    Store,
    /// Asking when to renew (RFC 9773).
    RenewalInfo,
    /// Revoking a certificate.
    Revocation,
}

/// An authority's answer that it is asked too often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// What it holds back.
    pub scope: LimitScope,
    /// The authority's words.
    pub message: String,
}

/// What a limit of an authority holds back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    /// Every order of the account.
    Account,
    /// Orders for this domain and names below it.
    Domain(String),
    /// Orders for the name alone.
    Name,
}

impl Problem {
    /// The kind of problem: ACME's problem type without its namespace, else the step. One of a
    /// bounded set, for metrics.
    pub fn kind(&self) -> &'static str {
        let document = serde_json::from_str::<serde_json::Value>(&self.document).ok();
        let found = document
            .as_ref()
            .and_then(|document| document["type"].as_str())
            .and_then(|kind| kind.strip_prefix(NAMESPACE))
            .and_then(|kind| KINDS.into_iter().find(|known| *known == kind));
        found.unwrap_or(self.step.as_str())
    }

    /// Whether the authority's test directory would have found the same. It does not show limits,
    /// connections that fail, or what goes wrong on our side.
    pub fn is_worth_rehearsing(&self) -> bool {
        REHEARSED.contains(&self.kind())
    }

    /// What an answer that asks to come back later holds back; `None` when it is no limit.
    ///
    /// Let's Encrypt says which of its limits it was in words only, and some of them are for one
    /// name or domain. What is not understood holds back the account.
    pub fn limit(&self, retry: Retry) -> Option<Limit> {
        let (Retry::After(_), Step::Account | Step::Order | Step::Challenge | Step::Finalize) =
            (retry, self.step)
        else {
            return None;
        };
        let scope = match self.kind() {
            "rateLimited" => scope_of(&self.message),
            // The authority has too much to do, whoever asks.
            "serverInternal" | "account" | "order" => LimitScope::Account,
            _ => LimitScope::Name,
        };
        Some(Limit {
            scope,
            message: self.message.clone(),
        })
    }
}

/// What Let's Encrypt's words for a limit are about.
fn scope_of(message: &str) -> LimitScope {
    let quoted = || message.split('"').nth(1).filter(|text| !text.is_empty());
    if message.contains("exact set of") || message.contains("failed authorizations") {
        LimitScope::Name
    } else if let (true, Some(domain)) = (message.contains("already issued for"), quoted()) {
        LimitScope::Domain(domain.to_lowercase())
    } else {
        LimitScope::Account
    }
}

impl LimitScope {
    /// Whether the limit holds `name` back, where it was met by an order for `met_by`.
    pub fn covers(&self, name: &Name, met_by: &Name) -> bool {
        match self {
            Self::Account => true,
            Self::Domain(domain) => name
                .as_str()
                .strip_suffix(domain.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            Self::Name => name == met_by,
        }
    }
}

impl Step {
    /// One lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permission => "permission",
            Self::Preflight => "preflight",
            Self::Account => "account",
            Self::Order => "order",
            Self::Challenge => "challenge",
            Self::Finalize => "finalize",
            Self::Certificate => "certificate",
            Self::Sign => "sign",
            Self::Store => "store",
            Self::RenewalInfo => "renewal information",
            Self::Revocation => "revocation",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
