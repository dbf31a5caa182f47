//! How often the cache answered, over all sites.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Store;

/// Counts requests that came by a cache.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Answered with what was fresh.
    pub hits: AtomicU64,
    /// Sent on, because nothing was there or it had to be validated.
    pub misses: AtomicU64,
    /// Answered with what was stale.
    pub stale: AtomicU64,
    /// Answered with what another request was being given.
    pub collapsed: AtomicU64,
}

/// What is counted in this process.
pub(crate) static FIGURES: Figures = Figures {
    hits: AtomicU64::new(0),
    misses: AtomicU64::new(0),
    stale: AtomicU64::new(0),
    collapsed: AtomicU64::new(0),
};

/// Counts one more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// Bytes and URIs that are kept.
pub(crate) fn size() -> (u64, u64) {
    let stores = Store::all();
    let sizes = stores.iter().map(|store| store.size());
    sizes.fold((0, 0), |(bytes, uris), (more_bytes, more_uris)| {
        (bytes + more_bytes, uris + more_uris)
    })
}
