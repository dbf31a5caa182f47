use super::*;
use crate::backoff::{JITTER, Retry};
use crate::policy::{AcmePolicy, IssuerId, IssuerPolicy, KeyType, RenewalWindow};

const A: &str = "https://a.test/";
const B: &str = "https://b.test/";
const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn start() -> Timestamp {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

fn id(url: &str) -> IssuerId {
    IssuerId::Acme(url.to_owned())
}

fn policy(urls: &[&str]) -> Policy {
    let acme = |url: &&str| IssuerPolicy::Acme(Box::new(AcmePolicy::new(*url, None)));
    Policy {
        issuers: urls.iter().map(acme).collect(),
        key_type: KeyType::P256,
        reuse_private_key: false,
        renewal_window: RenewalWindow::default(),
        on_demand: None,
    }
}

fn record(urls: &[&str]) -> Record {
    let mut record = Record::new(Name::parse("a.school.org").unwrap(), start());
    record.declare(policy(urls), start());
    record
}

fn problem(at: Timestamp, step: Step, kind: &str, message: &str) -> Problem {
    let document = match kind {
        "" => String::new(),
        kind => format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}"}}"#),
    };
    Problem {
        at,
        step,
        message: message.to_owned(),
        hint: String::new(),
        document,
    }
}

fn failure(url: &str, at: Timestamp, kind: &str, retry: Retry) -> IssuerFailure {
    IssuerFailure {
        issuer: id(url),
        problem: problem(at, Step::Challenge, kind, "no"),
        retry,
    }
}

fn after(seconds: u64) -> Retry {
    Retry::After(Duration::from_secs(seconds))
}

#[test]
fn an_issuer_that_asks_to_come_back_later_holds_back_only_itself() {
    let mut record = record(&[A, B]);
    let failures = [
        failure(A, start(), "", after(24 * 3600)),
        failure(B, start(), "dns", Retry::Backoff),
    ];
    let delay = record.fail_at_issuers(&failures, 0.5);
    assert_eq!(delay, Duration::from_secs(60));
    let state = |url, now| record.issuer_state(&id(url)).unwrap().waits_until(now);
    assert!(state(A, start() + HOUR * 24).is_some());
    assert_eq!(state(A, start() + HOUR * 27), None);
    assert_eq!(state(B, start()), None);
    // Noted by a clock that was wrong.
    assert_eq!(state(A, start() - HOUR * 2), None);
}

#[test]
fn the_next_attempt_waits_for_the_first_issuer_that_may_be_asked() {
    let mut record = record(&[A, B]);
    let failures = [
        failure(A, start(), "", after(2 * 3600)),
        failure(B, start(), "", after(9 * 3600)),
    ];
    let delay = record.fail_at_issuers(&failures, 0.0);
    assert_eq!(delay, Duration::from_secs(2 * 3600));
    // One that was passed over counts as well, but never against the backoff.
    let later = start() + HOUR + SignedDuration::from_mins(59) + SignedDuration::from_secs(30);
    let delay = record.fail_at_issuers(&[failure(B, later, "", after(9 * 3600))], 0.0);
    assert_eq!(delay, Duration::from_secs(120).mul_f64(1.0 - JITTER));
}

#[test]
fn failures_that_a_rehearsal_shows_are_rehearsed_until_a_success() {
    let mut record = record(&[A, B]);
    let failures = [
        failure(A, start(), "connection", Retry::Backoff),
        failure(B, start(), "rateLimited", after(60)),
    ];
    record.fail_at_issuers(&failures, 0.5);
    let rehearses = |record: &Record, url| record.issuer_state(&id(url)).unwrap().rehearse;
    assert!(rehearses(&record, A) && !rehearses(&record, B));
    record.fail_at_issuers(&[failure(A, start() + HOUR, "", Retry::Backoff)], 0.5);
    assert!(
        rehearses(&record, A),
        "a failed connection does not unlearn it"
    );
    record.declare(policy(&[A]), start() + HOUR);
    assert_eq!(record.issuer_state(&id(A)), None);
}

#[test]
fn other_issuers_are_tried_at_once_but_limits_stay() {
    let mut record = record(&[A, B]);
    let failures = [
        failure(A, start(), "rateLimited", after(7200)),
        failure(B, start(), "dns", Retry::Daily),
    ];
    record.fail_at_issuers(&failures, 0.5);
    let mut same_issuers = policy(&[A, B]);
    same_issuers.key_type = KeyType::P384;
    record.declare(same_issuers, start());
    assert_eq!(
        record.failures, 1,
        "the kind of key has nothing to do with it"
    );
    record.declare(policy(&[A]), start());
    assert_eq!((record.failures, record.next_attempt), (0, None));
    assert!(
        record
            .issuer_state(&id(A))
            .unwrap()
            .waits_until(start())
            .is_some()
    );
    assert_eq!(record.issuer_state(&id(B)), None);
    // Only an operator knows better.
    record.request_renewal(start());
    assert_eq!(
        record.issuer_state(&id(A)).unwrap().waits_until(start()),
        None
    );
    assert!(record.is_requested_anew());
}

#[test]
fn limits_are_for_what_the_authority_says() {
    // As Let's Encrypt words them.
    let domain = |name: &str| LimitScope::Domain(name.to_owned());
    let cases = [
        (
            "rateLimited",
            "too many new orders (300) from this account in the last 3h0m0s, retry after 2026",
            LimitScope::Account,
        ),
        (
            "rateLimited",
            "too many certificates (50) already issued for \"school.org\" in the last 168h0m0s",
            domain("school.org"),
        ),
        (
            "rateLimited",
            "too many certificates (5) already issued for this exact set of identifiers in the \
             last 168h0m0s",
            LimitScope::Name,
        ),
        (
            "rateLimited",
            "too many failed authorizations (5) for \"a.school.org\" in the last 1h0m0s",
            LimitScope::Name,
        ),
        ("rateLimited", "slow down", LimitScope::Account),
        (
            "serverInternal",
            "down for maintenance",
            LimitScope::Account,
        ),
        ("", "503", LimitScope::Account),
        ("dns", "no such host", LimitScope::Name),
    ];
    for (kind, message, scope) in cases {
        let problem = problem(start(), Step::Order, kind, message);
        assert_eq!(problem.limit(after(60)).unwrap().scope, scope, "{message}");
        assert_eq!(problem.limit(Retry::Backoff), None);
    }
    let names = ["school.org", "a.school.org", "myschool.org", "*.school.org"];
    let met_by = Name::parse("a.school.org").unwrap();
    let covered =
        names.map(|name| domain("school.org").covers(&Name::parse(name).unwrap(), &met_by));
    assert_eq!(covered, [true, true, false, true]);
}

#[test]
fn kinds_of_problems_are_bounded() {
    let kind = |kind: &str| problem(start(), Step::Order, kind, "").kind();
    assert_eq!(kind("rateLimited"), "rateLimited");
    assert_eq!(kind("whatever-an-authority-likes"), "order");
    assert_eq!(kind(""), "order");
}

#[test]
fn a_handful_of_attempts_is_remembered() {
    let mut record = record(&[A]);
    for hour in 0..20 {
        let text = "x".repeat(1000);
        record.note_attempt(start() + HOUR * hour, id(A), Some(&text));
    }
    record.note_attempt(start() + HOUR * 20, id(A), None);
    assert_eq!(record.attempts.len(), 8);
    let last = record.attempts.last().unwrap();
    assert_eq!((last.at, &last.failure), (start() + HOUR * 20, &None));
    assert_eq!(record.obtained_at, Some(start() + HOUR * 20));
    let message = record.attempts[0].failure.as_ref().unwrap();
    assert_eq!(message.len(), 200);
}

#[test]
fn a_record_of_an_earlier_version_is_read() {
    let text = r#"{
        "name": "a.school.org", "declared": true, "declared_at": "2026-03-01T00:00:00Z",
        "policy": { "issuers": [{ "kind": "internal", "lifetime_seconds": 600 }], "key_type": "p256" },
        "certificate": null, "failures": 1, "failing_since": "2026-03-01T00:00:00Z",
        "last_problem": { "at": "2026-03-01T00:00:00Z", "step": "order", "message": "m", "hint": "",
                          "document": "" },
        "next_attempt": "2026-03-01T00:01:00Z", "renewal_requested": null
    }"#;
    let record: Record = serde_json::from_str(text).unwrap();
    assert_eq!(record.failures, 1);
    assert!(record.issuers.is_empty() && record.attempts.is_empty());
    assert_eq!((record.obtained_at, record.suggestion), (None, None));
}
