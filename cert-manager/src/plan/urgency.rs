//! Who goes first where not all that is due can be done at once.

use jiff::Timestamp;

use super::{Action, Reason};
use crate::record::Record;

/// How urgent something is that is due; the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// The certificate is about to be revoked.
    Recalled,
    /// A client waits in its handshake.
    Awaited,
    /// An operator waits.
    Requested,
    /// The certificate ends soon, or has ended.
    EndsSoon,
    /// The name has not had a certificate.
    First,
    /// There is time.
    Routine,
}

impl Urgency {
    /// How urgent `action` is for the name of `record` at `now`.
    pub fn of(action: Action, record: &Record, now: Timestamp) -> Self {
        let ends_soon = || ends_soon_at(record).is_some_and(|from| from <= now);
        match action {
            Action::Renew(Reason::Recall) => Self::Recalled,
            Action::Issue if is_new_on_demand(record) => Self::Awaited,
            _ if record.is_requested_anew() => Self::Requested,
            Action::Issue | Action::Renew(_) if ends_soon() => Self::EndsSoon,
            Action::Issue => Self::First,
            Action::Renew(_) | Action::BackOff { .. } | Action::Forget | Action::Wait { .. } => {
                Self::Routine
            }
        }
    }
}

/// Whether a client has brought the name and nothing has been tried yet.
fn is_new_on_demand(record: &Record) -> bool {
    let policy = record.policy.as_ref();
    record.failures == 0 && policy.is_some_and(|policy| policy.on_demand.is_some())
}

/// From when the certificate of `record` ends soon: when half of the policy's renewal window is
/// left. `None` when there is none.
pub fn ends_soon_at(record: &Record) -> Option<Timestamp> {
    let certificate = record.certificate.as_ref()?;
    let window = record.policy.as_ref().map(|policy| policy.renewal_window);
    let opens = certificate.renew_at(window.unwrap_or_default());
    let half = certificate.not_after.duration_since(opens) / 2;
    certificate.not_after.checked_sub(half).ok()
}
