//! How long to wait after a failure.

use std::time::Duration;

/// The wait after the first failure.
pub const FIRST: Duration = Duration::from_secs(60);
/// The longest wait while attempts have been failing for less than [`PATIENCE`].
pub const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// How long attempts go on at that pace before they become daily.
pub const PATIENCE: Duration = Duration::from_secs(30 * DAY.as_secs());
/// The longest wait that an authority may ask for.
pub const LONGEST_ASKED: Duration = Duration::from_secs(7 * DAY.as_secs());
/// Waits vary by this share up and down, so that names that failed together do not retry together.
pub const JITTER: f64 = 0.1;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// When a failed attempt may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Not before the authority's `Retry-After`.
    After(Duration),
    /// By the usual exponential backoff.
    Backoff,
    /// Once a day: it cannot succeed until somebody changes something.
    Daily,
}

/// The wait after the `failures`th failure in a row (from 1), when attempts have been failing for
/// `failing_for`. `random` is uniform in 0..1.
pub fn delay(failures: u32, failing_for: Duration, retry: Retry, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let usual = if failing_for >= PATIENCE {
        DAY
    } else {
        (FIRST * 2_u32.pow(doublings)).min(LONGEST)
    };
    let jittered = |delay: Duration| delay.mul_f64(1.0 - JITTER + 2.0 * JITTER * random);
    match retry {
        Retry::Backoff => jittered(usual),
        Retry::Daily => jittered(DAY),
        // Never earlier than asked for, so the jitter is on top.
        Retry::After(asked) => {
            jittered(usual).max(asked.min(LONGEST_ASKED).mul_f64(1.0 + JITTER * random))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_a_minute_to_six_hours_then_become_daily() {
        let minutes = |failures, failing_for| {
            delay(failures, failing_for, Retry::Backoff, 0.5).as_secs() / 60
        };
        let expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360];
        for (failures, expected) in (1..).zip(expected) {
            assert_eq!(minutes(failures, Duration::ZERO), expected);
        }
        assert_eq!(minutes(u32::MAX, PATIENCE - FIRST), 360);
        assert_eq!(minutes(u32::MAX, PATIENCE), 24 * 60);
    }

    #[test]
    fn an_authority_is_never_asked_again_too_early() {
        for random in [0.0, 0.5, 1.0] {
            let hour = Duration::from_secs(3600);
            assert!(delay(1, Duration::ZERO, Retry::After(hour), random) >= hour);
            assert!(delay(99, Duration::ZERO, Retry::After(hour), random) > 5 * hour);
        }
    }
}
