//! What happened to a name between one look and the next.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use proto::certs::v1::{NameStatus, State};

use super::{Event, Kind};
use crate::words::moment;

/// A certificate that ends within this time is told of; of short ones, within a quarter of their
/// lifetime.
const NOTICE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What was last seen of each name.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    names: HashMap<String, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Serial number of the certificate; empty for none.
    serial: String,
    /// When the last failure was.
    failed_at: Option<Timestamp>,
    /// The end of this certificate was told of.
    is_expiry_told: bool,
    issuer: String,
    not_after: Option<Timestamp>,
}

impl Tracker {
    /// What is there at the start is no news.
    pub(super) fn begin(&mut self, names: &[NameStatus]) {
        for status in names {
            self.names.insert(status.name.clone(), Seen::of(status));
        }
    }

    /// What happened since the last look.
    pub(super) fn observe(&mut self, status: &NameStatus, now: Timestamp) -> Vec<Event> {
        let seen = self.names.entry(status.name.clone()).or_default();
        let mut present = Seen::of(status);
        let mut events = Vec::new();
        if present.serial != seen.serial && !present.serial.is_empty() {
            let kind = if seen.serial.is_empty() {
                Kind::Obtained
            } else {
                Kind::Renewed
            };
            events.push(event(kind, status, now));
        } else {
            present.is_expiry_told = seen.is_expiry_told;
        }
        if present.failed_at.is_some() && present.failed_at != seen.failed_at {
            events.push(event(Kind::Failed, status, now));
        }
        *seen = present;
        events
    }

    /// Whether a certificate ends soon that a newer one should long have replaced. Told once, and not
    /// of one that nobody wants any more.
    pub(super) fn expiring(&mut self, status: &NameStatus, now: Timestamp) -> Option<Event> {
        if status.state() == State::Unused {
            return None;
        }
        let certificate = status.certificate.as_ref()?;
        let begin = certificate.not_before.and_then(moment)?;
        let end = certificate.not_after.and_then(moment)?;
        let notice = (end.duration_since(begin) / 4).min(NOTICE);
        if end.duration_since(now) > notice {
            return None;
        }
        let seen = self.names.get_mut(&status.name)?;
        if seen.is_expiry_told || seen.serial != certificate.serial {
            return None;
        }
        seen.is_expiry_told = true;
        Some(event(Kind::Expiring, status, now))
    }

    /// A certificate is revoked.
    pub(super) fn revoke(&self, name: &str, serial: String, now: Timestamp) -> Option<Event> {
        let seen = self.names.get(name)?;
        Some(Event {
            serial,
            ..seen.event(Kind::Revoked, name, now)
        })
    }

    /// A name is gone.
    pub(super) fn forget(&mut self, name: &str, now: Timestamp) -> Option<Event> {
        let seen = self.names.remove(name)?;
        Some(seen.event(Kind::Forgotten, name, now))
    }
}

impl Seen {
    fn of(status: &NameStatus) -> Self {
        let certificate = status.certificate.as_ref();
        let problem = status.last_problem.as_ref();
        Self {
            serial: certificate
                .map(|found| found.serial.clone())
                .unwrap_or_default(),
            failed_at: problem.and_then(|problem| problem.at).and_then(moment),
            is_expiry_told: false,
            issuer: status.issuer.clone(),
            not_after: certificate
                .and_then(|found| found.not_after)
                .and_then(moment),
        }
    }

    /// Something that happened without a status that tells of it.
    fn event(&self, kind: Kind, name: &str, now: Timestamp) -> Event {
        Event {
            event: kind,
            at: now,
            name: name.to_owned(),
            issuer: self.issuer.clone(),
            serial: self.serial.clone(),
            not_after: self.not_after,
            failures: 0,
            problem: String::new(),
            hint: String::new(),
            next_attempt: None,
        }
    }
}

fn event(kind: Kind, status: &NameStatus, now: Timestamp) -> Event {
    let seen = Seen::of(status);
    let problem = status.last_problem.clone().unwrap_or_default();
    Event {
        event: kind,
        at: now,
        name: status.name.clone(),
        issuer: seen.issuer,
        serial: seen.serial,
        not_after: seen.not_after,
        failures: status.failures,
        problem: problem.message,
        hint: problem.hint,
        next_attempt: status.next_attempt.and_then(moment),
    }
}

#[cfg(test)]
mod tests {
    use proto::certs::v1::{CertificateSummary, Problem};

    use super::*;
    use crate::manager::timestamp;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn hours(hours: i64) -> Timestamp {
        now() + SignedDuration::from_hours(hours)
    }

    /// A certificate with this serial number, begin and end, in hours from now.
    fn valid(serial: &str, begin: i64, end: i64) -> NameStatus {
        NameStatus {
            name: "quiz.school.org".to_owned(),
            issuer: "https://ca.test/".to_owned(),
            certificate: Some(CertificateSummary {
                serial: serial.to_owned(),
                not_before: Some(timestamp(hours(begin))),
                not_after: Some(timestamp(hours(end))),
                ..CertificateSummary::default()
            }),
            ..NameStatus::default()
        }
    }

    fn failed(mut status: NameStatus, at: i64) -> NameStatus {
        status.failures += 1;
        status.last_problem = Some(Problem {
            at: Some(timestamp(hours(at))),
            message: "no such host".to_owned(),
            hint: "check the DNS".to_owned(),
            ..Problem::default()
        });
        status
    }

    fn kinds(events: &[Event]) -> Vec<Kind> {
        events.iter().map(|event| event.event).collect()
    }

    #[test]
    fn certificates_and_failures_are_told_once() {
        let mut tracker = Tracker::default();
        let none = NameStatus {
            name: "quiz.school.org".to_owned(),
            ..NameStatus::default()
        };
        let mut observe = |status: &NameStatus| kinds(&tracker.observe(status, now()));
        assert_eq!(observe(&none), []);
        assert_eq!(observe(&failed(none.clone(), 0)), [Kind::Failed]);
        assert_eq!(observe(&failed(none.clone(), 0)), []);
        assert_eq!(observe(&failed(none, 1)), [Kind::Failed]);
        let first = valid("01", 0, 100);
        assert_eq!(observe(&first), [Kind::Obtained]);
        assert_eq!(observe(&first), []);
        assert_eq!(observe(&failed(first, 2)), [Kind::Failed]);
        assert_eq!(observe(&valid("02", 0, 100)), [Kind::Renewed]);
        let revoked = tracker.revoke("quiz.school.org", "01".to_owned(), now());
        let revoked = revoked.unwrap();
        assert_eq!(
            (revoked.event, revoked.serial.as_str()),
            (Kind::Revoked, "01")
        );
        let gone = tracker.forget("quiz.school.org", now()).unwrap();
        assert_eq!((gone.event, gone.serial.as_str()), (Kind::Forgotten, "02"));
        assert_eq!(tracker.forget("quiz.school.org", now()), None);
    }

    #[test]
    fn what_is_there_at_the_start_is_no_news() {
        let mut tracker = Tracker::default();
        let status = failed(valid("01", -10, 100), 0);
        tracker.begin(std::slice::from_ref(&status));
        assert_eq!(tracker.observe(&status, now()), []);
    }

    #[test]
    fn an_end_is_told_a_week_or_a_quarter_of_the_lifetime_before() {
        let day = 24;
        // Begin and end of a certificate, and whether that end is near.
        let cases = [
            (-83 * day, 7 * day, true),
            (-82 * day, 8 * day, false),
            (-9, 3, true),
            (-8, 4, false),
            (-100 * day, -1, true),
        ];
        for (begin, end, is_near) in cases {
            let status = valid("01", begin, end);
            let mut tracker = Tracker::default();
            tracker.begin(std::slice::from_ref(&status));
            let told = tracker.expiring(&status, now());
            assert_eq!(told.is_some(), is_near, "{begin} {end}");
            assert_eq!(tracker.expiring(&status, now()), None);
            // The next certificate is another matter.
            let next = valid("02", begin, end);
            tracker.observe(&next, now());
            assert_eq!(tracker.expiring(&next, now()).is_some(), is_near);
        }
    }
}
