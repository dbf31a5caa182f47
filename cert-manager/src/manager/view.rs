//! What is reported of a name.

use jiff::Timestamp;
use proto::certs::v1;

use crate::certificate::Facts;
use crate::finding::Finding;
use crate::manager::limits::Waiting;
use crate::plan::{self, Action};
use crate::record::{Attempt, Problem, Record};

/// What is being done about a name.
#[derive(Debug)]
pub(super) struct Situation {
    /// The plan.
    pub(super) action: Action,
    /// Something is being done about it.
    pub(super) busy: bool,
    /// How many connected proxies declare it.
    pub(super) declared_by: u32,
    /// What it waits for, although it is due.
    pub(super) waiting: Option<Waiting>,
}

/// The status of the name of `record`.
pub(super) fn status(record: &Record, situation: Situation, now: Timestamp) -> v1::NameStatus {
    let valid = record
        .certificate
        .as_ref()
        .filter(|facts| facts.is_valid_at(now));
    let Situation {
        action,
        busy,
        declared_by,
        waiting,
    } = situation;
    let (renew_at, renewal_source) = renewal(record);
    v1::NameStatus {
        name: record.name.to_string(),
        state: state(record, action, busy, valid.is_some()).into(),
        issuer: issuer(record),
        certificate: record.certificate.as_ref().map(summary),
        renew_at,
        renewal_source: renewal_source.into(),
        failures: record.failures,
        last_problem: record.last_problem.as_ref().map(problem),
        next_attempt: match &waiting {
            Some(waiting) => waiting.until.map(timestamp),
            None => next_attempt(record, action, busy, now),
        },
        declared_by,
        renewal_window: record.window().map(|window| v1::RenewalWindow {
            start: Some(timestamp(window.start)),
            end: Some(timestamp(window.end)),
            explanation_url: window.explanation_url.clone().unwrap_or_default(),
            asked_at: Some(timestamp(window.told_at)),
            ask_again_at: record
                .present_suggestion()
                .map(|suggestion| timestamp(suggestion.ask_again_at)),
        }),
        waiting_for: waiting.map(|waiting| waiting.what).unwrap_or_default(),
        attempts: record.attempts.iter().rev().map(attempt).collect(),
        challenge: record
            .challenge
            .map(|challenge| challenge.to_string())
            .unwrap_or_default(),
        findings: record.findings.iter().map(Finding::to_wire).collect(),
    }
}

/// What a name is doing.
pub(super) fn state(record: &Record, action: Action, busy: bool, valid: bool) -> v1::State {
    match (valid, busy) {
        (false, true) => v1::State::Issuing,
        (false, false) if record.failures > 0 => v1::State::Failed,
        (false, false) => v1::State::Pending,
        (true, true) => v1::State::Renewing,
        (true, false) if !record.declared => v1::State::Unused,
        (true, false) => match action {
            Action::Renew(_) | Action::BackOff { .. } => v1::State::Renewing,
            _ => v1::State::Valid,
        },
    }
}

/// Who issued the certificate, or will.
fn issuer(record: &Record) -> String {
    let stored = record
        .certificate
        .as_ref()
        .map(|facts| facts.issuer.clone());
    let wanted = record
        .policy
        .as_ref()
        .and_then(|policy| policy.issuers.first());
    stored
        .or_else(|| wanted.map(|policy| policy.id()))
        .map(|id| id.to_string())
        .unwrap_or_default()
}

fn renewal(record: &Record) -> (Option<prost_types::Timestamp>, v1::RenewalSource) {
    if let (Some(_), Some(requested)) = (&record.certificate, record.renewal_requested) {
        return (Some(timestamp(requested)), v1::RenewalSource::Operator);
    }
    let window = record.policy.as_ref().map(|policy| policy.renewal_window);
    let Some(renewal) = plan::renewal(window.unwrap_or_default(), record) else {
        return (None, v1::RenewalSource::Unspecified);
    };
    let source = match renewal.source {
        plan::Source::Ari => v1::RenewalSource::Ari,
        plan::Source::Lifetime => v1::RenewalSource::Lifetime,
    };
    (Some(timestamp(renewal.at)), source)
}

fn next_attempt(
    record: &Record,
    action: Action,
    busy: bool,
    now: Timestamp,
) -> Option<prost_types::Timestamp> {
    if busy {
        return None;
    }
    match action {
        Action::Issue | Action::Renew(_) => Some(timestamp(now)),
        Action::BackOff { until } => Some(timestamp(until)),
        // The end of a certificate that is not renewed is no attempt.
        Action::Wait { until } if record.declared && record.certificate.is_some() => {
            Some(timestamp(until))
        }
        Action::Wait { .. } | Action::Forget => None,
    }
}

fn summary(facts: &Facts) -> v1::CertificateSummary {
    v1::CertificateSummary {
        serial: facts.serial.clone(),
        fingerprint_sha256: facts.fingerprint_sha256.clone(),
        not_before: Some(timestamp(facts.not_before)),
        not_after: Some(timestamp(facts.not_after)),
        issuer_name: facts.issuer_name.clone(),
        subject_alternative_names: facts.subject_alternative_names.clone(),
    }
}

fn problem(problem: &Problem) -> v1::Problem {
    v1::Problem {
        at: Some(timestamp(problem.at)),
        step: problem.step.to_string(),
        message: problem.message.clone(),
        hint: problem.hint.clone(),
        document: problem.document.clone(),
    }
}

fn attempt(attempt: &Attempt) -> v1::Attempt {
    v1::Attempt {
        at: Some(timestamp(attempt.at)),
        issuer: attempt.issuer.to_string(),
        obtained: attempt.failure.is_none(),
        message: attempt.failure.clone().unwrap_or_default(),
    }
}

/// A moment on the wire.
pub(crate) fn timestamp(moment: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: moment.as_second(),
        nanos: moment.subsec_nanosecond(),
    }
}
