use jiff::SignedDuration;
use proto::certs::v1::{self, CertificateSummary, Problem, State};

use super::*;

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn after_hours(hours: i64) -> Option<prost_types::Timestamp> {
    Some(crate::manager::timestamp(
        now() + SignedDuration::from_hours(hours),
    ))
}

fn status(name: &str, state: State) -> NameStatus {
    NameStatus {
        name: name.to_owned(),
        state: state.into(),
        issuer: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
        declared_by: 1,
        ..NameStatus::default()
    }
}

fn valid(name: &str, state: State, hours_left: i64) -> NameStatus {
    NameStatus {
        certificate: Some(CertificateSummary {
            serial: "4a01".to_owned(),
            fingerprint_sha256: "9b02".to_owned(),
            not_before: after_hours(hours_left - 2160),
            not_after: after_hours(hours_left),
            issuer_name: "CN=E7".to_owned(),
            subject_alternative_names: vec![name.to_owned()],
        }),
        next_attempt: after_hours(hours_left - 720),
        ..status(name, state)
    }
}

fn failed(name: &str) -> NameStatus {
    NameStatus {
        failures: 2,
        last_problem: Some(Problem {
            at: after_hours(0),
            step: "challenge".to_owned(),
            message: "no such host (dns)".to_owned(),
            hint: "check the DNS".to_owned(),
            document: r#"{"type":"urn:ietf:params:acme:error:dns"}"#.to_owned(),
        }),
        next_attempt: after_hours(1),
        ..status(name, State::Failed)
    }
}

#[test]
fn every_state_has_its_row() {
    let mut local = valid("localhost", State::Valid, 8);
    local.issuer = "internal".to_owned();
    local.next_attempt = after_hours(4);
    let mut waiting = status("new.school.org", State::Pending);
    waiting.declared_by = 0;
    let names = [
        failed("bad.school.org"),
        status("first.school.org", State::Issuing),
        local,
        waiting,
        valid("old.school.org", State::Unused, 240),
        valid("quiz.school.org", State::Valid, 2000),
        valid("soon.school.org", State::Renewing, 700),
        valid("late.school.org", State::Failed, -5),
    ];
    let mut table = render(&names, now(), None);
    table.push('\n');
    insta::assert_snapshot!(table);
}

#[test]
fn a_table_keeps_to_its_width() {
    let names = [
        failed("bad.school.org"),
        valid("quiz.school.org", State::Valid, 2000),
    ];
    let table = render(&names, now(), Some(100));
    assert!(
        table.lines().all(|line| line.chars().count() <= 100),
        "{table}"
    );
    // The same words, over more lines.
    assert!(table.lines().count() > 3, "{table}");
}

#[test]
fn one_name_is_told_in_full() {
    insta::assert_snapshot!(details(&failed("bad.school.org"), now()));
    let mut quiz = valid("quiz.school.org", State::Valid, 2000);
    quiz.renew_at = after_hours(1280);
    quiz.set_renewal_source(v1::RenewalSource::Lifetime);
    quiz.findings = vec![
        crate::finding::Finding::warning("port 80 of 203.0.113.7 does not answer", "open it")
            .to_wire(),
    ];
    insta::assert_snapshot!(details(&quiz, now()));
}

#[test]
fn a_change_is_one_line() {
    let text = line(&failed("bad.school.org"), now());
    insta::assert_snapshot!(text, @"2026-03-01T12:00:00Z  bad.school.org  failed  acme-v02.api.letsencrypt.org  no certificate  retry in 60 min  no such host (dns) (hint: check the DNS)");
}
