//! The status of names as JSON: the fields of `certs.proto`, moments as RFC 3339 text.

use proto::certs::v1::{
    Attempt, CertificateSummary, Finding, NameStatus, Problem, RenewalSource, RenewalWindow,
};
use serde_json::{Value, json};

use crate::finding::severity_label;
use crate::metrics::state_label;
use crate::words::moment;

/// One name.
pub(super) fn name(status: &NameStatus) -> Value {
    json!({
        "name": status.name,
        "state": state_label(status.state()),
        "issuer": status.issuer,
        "certificate": status.certificate.as_ref().map(certificate),
        "renew_at": status.renew_at.and_then(moment),
        "renewal_source": match status.renewal_source() {
            RenewalSource::Unspecified => Value::Null,
            RenewalSource::Lifetime => "lifetime".into(),
            RenewalSource::Operator => "operator".into(),
            RenewalSource::Ari => "ari".into(),
        },
        "failures": status.failures,
        "last_problem": status.last_problem.as_ref().map(problem),
        "next_attempt": status.next_attempt.and_then(moment),
        "declared_by": status.declared_by,
        "challenge": (!status.challenge.is_empty()).then_some(&status.challenge),
        "renewal_window": status.renewal_window.as_ref().map(renewal_window),
        "waiting_for": status.waiting_for,
        "attempts": status.attempts.iter().map(attempt).collect::<Vec<_>>(),
        "findings": status.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

/// A name that is gone.
pub(super) fn forgotten(name: &str) -> Value {
    json!({ "name": name, "state": "forgotten" })
}

fn certificate(summary: &CertificateSummary) -> Value {
    json!({
        "serial": summary.serial,
        "fingerprint_sha256": summary.fingerprint_sha256,
        "not_before": summary.not_before.and_then(moment),
        "not_after": summary.not_after.and_then(moment),
        "issuer_name": summary.issuer_name,
        "subject_alternative_names": summary.subject_alternative_names,
    })
}

fn renewal_window(window: &RenewalWindow) -> Value {
    json!({
        "start": window.start.and_then(moment),
        "end": window.end.and_then(moment),
        "explanation_url": window.explanation_url,
        "asked_at": window.asked_at.and_then(moment),
        "ask_again_at": window.ask_again_at.and_then(moment),
    })
}

fn attempt(attempt: &Attempt) -> Value {
    json!({
        "at": attempt.at.and_then(moment),
        "issuer": attempt.issuer,
        "obtained": attempt.obtained,
        "message": attempt.message,
    })
}

fn problem(problem: &Problem) -> Value {
    let document = serde_json::from_str(&problem.document).unwrap_or(Value::Null);
    json!({
        "at": problem.at.and_then(moment),
        "step": problem.step,
        "message": problem.message,
        "hint": problem.hint,
        "document": document,
    })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "severity": severity_label(finding.severity()),
        "message": finding.message,
        "hint": finding.hint,
    })
}
