//! What changed in the volumes: written by the subscriber of the static-server, read by every worker.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

/// How many changes are kept for workers that have not looked yet; one that missed more drops all.
const KEPT: usize = 4096;

/// A log of changes with a position that grows by one with each.
///
/// Workers compare the position at every request, which is one atomic load, and take the lock only
/// when it moved.
#[derive(Debug, Default)]
pub struct VolumeChanges {
    position: AtomicU64,
    is_live: AtomicBool,
    log: Mutex<VecDeque<Entry>>,
}

/// Changes since a position.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Changes {
    /// More than can be told.
    Everything,
    /// These paths.
    Paths {
        /// What is known to have changed.
        paths: Vec<ChangedPath>,
        /// When announcements ended first. Anything may have changed since, but need not.
        unannounced_since: Option<Instant>,
    },
}

/// One path: `VOLUME/PATH`, a file or a folder, or a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChangedPath(String);

#[derive(Debug)]
enum Entry {
    Gap(Instant),
    Path(ChangedPath),
}

impl VolumeChanges {
    /// Notes a change of `path` below `volume`.
    pub(crate) fn add(&self, volume: &str, path: &str) {
        let path = format!(
            "{}/{}",
            volume.trim_end_matches('/'),
            path.trim_matches('/')
        );
        self.push(Entry::Path(ChangedPath(path)));
    }

    /// Notes that anything below `volume` may have changed.
    pub(crate) fn add_volume(&self, volume: &str) {
        let volume = volume.trim_end_matches('/').to_owned();
        self.push(Entry::Path(ChangedPath(volume)));
    }

    /// Notes whether changes are announced now. What was kept before a gap is to be confirmed.
    pub(crate) fn set_live(&self, is_live: bool) {
        self.is_live.store(is_live, Ordering::Release);
        if !is_live {
            self.add_gap(Instant::now());
        }
    }

    /// Notes that there were no announcements from `since` on.
    pub(crate) fn add_gap(&self, since: Instant) {
        self.push(Entry::Gap(since));
    }

    /// Whether changes are announced now.
    pub(crate) fn is_live(&self) -> bool {
        self.is_live.load(Ordering::Acquire)
    }

    /// How many changes there have been.
    pub(crate) fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// The changes after `position`, and the position they lead to.
    pub(crate) fn since(&self, position: u64) -> (u64, Changes) {
        let log = self.log.lock();
        let now = self.position.load(Ordering::Acquire);
        let missed = usize::try_from(now - position).unwrap_or(usize::MAX);
        if missed > log.len() {
            return (now, Changes::Everything);
        }
        let mut paths = Vec::with_capacity(missed);
        let mut unannounced_since = None;
        for entry in log.range(log.len() - missed..) {
            match entry {
                Entry::Gap(since) => unannounced_since = unannounced_since.or(Some(*since)),
                Entry::Path(path) => paths.push(path.clone()),
            }
        }
        paths.dedup();
        let changes = Changes::Paths {
            paths,
            unannounced_since,
        };
        (now, changes)
    }

    fn push(&self, entry: Entry) {
        let mut log = self.log.lock();
        if log.len() == KEPT {
            log.pop_front();
        }
        log.push_back(entry);
        self.position.fetch_add(1, Ordering::Release);
    }
}

impl ChangedPath {
    /// Whether a response made of `file` may be another one now: the change is in the file's folder,
    /// or is a folder that the file lies below.
    pub(crate) fn touches(&self, file: &str) -> bool {
        let folder = |path: &str| path.rsplit_once('/').map_or(0, |(folder, _)| folder.len());
        let changed = self.0.as_str();
        file[..folder(file)] == changed[..folder(changed)]
            || file
                .strip_prefix(changed)
                .is_some_and(|rest| rest.starts_with('/'))
    }
}
