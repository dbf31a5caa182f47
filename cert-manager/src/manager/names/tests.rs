use jiff::SignedDuration;

use super::*;
use crate::certificate::Facts;
use crate::policy::{AcmePolicy, IssuerPolicy, KeyType, Policy, RenewalWindow};

fn start() -> Timestamp {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

fn days(count: i64) -> Timestamp {
    start() + SignedDuration::from_hours(24 * count)
}

fn record(name: &str, url: &str) -> Record {
    let mut record = Record::new(Name::parse(name).unwrap(), start());
    let policy = Policy {
        issuers: vec![IssuerPolicy::Acme(Box::new(AcmePolicy::new(url, None)))],
        key_type: KeyType::P256,
        reuse_private_key: false,
        renewal_window: RenewalWindow::default(),
        on_demand: None,
    };
    record.declare(policy, start());
    record
}

/// A certificate of 90 days that ends at `end`.
fn with_certificate(mut record: Record, end: Timestamp) -> Record {
    record.succeed(Facts {
        issuer: record.policy.as_ref().unwrap().issuers[0].id(),
        serial: "01".to_owned(),
        fingerprint_sha256: "00".to_owned(),
        not_before: end - SignedDuration::from_hours(24 * 90),
        not_after: end,
        issuer_name: "CN=test".to_owned(),
        subject_alternative_names: vec![record.name.to_string()],
    });
    record
}

fn drain(names: &mut Names, now: Timestamp, is_open: impl Fn(&Lane) -> bool) -> Vec<String> {
    let mut order = Vec::new();
    while let Some(due) = names.pop_due(now, &is_open) {
        order.push(due.name.to_string());
    }
    order
}

const A: &str = "https://a.test/";

#[test]
fn the_most_urgent_name_goes_first_over_all_lanes() {
    let mut names = Names::default();
    let now = start();
    names.insert(record("first.org", A), now);
    names.insert(with_certificate(record("routine.org", A), days(20)), now);
    names.insert(
        with_certificate(record("ends-soon.org", "https://b.test/"), days(3)),
        now,
    );
    names.insert(with_certificate(record("not-due.org", A), days(80)), now);
    let mut requested = with_certificate(record("requested.org", A), days(80));
    requested.request_renewal(now);
    names.insert(requested, now);
    let order = drain(&mut names, now, |_| true);
    assert_eq!(
        order,
        ["requested.org", "ends-soon.org", "first.org", "routine.org"]
    );
    assert_eq!(names.busy(), 4);
    assert!(
        drain(&mut names, now, |_| true).is_empty(),
        "each is reserved once"
    );
}

#[test]
fn what_waits_behind_others_becomes_urgent_in_time() {
    let mut names = Names::default();
    let now = start();
    names.insert(with_certificate(record("renewal.org", A), days(20)), now);
    names.insert(record("first.org", A), now);
    assert!(drain(&mut names, now, |_| false).is_empty());
    assert_eq!(
        names.next_later(),
        Some(days(5)),
        "half of 30 days before the end"
    );
    assert_eq!(
        drain(&mut names, days(5), |_| true),
        ["renewal.org", "first.org"]
    );
}

#[test]
fn a_closed_lane_keeps_its_names_in_their_order() {
    let mut names = Names::default();
    let now = start();
    for name in ["c.org", "a.org", "b.org"] {
        names.insert(record(name, A), now);
    }
    names.insert(record("other.org", "https://b.test/"), now);
    let is_open = |lane: &Lane| match lane {
        Lane::Acme(acme) => acme.accounts[0].directory_url() != A,
        Lane::Internal => true,
    };
    assert_eq!(drain(&mut names, now, is_open), ["other.org"]);
    let counts: Vec<usize> = names.ready_lanes().map(|(_, count)| count).collect();
    assert_eq!(counts, [3]);
    // Looked at again, for example because its proxy reconnected: it does not lose its turn.
    let later = now + SignedDuration::from_secs(1);
    names.insert(record("a.org", A), later);
    assert_eq!(
        drain(&mut names, later, |_| true),
        ["a.org", "b.org", "c.org"]
    );
}

#[test]
fn a_name_that_is_deferred_waits_until_then() {
    let mut names = Names::default();
    let now = start();
    names.insert(record("a.org", A), now);
    let due = names.pop_due(now, |_| true).unwrap();
    let waiting = Waiting {
        until: Some(days(1)),
        what: "a limit".to_owned(),
    };
    names.defer(&due.name, waiting, now);
    names.release(&due.name, now);
    assert!(names.pop_due(now, |_| true).is_none());
    let status = names.status(&due.name, now, |_| None).unwrap();
    assert_eq!(status.waiting_for, "a limit");
    assert_eq!(names.next_later(), Some(days(1)));
    let due = names.pop_due(days(1), |_| true).unwrap();
    let status = names.status(&due.name, days(1), |_| None).unwrap();
    assert_eq!(status.waiting_for, "");
}

#[test]
fn each_authority_is_asked_once_at_a_time() {
    let mut names = Names::default();
    for name in ["a.org", "b.org"] {
        names.insert(with_certificate(record(name, A), days(80)), start());
    }
    let first = names.pop_asks(start(), 1);
    assert_eq!(first.len(), 1);
    let second = names.pop_asks(start(), 9);
    assert_eq!(second.len(), 1);
    assert_ne!(first, second);
    // Its record may be set meanwhile.
    names.insert(with_certificate(record("a.org", A), days(80)), start());
    assert!(names.pop_asks(start(), 9).is_empty());
    let name = &first[0];
    names.asked(name, Some(days(1)), start());
    assert!(names.pop_asks(start(), 9).is_empty());
    assert_eq!(names.next_ask(), Some(days(1)));
    assert_eq!(names.pop_asks(days(1), 9), first);
}
