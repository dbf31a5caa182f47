//! What a status means, in words, for tables and diagnoses.

use jiff::Timestamp;
use proto::certs::v1::{NameStatus, RenewalSource, State};

/// What happens next to a name, and when.
pub(crate) fn next_action(status: &NameStatus, now: Timestamp) -> String {
    let next = status.next_attempt.and_then(moment);
    let when = next.map(|next| approximately(next, now));
    match (status.state(), when) {
        (_, None) if !status.waiting_for.is_empty() => "wait".to_owned(),
        (State::Issuing, _) => "obtaining now".to_owned(),
        (State::Renewing, None) => "renewing now".to_owned(),
        (State::Valid, Some(when)) => format!("renew {when}"),
        (State::Renewing | State::Failed, Some(when)) => format!("retry {when}"),
        (State::Pending, _) if status.declared_by == 0 => "wait for a proxy".to_owned(),
        (State::Pending, Some(when)) => format!("obtain {when}"),
        (State::Unused, _) => "forget when it ends".to_owned(),
        _ => "-".to_owned(),
    }
}

/// Where a renewal time comes from.
pub(crate) fn renewal_source(source: RenewalSource) -> &'static str {
    match source {
        RenewalSource::Unspecified => "",
        RenewalSource::Lifetime => "by its lifetime",
        RenewalSource::Ari => "as the authority says",
        RenewalSource::Operator => "asked for by an operator",
    }
}

/// `now`, or a distance in the largest unit that fits.
pub(crate) fn approximately(moment: Timestamp, now: Timestamp) -> String {
    let seconds = moment.duration_since(now).as_secs();
    match seconds {
        ..=0 => "now".to_owned(),
        1..=119 => format!("in {seconds} s"),
        120..=7_199 => format!("in {} min", seconds / 60),
        7_200..=172_799 => format!("in {} h", seconds / 3600),
        _ => format!("in {} days", seconds / 86_400),
    }
}

/// A moment of the wire; `None` for one that no clock can show.
pub(crate) fn moment(wire: prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(wire.seconds, wire.nanos).ok()
}
