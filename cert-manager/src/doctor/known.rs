//! What the manager knows already.

use jiff::{SignedDuration, Timestamp};
use proto::certs::v1;

use super::check;
use crate::finding::{Finding, Severity};
use crate::name::Name;
use crate::words::{self, moment};

/// A certificate with less than this share of its lifetime left should have been renewed long ago.
const LATE: i32 = 6;

/// What is declared, stored, went wrong and comes next.
pub(super) fn checks(
    name: &Name,
    status: Option<&v1::NameStatus>,
    now: Timestamp,
) -> Vec<v1::Check> {
    let Some(status) = status else {
        let finding = Finding::problem(
            format!("no proxy declares {name}, and nothing is stored for it"),
            "add it to the Caddyfile and reload the proxy. What follows is how it would be certified \
             by the default issuers",
        );
        return vec![check("declared", finding)];
    };
    let mut checks = vec![check("declared", declared(status))];
    checks.push(check("certificate", certificate(status, now)));
    checks.extend(
        status
            .last_problem
            .as_ref()
            .map(|problem| last_problem(status, problem, now)),
    );
    checks.push(check("limits", limits(status)));
    checks.push(check("next try", next_try(status, now)));
    checks
}

fn declared(status: &v1::NameStatus) -> Finding {
    match status.declared_by {
        0 => Finding::warning(
            "no connected proxy declares it",
            "is it in the Caddyfile, and is the proxy running? A name that nobody has declared for 7 \
             days is not renewed any more",
        ),
        1 => Finding::ok("one connected proxy declares it"),
        proxies => Finding::ok(format!("{proxies} connected proxies declare it")),
    }
}

fn certificate(status: &v1::NameStatus, now: Timestamp) -> Finding {
    let Some(certificate) = &status.certificate else {
        return Finding::problem("none is stored", "");
    };
    let validity = (
        certificate.not_before.and_then(moment),
        certificate.not_after.and_then(moment),
    );
    let (Some(begin), Some(end)) = validity else {
        return Finding::problem("the stored one has no validity", "");
    };
    let text = format!(
        "{} from {}, valid until {end:.0}",
        certificate.serial, status.issuer
    );
    let left = end.duration_since(now);
    if left <= SignedDuration::ZERO {
        Finding::problem(format!("{text}: it has ended"), "")
    } else if now < begin {
        Finding::warning(
            format!("{text}: it begins at {begin:.0} only"),
            "is the clock of this machine right?",
        )
    } else if left < end.duration_since(begin) / LATE {
        Finding::warning(format!("{text}: its renewal is overdue"), "")
    } else {
        Finding::ok(text)
    }
}

fn last_problem(status: &v1::NameStatus, problem: &v1::Problem, now: Timestamp) -> v1::Check {
    let at = problem.at.and_then(moment).unwrap_or(now);
    let is_valid = matches!(
        status.state(),
        v1::State::Valid | v1::State::Renewing | v1::State::Unused
    );
    let finding = Finding {
        severity: if is_valid {
            Severity::Warning
        } else {
            Severity::Problem
        },
        message: format!(
            "{} failures in a row, the last at {at:.0} in the step `{}`: {}",
            status.failures, problem.step, problem.message
        ),
        hint: problem.hint.clone(),
    };
    v1::Check {
        document: problem.document.clone(),
        ..check("last problem", finding)
    }
}

/// What an attempt that is due has to wait for.
fn limits(status: &v1::NameStatus) -> Finding {
    match status.waiting_for.as_str() {
        "" => Finding::ok("nothing holds an attempt back"),
        what => Finding::warning(
            format!("an attempt that is due waits for {what}"),
            "it begins by itself then",
        ),
    }
}

fn next_try(status: &v1::NameStatus, now: Timestamp) -> Finding {
    let next = status.next_attempt.and_then(moment);
    let in_words = words::next_action(status, now);
    let mut message = match next {
        Some(at) => format!("{in_words} (at {at:.0})"),
        None => in_words,
    };
    if !status.waiting_for.is_empty() {
        message = format!("{message}; it waits for {}", status.waiting_for);
    }
    if status.failures > 0 {
        let hint = format!("`cert-manager renew {}` does not wait for it", status.name);
        return Finding {
            severity: Severity::Ok,
            message,
            hint,
        };
    }
    Finding::ok(message)
}
