use std::time::Duration;

use super::*;
use crate::issuer::RenewalInfo;
use crate::name::Name;
use crate::policy::{AcmePolicy, IssuerPolicy, KeyType};
use crate::record::{Problem, Step};

pub(super) const DAY: SignedDuration = SignedDuration::from_hours(24);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Lifetimes that are in use.
pub(super) const LIFETIMES: [SignedDuration; 5] = [
    SignedDuration::from_hours(12),
    SignedDuration::from_hours(6 * 24),
    SignedDuration::from_hours(45 * 24),
    SignedDuration::from_hours(47 * 24),
    SignedDuration::from_hours(90 * 24),
];

pub(super) fn start() -> Timestamp {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

fn days(count: i32) -> Timestamp {
    start() + DAY * count
}

pub(super) fn issuer(url: &str) -> IssuerPolicy {
    IssuerPolicy::Acme(Box::new(AcmePolicy::new(url, None)))
}

pub(super) fn policy() -> Policy {
    Policy {
        issuers: vec![issuer("https://a.test/")],
        key_type: KeyType::P256,
        reuse_private_key: false,
        renewal_window: RenewalWindow::default(),
        on_demand: None,
    }
}

pub(super) fn facts(not_before: Timestamp, lifetime: SignedDuration) -> Facts {
    Facts {
        issuer: issuer("https://a.test/").id(),
        serial: format!("{:016x}", not_before.as_nanosecond()),
        fingerprint_sha256: "00".to_owned(),
        not_before,
        not_after: not_before + lifetime,
        issuer_name: "CN=test".to_owned(),
        subject_alternative_names: vec!["a.school.org".to_owned()],
    }
}

pub(super) fn problem(at: Timestamp) -> Problem {
    Problem {
        at,
        step: Step::Challenge,
        message: "no".to_owned(),
        hint: String::new(),
        document: String::new(),
    }
}

pub(super) fn declared() -> Record {
    let mut record = Record::new(Name::parse("a.school.org").unwrap(), start());
    record.declare(policy(), start());
    record
}

fn with_certificate() -> Record {
    let mut record = declared();
    record.succeed(facts(start(), DAY * 90));
    record
}

#[test]
fn each_state_has_its_action() {
    let failed = |mut record: Record, at: Timestamp| {
        record.fail(problem(at), Duration::from_secs(3600));
        record
    };
    let hour = HOUR;
    let renew_at = renewal(RenewalWindow::default(), &with_certificate()).unwrap();
    assert_eq!(renew_at.source, Source::Lifetime);
    let renew_at = renew_at.at;
    let undeclared = |mut record: Record| {
        record.declared = false;
        record
    };
    let requested = |mut record: Record| {
        record.renewal_requested = Some(days(1));
        record
    };
    let elsewhere = |mut record: Record| {
        record.certificate.as_mut().unwrap().issuer = IssuerId::Internal;
        record
    };
    let fresh_declaration = |mut record: Record, at: Timestamp| {
        record.declared_at = at;
        record
    };
    let cases: Vec<(&str, Timestamp, Record, Action)> = vec![
        ("new", start(), declared(), Action::Issue),
        (
            "failed",
            start(),
            failed(declared(), start()),
            Action::BackOff {
                until: start() + hour,
            },
        ),
        (
            "backoff over",
            start() + hour,
            failed(declared(), start()),
            Action::Issue,
        ),
        (
            "clock put back a year",
            days(-365),
            failed(declared(), start()),
            Action::Issue,
        ),
        (
            "valid",
            days(1),
            with_certificate(),
            Action::Wait { until: renew_at },
        ),
        (
            "two thirds over",
            days(63),
            fresh_declaration(with_certificate(), days(60)),
            Action::Renew(Reason::Due),
        ),
        (
            "renewal failed",
            days(63),
            fresh_declaration(failed(with_certificate(), days(63)), days(60)),
            Action::BackOff {
                until: days(63) + hour,
            },
        ),
        (
            "expired",
            days(90),
            fresh_declaration(with_certificate(), days(90)),
            Action::Issue,
        ),
        (
            "asked for",
            days(1),
            requested(with_certificate()),
            Action::Renew(Reason::Operator),
        ),
        (
            "other issuer",
            days(1),
            elsewhere(with_certificate()),
            Action::Renew(Reason::Issuer),
        ),
        (
            "unused but valid",
            days(61),
            with_certificate(),
            Action::Wait { until: days(90) },
        ),
        (
            "unused and expired",
            days(90),
            with_certificate(),
            Action::Forget,
        ),
        (
            "dropped without a certificate",
            days(1),
            undeclared(declared()),
            Action::Forget,
        ),
        (
            "dropped with a certificate",
            days(1),
            undeclared(with_certificate()),
            Action::Wait { until: renew_at },
        ),
    ];
    for (case, now, record, expected) in cases {
        assert_eq!(
            plan(now, record.policy.as_ref(), &record),
            expected,
            "{case}"
        );
    }
}

#[test]
fn a_name_known_from_files_alone_waits_for_its_declaration() {
    let mut record = Record::new(Name::parse("a.school.org").unwrap(), start());
    assert_eq!(
        plan(start(), None, &record),
        Action::Wait { until: days(7) }
    );
    assert_eq!(plan(days(7), None, &record), Action::Forget);
    record.certificate = Some(facts(start(), DAY * 90));
    assert_eq!(
        plan(days(70), None, &record),
        Action::Wait { until: days(90) }
    );
}

fn named(index: usize, lifetime: SignedDuration) -> Record {
    let mut record = Record::new(
        Name::parse(&format!("n{index}.school.org")).unwrap(),
        start(),
    );
    record.declare(policy(), start());
    // One certificate each second, as serial numbers follow from the time.
    let begin = start() + SignedDuration::from_secs(i64::try_from(index).unwrap());
    record.succeed(facts(begin, lifetime));
    record.obtained_at = Some(begin);
    record
}

fn told(record: &mut Record, window: (Timestamp, Timestamp), now: Timestamp) {
    let serial = record.certificate.as_ref().unwrap().serial.clone();
    let info = RenewalInfo {
        window_start: window.0,
        window_end: window.1,
        explanation_url: None,
        ask_again_after: Duration::from_secs(6 * 3600),
    };
    record.told(&serial, Some(info), now, 0.0);
}

fn due(record: &Record) -> Renewal {
    renewal(RenewalWindow::default(), record).unwrap()
}

#[test]
fn names_obtained_together_are_not_renewed_together() {
    let spreads = [
        (LIFETIMES[0], SignedDuration::from_mins(24)),
        (LIFETIMES[1], SignedDuration::from_mins(288)),
        (LIFETIMES[2], SignedDuration::from_hours(36)),
        (LIFETIMES[3], SignedDuration::from_mins(47 * 48)),
        (LIFETIMES[4], SignedDuration::from_hours(72)),
    ];
    for (lifetime, span) in spreads {
        let mut tenths = [0; 10];
        for index in 0..2000 {
            let record = named(index, lifetime);
            let certificate = record.certificate.as_ref().unwrap();
            let opens = certificate.not_after - lifetime / 3;
            let offset = due(&record).at.duration_since(opens);
            assert!(!offset.is_negative() && offset < span, "{offset} of {span}");
            let tenth = offset.as_millis() * 10 / span.as_millis();
            tenths[usize::try_from(tenth).unwrap()] += 1;
            assert_eq!(
                due(&record),
                due(&record.clone()),
                "another time after a restart"
            );
        }
        assert!(
            tenths.iter().all(|count| (140..260).contains(count)),
            "{tenths:?}"
        );
    }
}

#[test]
fn a_suggested_window_is_used_evenly_and_once_chosen_kept() {
    for lifetime in LIFETIMES {
        let window = (start() + lifetime / 2, start() + lifetime * 6 / 10);
        let mut quarters = [0; 4];
        for index in 0..400 {
            let mut record = named(index, lifetime);
            told(&mut record, window, start() + HOUR);
            let renewal = due(&record);
            assert_eq!(renewal.source, Source::Ari);
            let offset = renewal.at.duration_since(window.0);
            let quarter = offset.as_millis() * 4 / window.1.duration_since(window.0).as_millis();
            quarters[usize::try_from(quarter).unwrap()] += 1;
            assert_eq!(
                plan(start() + HOUR, record.policy.as_ref(), &record),
                Action::Wait { until: renewal.at }
            );
            let told_at = record.window().unwrap().told_at;
            told(&mut record, window, start() + HOUR * 2);
            assert_eq!(
                (due(&record), record.window().unwrap().told_at),
                (renewal, told_at)
            );
        }
        assert!(quarters.iter().all(|count| *count > 70), "{quarters:?}");
    }
}

#[test]
fn a_mistaken_window_neither_lets_a_certificate_lapse_nor_asks_without_end() {
    for lifetime in LIFETIMES {
        let mut record = named(0, lifetime);
        let end = record.certificate.as_ref().unwrap().not_after;
        told(&mut record, (end + DAY, end + DAY * 2), start());
        let left = end.duration_since(due(&record).at);
        assert!(left >= lifetime / 20, "{left} of {lifetime}");
        // About each new certificate the authority says that it is late already.
        told(&mut record, (start() - DAY, start() - HOUR), start());
        let used = due(&record).at.duration_since(start());
        assert!(used >= HOUR / 2 && used <= HOUR * 6, "{used} of {lifetime}");
    }
}

#[test]
fn a_recall_comes_before_the_backoff_of_older_failures_alone() {
    let mut record = named(0, DAY * 90);
    record.declared_at = days(20);
    let day = Duration::from_secs(24 * 3600);
    record.fail(problem(days(20)), day);
    told(&mut record, (days(10), days(11)), days(20) + HOUR);
    let now = days(20) + HOUR;
    let action = plan(now, record.policy.as_ref(), &record);
    assert_eq!(action, Action::Renew(Reason::Recall));
    assert_eq!(Urgency::of(action, &record, now), Urgency::Recalled);
    record.fail(problem(now), day);
    assert_eq!(
        plan(now, record.policy.as_ref(), &record),
        Action::BackOff { until: now + DAY }
    );
    // A window that has merely passed since is no recall.
    let mut late = named(1, DAY * 90);
    late.declared_at = days(61);
    told(&mut late, (days(59), days(60)), days(50));
    let action = plan(days(61), late.policy.as_ref(), &late);
    assert_eq!(action, Action::Renew(Reason::Due));
}

#[test]
fn what_an_authority_said_of_another_certificate_is_not_followed() {
    let mut record = named(0, DAY * 90);
    told(&mut record, (days(1), days(2)), days(1));
    record.succeed(facts(days(2), DAY * 90));
    assert_eq!(due(&record).source, Source::Lifetime);
    assert_eq!(record.present_suggestion(), None);
}

#[test]
fn authorities_are_asked_when_they_said_and_soon_after_a_new_certificate() {
    let ask = |record: &Record, now| ask_at(now, record.policy.as_ref(), record);
    let mut record = named(0, DAY * 90);
    let first = ask(&record, start()).unwrap();
    assert!(first >= start() && first <= start() + HOUR, "{first}");
    told(&mut record, (days(59), days(60)), start());
    assert_eq!(ask(&record, start()), Some(start() + HOUR * 6));
    // A clock that was wrong by a year does not keep it from asking.
    assert_eq!(ask(&record, days(-365)), Some(days(-365)));
    assert_eq!(ask(&record, days(90)), None, "expired");
    assert_eq!(ask(&record, days(8)), None, "not declared any more");

    let serial = record.certificate.as_ref().unwrap().serial.clone();
    let known = record.window().cloned();
    record.not_told(&serial, crate::backoff::Retry::Backoff, days(1), 0.5);
    record.not_told(&serial, crate::backoff::Retry::Backoff, days(1), 0.5);
    assert_eq!(record.window().cloned(), known, "what is known stays");
    assert_eq!(
        ask(&record, days(1)),
        Some(days(1) + SignedDuration::from_mins(2))
    );

    record.certificate.as_mut().unwrap().issuer = IssuerId::Internal;
    assert_eq!(ask(&record, start()), None);
}

#[test]
fn another_kind_of_key_waits_for_the_next_renewal() {
    let mut record = with_certificate();
    let mut other = policy();
    other.key_type = KeyType::Rsa2048;
    record.declare(other, days(1));
    let action = plan(days(1), record.policy.as_ref(), &record);
    assert_eq!(
        action,
        Action::Wait {
            until: due(&record).at
        }
    );
}

#[test]
fn what_ends_soon_goes_before_first_issues() {
    let urgency = |record: &Record, now| {
        let mut record = record.clone();
        record.declared_at = now;
        Urgency::of(plan(now, record.policy.as_ref(), &record), &record, now)
    };
    let held = with_certificate();
    assert_eq!(urgency(&declared(), start()), Urgency::First);
    assert_eq!(urgency(&held, days(64)), Urgency::Routine);
    assert_eq!(ends_soon_at(&held), Some(days(75)));
    assert_eq!(urgency(&held, days(75)), Urgency::EndsSoon);
    assert_eq!(urgency(&held, days(91)), Urgency::EndsSoon);
    let mut requested = held;
    requested.request_renewal(days(1));
    assert_eq!(urgency(&requested, days(1)), Urgency::Requested);
    let mut brought_by_a_client = declared();
    let policy = brought_by_a_client.policy.as_mut().unwrap();
    policy.on_demand = Some(crate::policy::OnDemand { ask_url: None });
    assert_eq!(urgency(&brought_by_a_client, start()), Urgency::Awaited);
    let order = [
        Urgency::Recalled,
        Urgency::Awaited,
        Urgency::Requested,
        Urgency::EndsSoon,
        Urgency::First,
        Urgency::Routine,
    ];
    assert!(order.is_sorted());
}
