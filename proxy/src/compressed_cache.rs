//! Compressed forms of what is kept in memory, so that each is made once.
//!
//! Each worker has a cache of its own, beside that of files. An entry holds what it was made from: as
//! long as it does, no other bytes can be at the same place, so the place is what tells them apart,
//! and a file that changes is simply another one.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use tokio::sync::OnceCell;

use crate::body::Coder;
use crate::handler::encode::Coding;

/// What an entry costs beside its bytes: the key and the bookkeeping.
const ENTRY_OVERHEAD: u64 = 256;

/// Less is compressed in less time than it takes to have another thread do it.
const LEAST_FOR_A_THREAD: usize = 16 * 1024;

/// The cache of one worker.
#[derive(Debug)]
pub(crate) struct CompressedCache(Cache<Key, Entry, ByBytes>);

/// What was compressed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    place: usize,
    length: usize,
    coding: Coding,
    level: i32,
}

/// A compressed form, or the wait for it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    source: Bytes,
    compressed: Rc<OnceCell<Bytes>>,
}

impl CompressedCache {
    /// A cache of about `capacity` bytes.
    pub(crate) fn new(capacity: u64) -> Self {
        let expected_entries = usize::try_from(capacity / (32 * 1024)).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(expected_entries, capacity, ByBytes))
    }

    /// The entry of `source` in a form.
    pub(crate) fn entry(&mut self, source: &Bytes, coding: Coding, level: i32) -> Entry {
        let key = Key {
            place: source.as_ptr().addr(),
            length: source.len(),
            coding,
            level,
        };
        if let Some(entry) = self.0.get(&key) {
            return entry.clone();
        }
        let entry = Entry {
            source: source.clone(),
            compressed: Rc::default(),
        };
        self.0.insert(key, entry.clone());
        entry
    }
}

impl Entry {
    /// The compressed form, which `coder` makes if nobody has; who asks meanwhile waits for it.
    ///
    /// # Errors
    /// When the coder fails.
    pub(crate) async fn compressed(&self, coder: Coder) -> io::Result<Bytes> {
        let compressed = self.compressed.get_or_try_init(|| async {
            if self.source.len() < LEAST_FOR_A_THREAD {
                return coder.compress(&self.source);
            }
            let source = self.source.clone();
            tokio::task::spawn_blocking(move || coder.compress(&source)).await?
        });
        compressed.await.cloned()
    }
}

#[derive(Clone, Copy, Debug)]
struct ByBytes;

impl Weighter<Key, Entry> for ByBytes {
    /// What it is made from is held too, and it is hardly ever larger itself.
    fn weight(&self, _: &Key, entry: &Entry) -> u64 {
        2 * entry.source.len() as u64 + ENTRY_OVERHEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::run;

    fn text(length: usize) -> Bytes {
        "all work and no play "
            .bytes()
            .cycle()
            .take(length)
            .collect()
    }

    #[test]
    fn a_form_is_made_once() {
        let mut cache = CompressedCache::new(1 << 20);
        for length in [1000, 100_000] {
            let source = text(length);
            let first = cache.entry(&source, Coding::Gzip, 5);
            let again = cache.entry(&source, Coding::Gzip, 5);
            run(async {
                let made = first.compressed(Coder::gzip(5)).await.unwrap();
                assert!(made.len() < length / 10);
                let kept = again.compressed(Coder::gzip(5)).await.unwrap();
                assert_eq!(kept.as_ptr(), made.as_ptr(), "it was made again");
            });
        }
    }

    #[test]
    fn forms_and_sources_are_told_apart() {
        let mut cache = CompressedCache::new(1 << 20);
        let (source, other) = (text(1000), text(1000));
        run(async {
            let form = async |entry: Entry, coder| entry.compressed(coder).await.unwrap();
            let gzip = form(cache.entry(&source, Coding::Gzip, 5), Coder::gzip(5)).await;
            let zstd = form(cache.entry(&source, Coding::Zstd, 3), Coder::zstd(3)).await;
            let best = form(cache.entry(&source, Coding::Gzip, 9), Coder::gzip(9)).await;
            let twin = form(cache.entry(&other, Coding::Gzip, 5), Coder::gzip(5)).await;
            assert_ne!(gzip, zstd);
            assert_ne!(gzip.as_ptr(), best.as_ptr());
            assert_eq!(gzip, twin);
            assert_ne!(gzip.as_ptr(), twin.as_ptr());
        });
    }

    #[test]
    fn memory_is_bounded() {
        let mut cache = CompressedCache::new(64 * 1024);
        let sources: Vec<Bytes> = (0..100).map(|_| text(2000)).collect();
        for source in &sources {
            cache.entry(source, Coding::Gzip, 5);
        }
        assert!(cache.0.weight() <= 64 * 1024);
        assert!(cache.0.len() > 5);
    }
}
