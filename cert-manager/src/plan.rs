//! What to do about a name, as a pure function of the time, the policy and what is remembered.
//!
//! ```text
//! declared --> Issue --> (valid) Wait --> Renew --> (valid) Wait ...
//!                | failed                  | failed
//!                +--> BackOff --> Issue    +--> BackOff --> Renew
//! undeclared for 7 days --> Wait for the end of the certificate --> Forget
//! ```
//!
//! When a certificate is due comes from its authority (RFC 9773) or from its lifetime. Beside that,
//! [`ask_at`] says when the authority is to be asked, and [`Urgency`] who goes first where not all
//! that is due can be done at once.

pub mod spread;
mod urgency;

use jiff::{SignedDuration, Timestamp};

use crate::certificate::Facts;
use crate::policy::{IssuerId, Policy, RenewalWindow};
use crate::record::{CLOCK_TOLERANCE, Record};

pub use urgency::{Urgency, ends_soon_at};

/// A name that no proxy has declared for this long is not renewed any more.
pub const UNUSED_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Renewal by the lifetime is spread over this part of the policy's window: 3 days for a
/// certificate of 90 days, 5 hours for one of 6 days.
const SPREAD_OF_WINDOW: i32 = 10;
/// However late an authority would have a certificate renewed, this part of its lifetime is left to
/// try again: 4 days of 90, 7 hours of 6 days.
const ROOM_FOR_RETRIES: i32 = 20;
/// However early an authority would have a certificate renewed, it is used for this part of its
/// lifetime and not longer than [`LONGEST_USE`], or an authority that is mistaken about each new one
/// would be asked for the next without end.
const SHORTEST_USE: i32 = 24;
/// See [`SHORTEST_USE`].
const LONGEST_USE: SignedDuration = SignedDuration::from_hours(6);

/// A new certificate is first asked about after this part of its lifetime at the latest, and after
/// [`LONGEST_FIRST_ASK`].
const FIRST_ASK: i32 = 240;
/// See [`FIRST_ASK`].
const LONGEST_FIRST_ASK: SignedDuration = SignedDuration::from_hours(1);
/// No answer is good for longer, so a later moment is one of a clock that has been put back since.
const LONGEST_ANSWER: SignedDuration = SignedDuration::from_hours(27);

/// What to do about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing before `until`, because an attempt failed.
    BackOff {
        /// When to try again.
        until: Timestamp,
    },
    /// Drop the name: nobody wants it and it has no valid certificate.
    Forget,
    /// Obtain a certificate: there is no valid one.
    Issue,
    /// Obtain a certificate in place of a valid one.
    Renew(Reason),
    /// Nothing before `until`.
    Wait {
        /// When to look again.
        until: Timestamp,
    },
}

/// Why a valid certificate is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It has reached its renewal time.
    Due,
    /// The policy wants another issuer.
    Issuer,
    /// An operator asked for it.
    Operator,
    /// Its authority is about to revoke it.
    Recall,
}

/// When a certificate is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// The moment.
    pub at: Timestamp,
    /// Where it comes from.
    pub source: Source,
}

/// Where a renewal time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The window that the authority suggests (RFC 9773).
    Ari,
    /// The lifetime of the certificate.
    Lifetime,
}

/// Decides what to do about the name of `record` at `now`. `policy` is that of the latest
/// declaration, or `None` when no proxy has declared the name yet.
pub fn plan(now: Timestamp, policy: Option<&Policy>, record: &Record) -> Action {
    let valid = record
        .certificate
        .as_ref()
        .filter(|certificate| certificate.is_valid_at(now));
    let unused_from = unused_from(record);

    let Some(policy) = policy.filter(|_| now < unused_from) else {
        return match valid {
            Some(certificate) => Action::Wait {
                until: certificate.not_after,
            },
            None if now < unused_from => Action::Wait { until: unused_from },
            None => Action::Forget,
        };
    };
    let wanted = match valid {
        None if !record.declared => return Action::Forget,
        None => Action::Issue,
        Some(certificate) => {
            let renew_at = renewal_of(certificate, policy.renewal_window, record).at;
            if record.recall().is_some() && renew_at <= now {
                Action::Renew(Reason::Recall)
            } else if record.renewal_requested.is_some() {
                Action::Renew(Reason::Operator)
            } else if !policy.accepts(&certificate.issuer) {
                Action::Renew(Reason::Issuer)
            } else if renew_at <= now {
                Action::Renew(Reason::Due)
            } else {
                return Action::Wait { until: renew_at };
            }
        }
    };
    match pending_until(now, wanted, record) {
        Some(until) => Action::BackOff { until },
        None => wanted,
    }
}

/// When the certificate of `record` is due, where there is one.
pub fn renewal(window: RenewalWindow, record: &Record) -> Option<Renewal> {
    let certificate = record.certificate.as_ref()?;
    Some(renewal_of(certificate, window, record))
}

/// When to ask the authority about renewing the certificate of `record`; `None` when there is
/// nothing to ask. A moment that has passed means now.
pub fn ask_at(now: Timestamp, policy: Option<&Policy>, record: &Record) -> Option<Timestamp> {
    let policy = policy.filter(|_| now < unused_from(record))?;
    let certificate = record.certificate.as_ref()?;
    let is_askable = matches!(certificate.issuer, IssuerId::Acme(_))
        && policy.accepts(&certificate.issuer)
        && certificate.is_valid_at(now);
    if !is_askable {
        return None;
    }
    Some(match record.present_suggestion() {
        Some(known) if known.ask_again_at.duration_since(now) > LONGEST_ANSWER => now,
        Some(known) => known.ask_again_at,
        None => {
            let span = (lifetime(certificate) / FIRST_ASK).min(LONGEST_FIRST_ASK);
            let begin = record.obtained_at.unwrap_or(certificate.not_before);
            let begin = begin.min(now);
            after(begin, span.mul_f64(fraction(record, certificate)))
        }
    })
}

fn renewal_of(certificate: &Facts, window: RenewalWindow, record: &Record) -> Renewal {
    let lifetime = lifetime(certificate);
    let Some(suggested) = record.window() else {
        let opens = certificate.renew_at(window);
        let span = certificate.not_after.duration_since(opens) / SPREAD_OF_WINDOW;
        return Renewal {
            at: after(opens, span.mul_f64(fraction(record, certificate))),
            source: Source::Lifetime,
        };
    };
    let begin = record.obtained_at.unwrap_or(certificate.not_before);
    let earliest = after(begin, (lifetime / SHORTEST_USE).min(LONGEST_USE));
    let latest = after(certificate.not_after, -(lifetime / ROOM_FOR_RETRIES));
    Renewal {
        at: suggested.renew_at.max(earliest).min(latest),
        source: Source::Ari,
    }
}

/// Until when the backoff after the last failure lasts, if it still does. One that was set by a
/// clock which has been put back since does not, for it could last as long as the clock was wrong;
/// nor does one from before the authority recalled the certificate.
fn pending_until(now: Timestamp, wanted: Action, record: &Record) -> Option<Timestamp> {
    let until = record.next_attempt.filter(|until| now < *until)?;
    let failed_at = record
        .last_problem
        .as_ref()
        .map_or(now, |problem| problem.at);
    let recalled_since = wanted == Action::Renew(Reason::Recall)
        && record.recall().is_some_and(|told_at| failed_at < told_at);
    let is_pending = failed_at.duration_since(now) <= CLOCK_TOLERANCE && !recalled_since;
    is_pending.then_some(until)
}

fn unused_from(record: &Record) -> Timestamp {
    after(record.declared_at, UNUSED_AFTER)
}

fn lifetime(certificate: &Facts) -> SignedDuration {
    certificate.not_after.duration_since(certificate.not_before)
}

fn fraction(record: &Record, certificate: &Facts) -> f64 {
    spread::fraction(&record.name, &certificate.serial)
}

/// A moment so much later; the last one that there is where that is none.
fn after(moment: Timestamp, span: SignedDuration) -> Timestamp {
    moment.saturating_add(span).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
