//! Attempts of the past, and what failures at an issuer mean for the next attempt.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{CLOCK_TOLERANCE, Limit, Problem, Record};
use crate::backoff::{self, Retry};
use crate::policy::IssuerId;

/// How many attempts are remembered.
const REMEMBERED: usize = 8;
/// How much of a problem's text is remembered of each, in characters.
const MESSAGE: usize = 200;

/// One attempt to obtain a certificate from one issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it ended.
    pub at: Timestamp,
    /// Who was asked.
    pub issuer: IssuerId,
    /// What failed, in one line; `None` when a certificate was obtained.
    pub failure: Option<String>,
}

/// What failures at an issuer mean for the next attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerState {
    /// The issuer.
    pub issuer: IssuerId,
    /// When it last failed.
    pub failed_at: Timestamp,
    /// It is not asked before this moment.
    pub not_before: Option<Timestamp>,
    /// Whether its test directory is asked first.
    pub rehearse: bool,
    /// The limit that it answered with.
    pub limit: Option<Limit>,
}

/// How an attempt failed at one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerFailure {
    /// Who was asked.
    pub issuer: IssuerId,
    /// Why there is no certificate.
    pub problem: Problem,
    /// When to ask again.
    pub retry: Retry,
}

impl IssuerState {
    /// Until when the issuer is not asked, if it is not by `now`.
    pub fn waits_until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = self.not_before.filter(|until| now < *until)?;
        (self.failed_at.duration_since(now) <= CLOCK_TOLERANCE).then_some(until)
    }
}

impl Record {
    /// What failures at `issuer` mean for the next attempt, where there were any.
    pub fn issuer_state(&self, issuer: &IssuerId) -> Option<&IssuerState> {
        self.issuers.iter().find(|state| state.issuer == *issuer)
    }

    /// Until when `issuer` is not asked, if it is not by `now`. What failed before the authority
    /// recalled the certificate is not waited for, unless the authority asked for it.
    pub fn issuer_waits_until(&self, issuer: &IssuerId, now: Timestamp) -> Option<Timestamp> {
        let state = self.issuer_state(issuer)?;
        let is_overtaken = state.limit.is_none()
            && self
                .recall()
                .is_some_and(|told_at| state.failed_at < told_at);
        state.waits_until(now).filter(|_| !is_overtaken)
    }

    /// An attempt ended at `issuer`.
    pub fn note_attempt(&mut self, at: Timestamp, issuer: IssuerId, failure: Option<&str>) {
        if failure.is_none() {
            self.obtained_at = Some(at);
        }
        let surplus = (self.attempts.len() + 1).saturating_sub(REMEMBERED);
        self.attempts.drain(..surplus);
        self.attempts.push(Attempt {
            at,
            issuer,
            failure: failure.map(|text| text.chars().take(MESSAGE).collect()),
        });
    }

    /// An attempt failed at each of `failures`, in this order; the last of them is what is
    /// reported. Returns how long the next attempt waits: until one of the issuers may be asked
    /// again, and by the usual backoff at least. `random` is uniform in 0..1.
    pub fn fail_at_issuers(&mut self, failures: &[IssuerFailure], random: f64) -> Duration {
        let Some(last) = failures.last() else {
            return Duration::ZERO;
        };
        let now = last.problem.at;
        let passed_over = self.shortest_wait(failures, now);
        let usual = self.next_delay(Retry::Backoff, now, random);
        let own = failures
            .iter()
            .map(|failure| self.next_delay(failure.retry, now, random));
        let first = own.chain(passed_over).min().unwrap_or_default();
        let delay = first.max(usual);
        self.note_failures(failures, random);
        self.fail(last.problem.clone(), delay);
        delay
    }

    /// Remembers what failed at the issuers that were tried before one that issued, or before all
    /// had failed. `random` is uniform in 0..1.
    pub fn note_failures(&mut self, failures: &[IssuerFailure], random: f64) {
        for failure in failures {
            let delay = self.next_delay(failure.retry, failure.problem.at, random);
            self.note_failure(failure, delay);
        }
    }

    fn next_delay(&self, retry: Retry, now: Timestamp, random: f64) -> Duration {
        let failures = self.failures.saturating_add(1);
        backoff::delay(failures, self.failing_for(now), retry, random)
    }

    /// A success or another policy: only the limits of authorities stay.
    pub(super) fn forgive_issuers(&mut self) {
        self.issuers.retain(|state| state.limit.is_some());
        for state in &mut self.issuers {
            state.rehearse = false;
        }
    }

    /// How long until the first of the issuers that were passed over may be asked.
    fn shortest_wait(&self, failures: &[IssuerFailure], now: Timestamp) -> Option<Duration> {
        let passed_over = self
            .issuers
            .iter()
            .filter(|state| {
                failures
                    .iter()
                    .all(|failure| failure.issuer != state.issuer)
            })
            .filter(|state| {
                let policy = self.policy.as_ref();
                policy.is_some_and(|policy| policy.accepts(&state.issuer))
            });
        let first = passed_over
            .filter_map(|state| state.waits_until(now))
            .min()?;
        Duration::try_from(first.duration_since(now)).ok()
    }

    fn note_failure(&mut self, failure: &IssuerFailure, delay: Duration) {
        let at = failure.problem.at;
        self.note_attempt(at, failure.issuer.clone(), Some(&failure.problem.message));
        let known = self.issuer_state(&failure.issuer);
        let state = IssuerState {
            issuer: failure.issuer.clone(),
            failed_at: at,
            not_before: match failure.retry {
                Retry::Backoff => None,
                Retry::After(_) | Retry::Daily => {
                    let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
                    Some(at.saturating_add(delay).unwrap_or(Timestamp::MAX))
                }
            },
            // Until a success: a rehearsal that could not be held says nothing.
            rehearse: failure.problem.is_worth_rehearsing()
                || known.is_some_and(|known| known.rehearse),
            limit: failure.problem.limit(failure.retry),
        };
        self.issuers.retain(|known| known.issuer != state.issuer);
        self.issuers.push(state);
    }
}
