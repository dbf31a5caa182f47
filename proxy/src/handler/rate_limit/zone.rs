//! The counters of one limit: by key, when the last requests came.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Counters of one limit, over all workers.
///
/// A window slides: of the requests with one key, no more than the limit are let in within any
/// span of the window's length.
#[derive(Debug)]
pub(super) struct Zone {
    window: Duration,
    events: u32,
    /// Workers seldom need the same part at once.
    parts: [Mutex<Part>; PARTS],
    hasher: RandomState,
    start: Instant,
}

#[derive(Debug, Default)]
struct Part {
    /// By key, when its requests came, the oldest first, in milliseconds since the zone's start.
    seen: HashMap<Box<str>, VecDeque<u64>>,
    /// Requests in all of them.
    count: usize,
}

const PARTS: usize = 16;

/// Keys and requests that a part remembers at most: some 100 bytes for a key and 8 for a request,
/// so that all parts together stay under 50 MiB.
const MOST_KEYS: usize = 20_000;
const MOST_REQUESTS: usize = 200_000;

/// Name, window and number of events.
type ZoneKey = (String, Duration, u32);

/// Zones in use: a reload goes on with the counters that it finds.
static ZONES: LazyLock<Mutex<HashMap<ZoneKey, Weak<Zone>>>> = LazyLock::new(Mutex::default);

impl Zone {
    /// The zone of this name and limit, which may be in use already.
    pub(super) fn shared(name: &str, window: Duration, events: u32) -> Arc<Self> {
        let mut zones = ZONES.lock();
        zones.retain(|_, zone| zone.strong_count() > 0);
        let key = (name.to_owned(), window, events);
        if let Some(zone) = zones.get(&key).and_then(Weak::upgrade) {
            return zone;
        }
        let zone = Arc::new(Self::new(window, events));
        zones.insert(key, Arc::downgrade(&zone));
        zone
    }

    fn new(window: Duration, events: u32) -> Self {
        Self {
            window,
            events,
            parts: Default::default(),
            hasher: RandomState::new(),
            start: Instant::now(),
        }
    }

    /// Lets a request with `key` in, or says how long to wait until one would be let in.
    pub(super) fn enter(&self, key: &str) -> Result<(), Duration> {
        self.enter_at(key, milliseconds(self.start.elapsed()))
    }

    fn enter_at(&self, key: &str, now: u64) -> Result<(), Duration> {
        if self.events == 0 {
            return Err(self.window);
        }
        let window = milliseconds(self.window).max(1);
        let index = (self.hasher.hash_one(key) % PARTS as u64) as usize;
        let mut part = self.parts[index].lock();
        let part = &mut *part;
        if let Some(seen) = part.seen.get_mut(key) {
            part.count -= forget(seen, now, window);
            if seen.len() >= self.events as usize {
                let oldest = seen.front().copied().unwrap_or(now);
                return Err(Duration::from_millis((oldest + window).saturating_sub(now)));
            }
            seen.push_back(now);
        } else {
            part.make_room(now, window);
            part.seen.insert(key.into(), VecDeque::from([now]));
        }
        part.count += 1;
        Ok(())
    }
}

impl Part {
    /// Drops what is over, and where that is not enough any other keys: under a flood of keys it
    /// is better to let some requests in than to fill the memory.
    fn make_room(&mut self, now: u64, window: u64) {
        if self.seen.len() < MOST_KEYS && self.count < MOST_REQUESTS {
            return;
        }
        let mut dropped = 0;
        self.seen.retain(|_, seen| {
            dropped += forget(seen, now, window);
            !seen.is_empty()
        });
        self.count -= dropped;
        if self.seen.len() < MOST_KEYS && self.count < MOST_REQUESTS {
            return;
        }
        let mut is_kept = false;
        let mut count = self.count;
        self.seen.retain(|_, seen| {
            is_kept = !is_kept;
            if !is_kept {
                count -= seen.len();
            }
            is_kept
        });
        self.count = count;
    }
}

/// Drops the requests that came before the window; how many they were.
fn forget(seen: &mut VecDeque<u64>, now: u64, window: u64) -> usize {
    let over = seen.iter().take_while(|&&at| at + window <= now).count();
    seen.drain(..over);
    over
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_slides() {
        let zone = Zone::new(Duration::from_secs(1), 2);
        assert_eq!(zone.enter_at("a", 0), Ok(()));
        assert_eq!(zone.enter_at("a", 600), Ok(()));
        assert_eq!(zone.enter_at("a", 900), Err(Duration::from_millis(100)));
        assert_eq!(zone.enter_at("b", 900), Ok(()));
        assert_eq!(zone.enter_at("a", 1000), Ok(()));
        assert_eq!(zone.enter_at("a", 1001), Err(Duration::from_millis(599)));
    }

    #[test]
    fn limit_of_nothing_refuses_everything() {
        let zone = Zone::new(Duration::from_secs(1), 0);
        assert_eq!(zone.enter_at("a", 0), Err(Duration::from_secs(1)));
    }

    #[test]
    fn memory_is_bounded_under_a_flood_of_keys() {
        let zone = Zone::new(Duration::from_secs(60), 10);
        for number in 0..(2 * MOST_KEYS * PARTS) {
            let _ = zone.enter_at(&number.to_string(), 0);
        }
        for part in &zone.parts {
            let part = part.lock();
            assert!(part.seen.len() <= MOST_KEYS);
            assert_eq!(
                part.count,
                part.seen.values().map(VecDeque::len).sum::<usize>()
            );
        }
    }

    #[test]
    fn zone_outlives_a_reload_that_keeps_its_limit() {
        let before = Zone::shared("kept over a reload", Duration::from_secs(1), 5);
        let same = Zone::shared("kept over a reload", Duration::from_secs(1), 5);
        assert!(Arc::ptr_eq(&before, &same));
        let other = Zone::shared("kept over a reload", Duration::from_secs(1), 6);
        assert!(!Arc::ptr_eq(&before, &other));
    }
}
