//! The status of names as a table.

use std::fmt::Write as _;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use jiff::Timestamp;
use proto::certs::v1::NameStatus;

use crate::finding::severity_label;
use crate::metrics::state_label;
use crate::words::{self, approximately, moment};

/// A table is not squeezed into less than this.
const NARROWEST: u16 = 60;

/// One row for each name, within `width` columns; without one, as wide as the terminal or, where
/// there is none, as it needs.
pub(super) fn render(names: &[NameStatus], now: Timestamp, width: Option<u16>) -> String {
    let mut table = Table::new();
    if let Some(width) = width {
        table.set_width(width.max(NARROWEST));
    }
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header([
            "NAME",
            "STATE",
            "ISSUER",
            "DAYS LEFT",
            "NEXT ACTION",
            "LAST PROBLEM",
        ]);
    for status in names {
        table.add_row(cells(status, now));
    }
    table.trim_fmt()
}

/// One name on one line.
pub(super) fn line(status: &NameStatus, now: Timestamp) -> String {
    let [name, state, issuer, days, next, problem] = cells(status, now);
    let days = match days.as_str() {
        "-" => "no certificate".to_owned(),
        "expired" => days,
        _ => format!("{days} days left"),
    };
    let mut text = format!("{now:.0}  {name}  {state}  {issuer}  {days}  {next}");
    if !problem.is_empty() {
        // Writing to a string does not fail.
        let _ = write!(text, "  {problem}");
    }
    text
}

/// What the table has no room for, of one name.
pub(super) fn details(status: &NameStatus, now: Timestamp) -> String {
    let mut text = String::from("\n");
    let mut add = |label: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "{label:<12} {value}");
        }
    };
    add("issuer", &status.issuer);
    add("declared by", &declared_by(status.declared_by));
    if let Some(certificate) = &status.certificate {
        let date = |wire: Option<prost_types::Timestamp>| {
            wire.and_then(moment)
                .map(|at| at.to_string())
                .unwrap_or_default()
        };
        add("serial", &certificate.serial);
        add("sha256", &certificate.fingerprint_sha256);
        add("issued by", &certificate.issuer_name);
        add("not before", &date(certificate.not_before));
        add("not after", &date(certificate.not_after));
        add("for", &certificate.subject_alternative_names.join(", "));
    }
    add("waits for", &status.waiting_for);
    if let Some(at) = status.renew_at.and_then(moment) {
        let source = words::renewal_source(status.renewal_source());
        let when = approximately(at, now);
        add("renewal", &format!("{at} ({when}), {source}"));
    }
    if let Some(window) = &status.renewal_window {
        let date = |wire: Option<prost_types::Timestamp>| wire.and_then(moment);
        if let (Some(start), Some(end)) = (date(window.start), date(window.end)) {
            add("window", &format!("{start} to {end}"));
        }
        add("because", &window.explanation_url);
    }
    if let Some(at) = status.next_attempt.and_then(moment) {
        add("next try", &format!("{at} ({})", approximately(at, now)));
    }
    for attempt in &status.attempts {
        let at = attempt.at.and_then(moment).unwrap_or_default();
        let outcome = match attempt.message.as_str() {
            "" => "obtained",
            message => message,
        };
        add(
            "tried",
            &format!("{at:.0} {} {outcome}", issuer(&attempt.issuer)),
        );
    }
    if let Some(problem) = &status.last_problem {
        let at = problem.at.and_then(moment);
        add(
            "failed at",
            &at.map(|at| at.to_string()).unwrap_or_default(),
        );
        add("failures", &status.failures.to_string());
        add("step", &problem.step);
        add("problem", &problem.message);
        add("hint", &problem.hint);
        add("document", &problem.document);
    }
    for finding in &status.findings {
        let severity = severity_label(finding.severity());
        add("found", &format!("{severity}: {}", finding.message));
        add("hint", &finding.hint);
    }
    text
}

fn declared_by(proxies: u32) -> String {
    match proxies {
        0 => "no connected proxy".to_owned(),
        1 => "1 connected proxy".to_owned(),
        _ => format!("{proxies} connected proxies"),
    }
}

fn cells(status: &NameStatus, now: Timestamp) -> [String; 6] {
    [
        status.name.clone(),
        state_label(status.state()).to_owned(),
        issuer(&status.issuer),
        days_left(status, now),
        words::next_action(status, now),
        problem(status),
    ]
}

/// The host of a directory, which tells authorities apart.
fn issuer(issuer: &str) -> String {
    let rest = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default().to_owned()
}

fn days_left(status: &NameStatus, now: Timestamp) -> String {
    let certificate = status.certificate.as_ref();
    let Some(not_after) = certificate
        .and_then(|facts| facts.not_after)
        .and_then(moment)
    else {
        return "-".to_owned();
    };
    let left = not_after.duration_since(now);
    if left.is_negative() {
        "expired".to_owned()
    } else if left.as_hours() < 48 {
        format!("{:.1}", left.as_secs_f64() / 86_400.0)
    } else {
        (left.as_hours() / 24).to_string()
    }
}

/// What went wrong and what to do about it, in one cell.
fn problem(status: &NameStatus) -> String {
    let Some(problem) = &status.last_problem else {
        return String::new();
    };
    let mut text = problem.message.clone();
    if !problem.hint.is_empty() {
        let _ = write!(text, " (hint: {})", problem.hint);
    }
    text
}

#[cfg(test)]
mod tests;
