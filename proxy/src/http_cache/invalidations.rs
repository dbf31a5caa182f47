//! Which URIs were invalidated lately, so that nothing that was asked for before is kept after.

use std::collections::VecDeque;

/// Invalidations of the URIs that share a slot.
#[derive(Debug, Default)]
pub(super) struct Invalidations {
    /// How many there have been.
    count: u64,
    /// The last of them, the newest at the end.
    recent: VecDeque<Invalidated>,
}

/// What was invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Invalidated {
    /// Any URI.
    Everything,
    /// That of this hash.
    Uri(u64),
}

/// Invalidations that are remembered one by one.
const MOST: usize = 64;

impl Invalidations {
    /// How many there have been.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Notes one.
    pub(super) fn add(&mut self, what: Invalidated) {
        if self.recent.len() == MOST {
            self.recent.pop_front();
        }
        self.recent.push_back(what);
        self.count += 1;
    }

    /// Whether the URI of `hash` is for sure among none that came after the first `count`.
    pub(super) fn spared(&self, hash: u64, count: u64) -> bool {
        let missed = usize::try_from(self.count - count).unwrap_or(usize::MAX);
        let is_other = |what: &Invalidated| matches!(what, Invalidated::Uri(invalidated) if *invalidated != hash);
        missed <= self.recent.len() && self.recent.iter().rev().take(missed).all(is_other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_invalidated_since_is_told() {
        let mut slot = Invalidations::default();
        slot.add(Invalidated::Uri(1));
        let then = slot.count();
        assert!(slot.spared(1, then));
        slot.add(Invalidated::Uri(2));
        assert!(slot.spared(1, then) && !slot.spared(2, then));
        slot.add(Invalidated::Everything);
        assert!(!slot.spared(1, then));
    }

    #[test]
    fn what_is_no_longer_known_may_be_anything() {
        let mut slot = Invalidations::default();
        for _ in 0..MOST {
            slot.add(Invalidated::Uri(2));
        }
        assert!(slot.spared(1, 0));
        slot.add(Invalidated::Uri(2));
        assert!(!slot.spared(1, 0) && slot.spared(1, 1));
    }
}
