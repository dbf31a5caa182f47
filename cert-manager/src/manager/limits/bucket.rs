//! A token bucket on a clock that may be set.

use std::time::Duration;

use jiff::Timestamp;

/// What is missing of a token by rounding alone.
const ROUNDING: f64 = 1e-6;

/// Allows `capacity` at once, and as many again within `period`.
#[derive(Clone, Debug)]
pub(in crate::manager) struct Bucket {
    capacity: f64,
    /// Tokens that come back in a second.
    rate: f64,
    tokens: f64,
    updated: Timestamp,
}

impl Bucket {
    /// A full bucket.
    pub(in crate::manager) fn new(capacity: u32, period: Duration, now: Timestamp) -> Self {
        let capacity = f64::from(capacity);
        Self {
            capacity,
            rate: capacity / period.as_secs_f64(),
            tokens: capacity,
            updated: now,
        }
    }

    /// When there is a token again, if there is none at `now`.
    pub(in crate::manager) fn empty_until(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.refill(now);
        let missing = 1.0 - self.tokens;
        if missing <= ROUNDING {
            return None;
        }
        let wait = Duration::from_secs_f64(missing / self.rate).max(Duration::from_millis(1));
        now.checked_add(wait).ok()
    }

    /// How many tokens there are at `now`.
    pub(in crate::manager) fn available(&mut self, now: Timestamp) -> usize {
        self.refill(now);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and a capacity, which was a u32"
        )]
        {
            (self.tokens + ROUNDING).max(0.0) as usize
        }
    }

    /// Takes a token; the bucket may come to owe some.
    pub(in crate::manager) fn take(&mut self, now: Timestamp) {
        self.refill(now);
        self.tokens -= 1.0;
    }

    /// Puts a token back.
    pub(in crate::manager) fn give_back(&mut self) {
        self.tokens = (self.tokens + 1.0).min(self.capacity);
    }

    /// Counts a token that was taken at `at`, before this bucket was made. Such tokens leave it
    /// emptier than it would be, but not owing.
    pub(in crate::manager) fn take_earlier(&mut self, at: Timestamp, now: Timestamp) {
        self.refill(now);
        let age = now.duration_since(at).as_secs_f64().max(0.0);
        if age < self.capacity / self.rate {
            self.tokens = (self.tokens - 1.0).max(0.0);
        }
    }

    /// A clock that was put back brings nothing and takes nothing.
    fn refill(&mut self, now: Timestamp) {
        let elapsed = now.duration_since(self.updated).as_secs_f64().max(0.0);
        self.tokens = (self.tokens + elapsed * self.rate).min(self.capacity);
        self.updated = now;
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn start() -> Timestamp {
        "2026-03-01T00:00:00Z".parse().unwrap()
    }

    fn later(seconds: i64) -> Timestamp {
        start() + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn a_burst_is_allowed_and_then_a_pace() {
        let mut bucket = Bucket::new(10, MINUTE, start());
        for _ in 0..10 {
            assert_eq!(bucket.empty_until(start()), None);
            bucket.take(start());
        }
        assert_eq!(bucket.empty_until(start()), Some(later(6)));
        assert_eq!(bucket.empty_until(later(3)), Some(later(6)));
        assert_eq!(bucket.empty_until(later(6)), None);
        bucket.take(later(6));
        assert_eq!(bucket.empty_until(later(6)), Some(later(12)));
        bucket.give_back();
        assert_eq!(bucket.empty_until(later(6)), None);
    }

    #[test]
    fn a_clock_that_is_set_neither_fills_nor_locks_the_bucket() {
        let mut bucket = Bucket::new(1, MINUTE, start());
        bucket.take(later(86_400));
        let wait = bucket.empty_until(start()).unwrap();
        assert_eq!(wait, later(60));
        bucket.take(start());
        assert_eq!(bucket.empty_until(later(1)), Some(later(120)));
    }

    #[test]
    fn tokens_of_the_past_are_counted_while_they_matter() {
        let mut bucket = Bucket::new(3, MINUTE, start());
        bucket.take_earlier(later(-61), start());
        assert_eq!(bucket.empty_until(start()), None);
        for _ in 0..9 {
            bucket.take_earlier(later(-30), start());
        }
        assert_eq!(bucket.empty_until(start()), Some(later(20)));
    }
}
