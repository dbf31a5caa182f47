//! Log lines that requests cause, kept from flooding.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Least time between two lines of one kind.
const INTERVAL: Duration = Duration::from_secs(10);

/// Admits one line of each kind in ten seconds, and counts the rest.
#[derive(Debug, Default)]
pub struct Warnings {
    kinds: Mutex<HashMap<&'static str, Kind>>,
}

#[derive(Debug)]
struct Kind {
    last: Instant,
    unsaid: u64,
}

impl Warnings {
    /// Whether a line of this kind may be logged now; if so, how many were not since the last one.
    pub fn admit(&self, kind: &'static str) -> Option<u64> {
        self.admit_at(kind, Instant::now())
    }

    fn admit_at(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.kinds.lock();
        match kinds.get_mut(kind) {
            None => {
                kinds.insert(
                    kind,
                    Kind {
                        last: now,
                        unsaid: 0,
                    },
                );
                Some(0)
            }
            Some(known) if now.duration_since(known.last) < INTERVAL => {
                known.unsaid += 1;
                None
            }
            Some(known) => {
                known.last = now;
                Some(std::mem::take(&mut known.unsaid))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Warnings;

    #[test]
    fn one_line_of_each_kind_in_ten_seconds() {
        let (warnings, start) = (Warnings::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(warnings.admit_at("a", at(0)), Some(0));
        assert_eq!(warnings.admit_at("a", at(1)), None);
        assert_eq!(warnings.admit_at("b", at(1)), Some(0));
        assert_eq!(warnings.admit_at("a", at(9)), None);
        assert_eq!(warnings.admit_at("a", at(11)), Some(2));
        assert_eq!(warnings.admit_at("a", at(21)), Some(0));
    }
}
