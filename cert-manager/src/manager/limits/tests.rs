use jiff::SignedDuration;

use super::*;
use crate::backoff::Retry;
use crate::policy::LETS_ENCRYPT;
use crate::record::{IssuerFailure, Problem, Step};

fn start() -> Timestamp {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

fn later(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

fn account(url: &str) -> AccountId {
    AccountId::of(&AcmePolicy::new(url, None))
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// Places orders as fast as the limits allow until `end`, and counts them.
fn place(limits: &mut Limits, standing: Standing, end: Timestamp) -> u32 {
    let account = account(LETS_ENCRYPT);
    let (mut now, mut orders) = (start(), 0);
    while now < end {
        match limits.check(&account, standing, now) {
            Some(waiting) => {
                let until = waiting.until.unwrap();
                assert!(until > now);
                now = until;
            }
            None => {
                limits.take(&account, standing, now);
                orders += 1;
            }
        }
    }
    orders
}

fn limited(name: &str, message: &str, at: Timestamp) -> Record {
    let mut record = Record::new(Name::parse(name).unwrap(), at);
    let failure = IssuerFailure {
        issuer: IssuerId::Acme(LETS_ENCRYPT.to_owned()),
        problem: Problem {
            at,
            step: Step::Order,
            message: message.to_owned(),
            hint: String::new(),
            document: r#"{"type":"urn:ietf:params:acme:error:rateLimited"}"#.to_owned(),
        },
        retry: Retry::After(Duration::from_secs(3600)),
    };
    record.fail_at_issuers(&[failure], 0.0);
    record
}

#[test]
fn a_public_authority_sees_ten_orders_at_once_and_three_hundred_in_three_hours() {
    let orders = |standing, seconds| place(&mut Limits::default(), standing, later(seconds));
    assert_eq!(orders(Standing::Ordinary, 1), 10);
    assert_eq!(orders(Standing::Ordinary, 61), 20);
    // All of the 300, and one more for each 36 seconds.
    let in_three_hours = orders(Standing::Ordinary, 3 * 3600);
    assert!((590..=600).contains(&in_three_hours), "{in_three_hours}");
    // What the authority asked for is not counted by it, and is still no flood.
    let covered = orders(Standing::Covered, 3 * 3600);
    assert!((1800..=1810).contains(&covered), "{covered}");
}

#[test]
fn an_authority_of_ones_own_has_no_limit_of_ours() {
    let mut limits = Limits::default();
    let own = account("https://ca.corp.internal/directory");
    for _ in 0..1000 {
        limits.take(&own, Standing::Ordinary, start());
    }
    assert_eq!(limits.check(&own, Standing::Ordinary, start()), None);
}

#[test]
fn an_authority_that_asks_to_come_back_later_holds_back_its_account() {
    let mut limits = Limits::default();
    let (le, own) = (
        account(LETS_ENCRYPT),
        account("https://ca.corp.internal/directory"),
    );
    let record = limited(
        "a.school.org",
        "too many new orders (300) from this account",
        start(),
    );
    assert!(limits.learn(&le, &record, start()));
    assert!(!limits.learn(&own, &record, start()));
    let waiting = limits.check(&le, Standing::Covered, start()).unwrap();
    assert_eq!(waiting.until, Some(later(3600)));
    assert!(
        waiting.what.contains("too many new orders"),
        "{}",
        waiting.what
    );
    assert_eq!(limits.check(&le, Standing::Requested, start()), None);
    assert_eq!(limits.check(&le, Standing::Ordinary, later(3600)), None);
    assert_eq!(limits.check(&own, Standing::Ordinary, start()), None);
}

#[test]
fn a_limit_of_a_domain_holds_back_that_domain() {
    let mut limits = Limits::default();
    let le = account(LETS_ENCRYPT);
    let message = r#"too many certificates (50) already issued for "school.org" in the last 168h"#;
    limits.learn(&le, &limited("a.school.org", message, start()), start());
    let held = |limits: &Limits, text, now| {
        limits
            .check_name(&le, &name(text), Standing::Ordinary, now)
            .is_some()
    };
    assert!(held(&limits, "b.school.org", start()));
    assert!(held(&limits, "school.org", start()));
    assert!(!held(&limits, "school.net", start()));
    assert!(!held(&limits, "b.school.org", later(3600)));
    assert_eq!(limits.check(&le, Standing::Ordinary, start()), None);
}

#[test]
fn a_restart_does_not_fill_the_buckets() {
    let mut limits = Limits::default();
    let le = account(LETS_ENCRYPT);
    let mut record = Record::new(name("a.school.org"), start());
    for _ in 0..8 {
        record.note_attempt(start(), IssuerId::Acme(LETS_ENCRYPT.to_owned()), None);
    }
    limits.recall(&le, &record, later(1));
    limits.recall(&le, &record, later(1));
    let waiting = limits.check(&le, Standing::Ordinary, later(1)).unwrap();
    assert!(
        waiting.what.contains("10 orders in 60 s"),
        "{}",
        waiting.what
    );
    limits.give_back(&le, Standing::Ordinary, later(1));
    assert_eq!(limits.check(&le, Standing::Ordinary, later(1)), None);
}
