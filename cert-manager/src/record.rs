//! What is remembered of a name between runs.

mod attempts;
mod problem;
mod suggestion;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::certificate::Facts;
use crate::challenge::ChallengeType;
use crate::finding::Finding;
use crate::name::Name;
use crate::policy::Policy;

pub use attempts::{Attempt, IssuerFailure, IssuerState};
pub use problem::{Limit, LimitScope, Problem, Step};
pub use suggestion::{Suggestion, Window};

/// Clocks are put back by less than this in everyday synchronization. What was noted by a clock that
/// has been put back further may be wrong by as much as that clock was, and is not waited for.
pub const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_hours(1);

/// What is remembered of a name. Holds no private key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The name.
    pub name: Name,
    /// How its certificates are to be obtained; `None` until a proxy has declared it.
    pub policy: Option<Policy>,
    /// Whether the last word of the proxies was that they serve the name.
    pub declared: bool,
    /// When a proxy was last known to serve it.
    pub declared_at: Timestamp,
    /// The stored certificate.
    pub certificate: Option<Facts>,
    /// When it was obtained; `None` for one that came with the files or from an earlier version.
    #[serde(default)]
    pub obtained_at: Option<Timestamp>,
    /// What its authority said of when to renew it.
    #[serde(default)]
    pub suggestion: Option<Suggestion>,
    /// The challenge that worked last.
    #[serde(default)]
    pub challenge: Option<ChallengeType>,
    /// Failed attempts since the last success.
    pub failures: u32,
    /// The first failure since the last success.
    pub failing_since: Option<Timestamp>,
    /// The last failure since the last success.
    pub last_problem: Option<Problem>,
    /// No attempt before this moment.
    pub next_attempt: Option<Timestamp>,
    /// What the failures at each issuer mean for the next attempt.
    #[serde(default)]
    pub issuers: Vec<IssuerState>,
    /// The last attempts, the oldest first.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// When an operator asked for a new certificate that is not there yet.
    pub renewal_requested: Option<Timestamp>,
    /// What was not as it should be when the name was last looked into.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// When an operator had the stored certificate revoked.
    #[serde(default)]
    pub revoked: Option<Timestamp>,
}

impl Record {
    /// A name that has just been heard of.
    pub fn new(name: Name, now: Timestamp) -> Self {
        Self {
            name,
            policy: None,
            declared: false,
            declared_at: now,
            certificate: None,
            obtained_at: None,
            suggestion: None,
            challenge: None,
            failures: 0,
            failing_since: None,
            last_problem: None,
            next_attempt: None,
            issuers: Vec::new(),
            attempts: Vec::new(),
            renewal_requested: None,
            findings: Vec::new(),
            revoked: None,
        }
    }

    /// A proxy serves the name by `policy`. Other issuers are tried without delay; limits that an
    /// authority has set stay.
    pub fn declare(&mut self, policy: Policy, now: Timestamp) {
        let issuers = self.policy.as_ref().map(|known| &known.issuers);
        if issuers != Some(&policy.issuers) {
            self.clear_failures();
        }
        if self.policy.as_ref() != Some(&policy) {
            self.policy = Some(policy);
        }
        self.declared = true;
        self.declared_at = now;
    }

    /// A certificate is stored.
    pub fn succeed(&mut self, facts: Facts) {
        self.certificate = Some(facts);
        self.obtained_at = None;
        self.renewal_requested = None;
        self.revoked = None;
        self.clear_failures();
    }

    /// An attempt failed; the next one waits for `delay`.
    pub fn fail(&mut self, problem: Problem, delay: Duration) {
        let now = problem.at;
        self.failures = self.failures.saturating_add(1);
        self.failing_since.get_or_insert(now);
        self.next_attempt = now.checked_add(delay).ok();
        self.last_problem = Some(problem);
    }

    /// An operator asks for a new certificate: past failures do not hold it back.
    pub fn request_renewal(&mut self, now: Timestamp) {
        self.renewal_requested = Some(now);
        self.next_attempt = None;
        for state in &mut self.issuers {
            state.not_before = None;
            state.limit = None;
        }
    }

    /// Whether an operator asked for a new certificate and no attempt has failed since.
    pub fn is_requested_anew(&self) -> bool {
        self.renewal_requested.is_some_and(|requested| {
            self.last_problem
                .as_ref()
                .is_none_or(|problem| problem.at < requested)
        })
    }

    /// How long attempts have been failing by `now`.
    pub fn failing_for(&self, now: Timestamp) -> Duration {
        self.failing_since
            .and_then(|since| Duration::try_from(now.duration_since(since)).ok())
            .unwrap_or_default()
    }

    fn clear_failures(&mut self) {
        self.failures = 0;
        self.failing_since = None;
        self.last_problem = None;
        self.next_attempt = None;
        self.forgive_issuers();
    }
}
