//! What goes wrong with an ACME authority, and what an operator is told of it.

use std::time::Duration;

use instant_acme::{Error, Problem};
use serde_json::json;

use super::http::Transport;
use crate::backoff::Retry;
use crate::certificate::CertificateError;
use crate::challenge::{ChallengeError, ChallengeType};
use crate::dns::DnsError;
use crate::issuer::{IssueError, hint};
use crate::record::Step;
use crate::store::StoreError;

const NAMESPACE: &str = "urn:ietf:params:acme:error:";

/// Why an attempt failed.
#[derive(Debug)]
pub(super) struct Failure {
    step: Step,
    cause: Box<Cause>,
    /// The authority's `Retry-After`, and its problem document as it came.
    retry_after: Option<Duration>,
    document: String,
    /// The challenge that the authority refused, and what it said of others.
    challenge: Option<ChallengeType>,
    others: Vec<String>,
    /// The authority has nothing at the URL that was asked for.
    is_missing: bool,
    /// What the operator can do about it, where the step knows better than the problem's kind.
    hint: Option<&'static str>,
}

#[derive(Debug)]
enum Cause {
    /// The authority says no.
    Problem(Problem),
    /// The authority cannot be talked to, or not understood.
    Transport(String),
    /// The authority's answers are none that ACME knows.
    Malformed(String),
    /// The authority takes too long.
    Slow(Duration),
    /// The policy asks for what cannot be had; with what to do about it.
    Setting(String, String),
    /// The authority has not got what it was to be asked for.
    Unsupported(&'static str),
    /// Our side of the challenge.
    Challenge(ChallengeError),
    /// Anything on our side that no hint of the authority's explains.
    Own(String),
    /// Something on our side with its own hint.
    Explained { message: String, hint: String },
}

impl Failure {
    /// The failure of a request to the authority.
    pub(super) fn of_request(step: Step, error: Error, transport: &Transport) -> Self {
        let refusal = transport.take_refusal();
        let own_document = match &error {
            Error::Api(problem) => document(problem),
            _ => String::new(),
        };
        let cause = match error {
            Error::Api(problem) => Cause::Problem(problem),
            Error::Timeout(_) => return Self::slow(step, super::PATIENCE),
            Error::Crypto | Error::KeyRejected => Cause::Own(error.to_string()),
            Error::Json(error) => Cause::Malformed(error.to_string()),
            Error::Str(missing) => Cause::Malformed(missing.to_owned()),
            Error::InvalidUri(error) => Cause::Malformed(error.to_string()),
            other => Cause::Transport(chain(&other)),
        };
        Self {
            step,
            cause: Box::new(cause),
            retry_after: refusal.as_ref().and_then(|refusal| refusal.retry_after),
            is_missing: refusal.as_ref().is_some_and(|refusal| refusal.is_missing),
            document: refusal.map_or(own_document, |refusal| refusal.document),
            challenge: None,
            others: Vec::new(),
            hint: None,
        }
    }

    /// A problem that the authority reports of an order or challenge.
    pub(super) fn of_problem(step: Step, problem: Problem) -> Self {
        Self {
            step,
            document: document(&problem),
            cause: Box::new(Cause::Problem(problem)),
            retry_after: None,
            challenge: None,
            others: Vec::new(),
            is_missing: false,
            hint: None,
        }
    }

    /// The authority did not get done within `patience`.
    pub(super) fn slow(step: Step, patience: Duration) -> Self {
        Self::own(step, Cause::Slow(patience))
    }

    /// The policy asks for what cannot be had until somebody changes it, as `hint` says how.
    pub(super) fn setting(step: Step, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::own(step, Cause::Setting(message.into(), hint.into()))
    }

    /// The authority has not got `what`.
    pub(super) fn unsupported(step: Step, what: &'static str) -> Self {
        Self::own(step, Cause::Unsupported(what))
    }

    /// A failure on our side.
    pub(super) fn other(step: Step, message: impl Into<String>) -> Self {
        Self::own(step, Cause::Own(message.into()))
    }

    /// A failure on our side, with what the operator can do about it.
    pub(super) fn explained(
        step: Step,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let (message, hint) = (message.into(), hint.into());
        Self::own(step, Cause::Explained { message, hint })
    }

    /// The same, known to be about `challenge`; `others` is what was said of the others.
    pub(super) fn of_challenge(self, challenge: ChallengeType, others: Vec<String>) -> Self {
        Self {
            challenge: Some(challenge),
            others,
            ..self
        }
    }

    /// With what the operator can do about it.
    pub(super) fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Whether the authority asks to send the same again with another nonce.
    pub(super) fn is_bad_nonce(error: &Error) -> bool {
        matches!(error, Error::Api(problem) if is_kind(problem, "badNonce"))
    }

    /// Whether the authority does not know the account.
    pub(super) fn is_unknown_account(&self) -> bool {
        matches!(&*self.cause, Cause::Problem(problem) if is_kind(problem, "accountDoesNotExist"))
    }

    /// Whether the authority names a problem of `kind`, which is without its namespace.
    pub(super) fn is_problem(&self, kind: &str) -> bool {
        matches!(&*self.cause, Cause::Problem(problem) if is_kind(problem, kind))
    }

    /// Whether the authority has nothing at the URL that was asked for.
    pub(super) fn is_missing(&self) -> bool {
        self.is_missing
    }

    /// Whether the authority refuses what it was asked for, rather than having trouble.
    pub(super) fn is_refusal(&self) -> bool {
        match &*self.cause {
            Cause::Problem(problem) => ["rateLimited", "serverInternal", "badNonce"]
                .into_iter()
                .all(|trouble| !is_kind(problem, trouble)),
            Cause::Unsupported(_) => true,
            _ => false,
        }
    }

    /// What the manager is told; `subject` is what it was all for.
    pub(super) fn into_error(
        self,
        subject: &(impl std::fmt::Display + ?Sized),
        directory_url: &str,
    ) -> IssueError {
        let (message, hint, retry) = match &*self.cause {
            Cause::Problem(problem) => {
                let kind = problem.r#type.as_deref().unwrap_or_default();
                let retry = match kind.strip_prefix(NAMESPACE) {
                    Some(
                        "externalAccountRequired" | "invalidProfile" | "rejectedIdentifier"
                        | "userActionRequired",
                    ) => Retry::Daily,
                    _ => Retry::Backoff,
                };
                let hint = self
                    .challenge
                    .and_then(|challenge| hint::for_challenge(kind, challenge, subject))
                    .unwrap_or_else(|| hint::for_problem(kind, self.step, subject));
                (describe(problem), hint, retry)
            }
            Cause::Transport(message) => (
                format!("cannot talk to {directory_url}: {message}"),
                hint::for_connection(directory_url),
                Retry::Backoff,
            ),
            Cause::Malformed(message) => (
                format!("{directory_url} gives an answer that cannot be understood: {message}"),
                hint::for_answer(directory_url),
                Retry::Backoff,
            ),
            Cause::Slow(patience) => (
                format!("{directory_url} was not done within {patience:?}"),
                "the authority is slow or out of reach; the next attempt goes on where this one was \
                 left"
                    .to_owned(),
                Retry::Backoff,
            ),
            Cause::Setting(message, hint) => (message.clone(), hint.clone(), Retry::Daily),
            Cause::Unsupported(what) => (
                format!("{directory_url} does not offer {what}"),
                String::new(),
                Retry::Daily,
            ),
            Cause::Challenge(error) => (
                error.to_string(),
                "is the proxy running, and do its logs say that it is connected?".to_owned(),
                Retry::Backoff,
            ),
            Cause::Own(message) => (message.clone(), String::new(), Retry::Backoff),
            Cause::Explained { message, hint } => (message.clone(), hint.clone(), Retry::Backoff),
        };
        let message = match self.challenge {
            Some(challenge) if !self.others.is_empty() => {
                format!("{challenge}: {message}; {}", self.others.join("; "))
            }
            _ => message,
        };
        IssueError {
            step: self.step,
            message,
            hint: self.hint.map_or(hint, ToOwned::to_owned),
            document: self.document,
            retry: self.retry_after.map_or(retry, Retry::After),
        }
    }

    fn own(step: Step, cause: Cause) -> Self {
        Self {
            step,
            cause: Box::new(cause),
            retry_after: None,
            document: String::new(),
            challenge: None,
            others: Vec::new(),
            is_missing: false,
            hint: None,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::other(Step::Store, chain(&error))
    }
}

impl From<ChallengeError> for Failure {
    fn from(error: ChallengeError) -> Self {
        Self::own(Step::Challenge, Cause::Challenge(error))
    }
}

impl From<DnsError> for Failure {
    fn from(error: DnsError) -> Self {
        Self::explained(Step::Challenge, error.message, error.hint)
    }
}

impl From<CertificateError> for Failure {
    fn from(error: CertificateError) -> Self {
        Self::other(Step::Certificate, error.to_string())
    }
}

fn is_kind(problem: &Problem, kind: &str) -> bool {
    problem
        .r#type
        .as_deref()
        .and_then(|full| full.strip_prefix(NAMESPACE))
        == Some(kind)
}

fn describe(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().unwrap_or("an unnamed problem");
    let mut text = problem.detail.clone().unwrap_or_default();
    for subproblem in &problem.subproblems {
        if let Some(detail) = &subproblem.detail {
            text = format!("{text}; {detail}");
        }
    }
    let kind = kind.strip_prefix(NAMESPACE).unwrap_or(kind);
    if text.is_empty() {
        kind.to_owned()
    } else {
        format!("{text} ({kind})")
    }
}

/// The problem document again, for those that come inside another answer.
fn document(problem: &Problem) -> String {
    let subproblems: Vec<_> = problem
        .subproblems
        .iter()
        .map(
            |sub| json!({ "type": sub.r#type, "detail": sub.detail, "identifier": sub.identifier }),
        )
        .collect();
    let mut document = serde_json::Map::new();
    let mut insert = |key: &str, value: serde_json::Value| {
        if !value.is_null() {
            document.insert(key.to_owned(), value);
        }
    };
    insert("type", json!(problem.r#type));
    insert("detail", json!(problem.detail));
    insert("status", json!(problem.status));
    if !subproblems.is_empty() {
        insert("subproblems", json!(subproblems));
    }
    serde_json::Value::from(document).to_string()
}

/// An error with its sources, each said once: those of other crates repeat one another.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = inner.source();
    }
    text
}
