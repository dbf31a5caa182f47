//! Keeps one cause from flooding the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Lets a line through every ten seconds, and counts those in between.
#[derive(Debug, Default)]
pub struct LogLimit {
    /// The second, since 1970, of the last line.
    last: AtomicU64,
    suppressed: AtomicU64,
}

/// Seconds between lines.
const INTERVAL: u64 = 10;

impl LogLimit {
    /// No line was written yet.
    pub const fn new() -> Self {
        Self {
            last: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }
    }

    /// Whether a line may be written now: the number of lines that were not since the last one.
    pub fn permit(&self) -> Option<u64> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let last = self.last.load(Ordering::Relaxed);
        // A clock that was set back must not silence the log for long.
        let is_due = now >= last + INTERVAL || now < last;
        let won = is_due
            && self
                .last
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if won {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::LogLimit;

    #[test]
    fn lines_in_between_are_counted() {
        let limit = LogLimit::new();
        assert_eq!(limit.permit(), Some(0));
        assert_eq!(limit.permit(), None);
        assert_eq!(limit.permit(), None);
        limit.last.store(0, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(limit.permit(), Some(2));
    }
}
