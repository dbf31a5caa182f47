//! Whether a request that failed is tried again, and when.
//!
//! Caddy's rules (`lb_try_duration`, `lb_retries`, `lb_try_interval`, `lb_retry_match`) hold where
//! they are set. Where they are not, a request of which nothing could be sent, or that may be sent
//! again, is held for a few seconds, since its upstream is most often being recreated.

use std::time::Duration;

use upstream::SendErrorKind;

/// How long a request is held by default while its upstream cannot be reached.
const HOLD: Duration = Duration::from_secs(5);
/// How often a repeatable request is sent again although its upstream may have read it. An app that
/// ends resets the connections that it never accepted, which looks no different from a crash.
const REPETITIONS: u32 = 2;
/// The first pause of a request that is held; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause of a request that is held. Caddy: the default of `lb_try_interval`.
const LAST_PAUSE: Duration = Duration::from_millis(250);

/// When a failed request is tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    /// Caddy: `lb_try_duration`; zero is not set.
    pub(crate) duration: Duration,
    /// Caddy: `lb_retries`; zero is not set.
    pub(crate) retries: u32,
    /// Caddy: `lb_try_interval`; zero leaves it to the pauses of a held request.
    pub(crate) interval: Duration,
}

/// A try that failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed {
    /// What went wrong; `None` when no upstream was available.
    pub(crate) kind: Option<SendErrorKind>,
    /// Whether nothing of the request was sent.
    pub(crate) is_unsent: bool,
    /// Whether the request may be sent again although it was sent: it has no body, and its method
    /// or `lb_retry_match` allow it.
    pub(crate) is_repeatable: bool,
    /// Whether it was sent on a connection that had served requests before: its upstream may have
    /// closed that one unread, between two requests (RFC 9112 section 9.3.1).
    pub(crate) is_reused: bool,
    /// Whether there is another upstream that was not tried yet.
    pub(crate) has_alternative: bool,
    /// Tries before this one.
    pub(crate) retries: u32,
    /// Time since the first try began.
    pub(crate) elapsed: Duration,
}

impl RetryPolicy {
    /// The pause before the next try, or `None` if there is none.
    pub(crate) fn next(&self, failed: &Failed) -> Option<Duration> {
        if failed.kind == Some(SendErrorKind::RequestBody) {
            return None;
        }
        let is_safe = failed.is_unsent || failed.kind.is_none() || failed.is_repeatable;
        if !is_safe {
            return None;
        }
        let is_set = !self.duration.is_zero() || self.retries > 0;
        let deadline = if is_set {
            if self.retries > 0 && failed.retries >= self.retries {
                return None;
            }
            self.duration
        } else {
            let is_unread = failed.is_unsent
                || failed.is_repeatable && (failed.is_reused || failed.retries < REPETITIONS);
            let is_transient = failed.kind.is_some_and(SendErrorKind::is_transient);
            if !is_unread || !is_transient {
                return None;
            }
            HOLD
        };
        if !deadline.is_zero() && failed.elapsed >= deadline {
            return None;
        }
        if failed.has_alternative {
            return Some(Duration::ZERO);
        }
        let pause = if self.interval.is_zero() {
            FIRST_PAUSE
                .saturating_mul(1 << failed.retries.min(8))
                .min(LAST_PAUSE)
        } else {
            self.interval
        };
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Failed = Failed {
        kind: Some(SendErrorKind::Refused),
        is_unsent: true,
        is_repeatable: false,
        is_reused: false,
        has_alternative: false,
        retries: 0,
        elapsed: Duration::ZERO,
    };
    const UNSET: RetryPolicy = RetryPolicy {
        duration: Duration::ZERO,
        retries: 0,
        interval: Duration::ZERO,
    };

    #[test]
    fn a_request_that_was_not_sent_is_held_for_five_seconds() {
        let pauses: Vec<_> = (0..4)
            .map(|retries| {
                UNSET
                    .next(&Failed { retries, ..REFUSED })
                    .unwrap()
                    .as_millis()
            })
            .collect();
        assert_eq!(pauses, [50, 100, 200, 250]);
        let late = Failed {
            elapsed: HOLD,
            retries: 30,
            ..REFUSED
        };
        assert_eq!(UNSET.next(&late), None);
        let many = Failed {
            retries: 3000,
            ..REFUSED
        };
        assert_eq!(UNSET.next(&many), Some(LAST_PAUSE));
    }

    #[test]
    fn what_cannot_heal_is_not_held() {
        for kind in [
            SendErrorKind::Tls,
            SendErrorKind::Protocol,
            SendErrorKind::RequestBody,
        ] {
            let failed = Failed {
                kind: Some(kind),
                ..REFUSED
            };
            assert_eq!(UNSET.next(&failed), None, "{kind:?}");
        }
        assert_eq!(
            UNSET.next(&Failed {
                kind: None,
                ..REFUSED
            }),
            None
        );
    }

    #[test]
    fn what_was_sent_is_sent_again_only_where_it_is_repeatable() {
        let sent = Failed {
            kind: Some(SendErrorKind::Closed),
            is_unsent: false,
            ..REFUSED
        };
        assert_eq!(UNSET.next(&sent), None);
        let repeatable = Failed {
            is_repeatable: true,
            ..sent
        };
        assert_eq!(UNSET.next(&repeatable), Some(FIRST_PAUSE));
        let repeated = Failed {
            retries: REPETITIONS,
            ..repeatable
        };
        assert_eq!(UNSET.next(&repeated), None);
        let set = RetryPolicy {
            duration: Duration::from_secs(1),
            ..UNSET
        };
        assert_eq!(set.next(&sent), None);
        assert!(
            set.next(&Failed {
                is_repeatable: true,
                ..sent
            })
            .is_some()
        );
    }

    #[test]
    fn a_repeatable_request_on_a_connection_that_was_just_closed_is_sent_again() {
        let closed = Failed {
            kind: Some(SendErrorKind::Closed),
            is_unsent: false,
            is_repeatable: true,
            is_reused: true,
            ..REFUSED
        };
        assert_eq!(UNSET.next(&closed), Some(FIRST_PAUSE));
        let with_body = Failed {
            is_repeatable: false,
            ..closed
        };
        assert_eq!(UNSET.next(&with_body), None);
        let on_a_new_connection = Failed {
            is_reused: false,
            retries: REPETITIONS,
            ..closed
        };
        assert_eq!(UNSET.next(&on_a_new_connection), None);
    }

    #[test]
    fn configured_limits_hold() {
        let set = RetryPolicy {
            retries: 2,
            interval: Duration::from_millis(7),
            ..UNSET
        };
        assert_eq!(set.next(&REFUSED), Some(Duration::from_millis(7)));
        assert_eq!(
            set.next(&Failed {
                retries: 2,
                ..REFUSED
            }),
            None
        );
        // Without a duration there is no deadline.
        let late = Failed {
            elapsed: Duration::from_secs(60),
            ..REFUSED
        };
        assert!(set.next(&late).is_some());
        let set = RetryPolicy {
            duration: Duration::from_secs(1),
            ..UNSET
        };
        assert_eq!(set.next(&late), None);
        assert!(
            set.next(&Failed {
                kind: None,
                ..REFUSED
            })
            .is_some()
        );
    }

    #[test]
    fn another_upstream_is_tried_at_once() {
        let failed = Failed {
            has_alternative: true,
            ..REFUSED
        };
        assert_eq!(UNSET.next(&failed), Some(Duration::ZERO));
    }
}
