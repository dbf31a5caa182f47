//! What had to be repaired since the start of the program, for metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often the database had to be rebuilt or completed from the files, and how many of those were
/// damaged or gone.
#[derive(Clone, Debug, Default)]
pub struct Rebuilds(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    rebuilds: AtomicU64,
    damaged_files: AtomicU64,
}

impl Rebuilds {
    /// How often the database had to be rebuilt or completed.
    pub fn count(&self) -> u64 {
        self.0.rebuilds.load(Ordering::Relaxed)
    }

    /// How many certificates, orders, accounts and authorities had damaged or missing files.
    pub fn damaged_files(&self) -> u64 {
        self.0.damaged_files.load(Ordering::Relaxed)
    }

    pub(super) fn note(&self) {
        self.0.rebuilds.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_damaged_file(&self) {
        self.0.damaged_files.fetch_add(1, Ordering::Relaxed);
    }
}
