//! A limit on how often something happens.

use jiff::{SignedDuration, Timestamp};

/// Lets so many through at once, and as many more in each span of time.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    size: i32,
    span: SignedDuration,
    /// When the bucket is full again; `None` while it is.
    full_at: Option<Timestamp>,
}

impl Bucket {
    pub(super) const fn new(size: i32, span: SignedDuration) -> Self {
        Self {
            size,
            span,
            full_at: None,
        }
    }

    /// Takes one; false when there is none.
    pub(super) fn take(&mut self, now: Timestamp) -> bool {
        let full_at = self
            .full_at
            // No bucket takes longer to fill, so a later moment is one of a clock that was put back.
            .filter(|full_at| now < *full_at && full_at.duration_since(now) <= self.span)
            .unwrap_or(now);
        let next = full_at + self.span / self.size;
        if next.duration_since(now) > self.span {
            return false;
        }
        self.full_at = Some(next);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_again_one_by_one() {
        let mut bucket = Bucket::new(3, SignedDuration::from_secs(60));
        let mut now: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        let mut taken = |now| std::iter::from_fn(|| bucket.take(now).then_some(())).count();
        assert_eq!(taken(now), 3);
        now += SignedDuration::from_secs(19);
        assert_eq!(taken(now), 0);
        now += SignedDuration::from_secs(1);
        assert_eq!(taken(now), 1);
        now += SignedDuration::from_hours(1);
        assert_eq!(taken(now), 3);
        now -= SignedDuration::from_hours(48);
        assert_eq!(taken(now), 3);
    }
}
