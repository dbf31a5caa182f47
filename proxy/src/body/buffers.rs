//! Buffers for chunks of files, used again and again.
//!
//! A worker's buffers are its thread's own. A response has one chunk on its way at a time, and two
//! while it waits for the disk; when many slow clients hold chunks, new ones are small, so that
//! memory grows slowly with their number.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a chunk.
pub(crate) const CHUNK: usize = 128 * 1024;
/// Bytes of a chunk while many are on their way.
const SMALL_CHUNK: usize = 16 * 1024;
/// Bytes in chunks on their way, of one worker, from which on new chunks are small.
const CROWDED: usize = 64 << 20;
/// Buffers that a thread keeps.
const KEPT: usize = 32;

/// Bytes of a page of memory.
const PAGE: usize = 4096;
/// Where in a page a chunk begins: half a page away from where TLS records are filled from it, so that
/// each of its records is copied fast (`downstream::stream::aliased`) and none has to be a short one.
const BEGIN: usize = PAGE / 2;

/// A buffer that goes back to its thread's pool when it is dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    begin: usize,
    filled: usize,
    lent: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Pool {
    free: Vec<Vec<u8>>,
    /// Bytes in buffers that were lent from here, wherever they are.
    lent: Arc<AtomicUsize>,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// A buffer for the next bytes of `range`: with room for all of them, or for a chunk.
pub(crate) fn lend(range: &Range<u64>) -> Buffer {
    let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    POOL.with_borrow_mut(|pool| {
        let chunk = if pool.lent.load(Ordering::Relaxed) < CROWDED {
            CHUNK
        } else {
            SMALL_CHUNK
        };
        let size = wanted.min(chunk);
        // Only whole chunks are worth keeping; what is smaller costs no more than it holds.
        let is_pooled = size > CHUNK / 2;
        let (bytes, begin) = if is_pooled {
            let bytes = pool.free.pop().unwrap_or_else(|| vec![0; CHUNK + PAGE]);
            let begin = BEGIN.wrapping_sub(bytes.as_ptr().addr()) % PAGE;
            (bytes, begin)
        } else {
            (vec![0; size], 0)
        };
        pool.lent.fetch_add(bytes.len(), Ordering::Relaxed);
        Buffer {
            filled: size,
            bytes,
            begin,
            lent: Arc::clone(&pool.lent),
        }
    })
}

impl Buffer {
    /// Where to read to.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.begin..self.begin + self.filled]
    }

    /// Bytes that are in it.
    pub(crate) fn filled(&self) -> usize {
        self.filled
    }

    /// Says how many bytes of [`Self::room`] were read.
    pub(crate) fn set_filled(&mut self, count: usize) {
        self.filled = count.min(self.filled);
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.begin..self.begin + self.filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.lent.fetch_sub(bytes.len(), Ordering::Relaxed);
        if bytes.len() != CHUNK + PAGE {
            return;
        }
        // A thread that ends, and one of the blocking pool, have no use for it.
        let _ = POOL.try_with(|pool| {
            if let Ok(mut pool) = pool.try_borrow_mut()
                && Arc::ptr_eq(&pool.lent, &self.lent)
                && pool.free.len() < KEPT
            {
                pool.free.push(bytes);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, CHUNK, CROWDED, PAGE, SMALL_CHUNK, lend};

    #[test]
    fn buffers_are_used_again() {
        let first = lend(&(0..1 << 20));
        let place = first.as_ref().as_ptr();
        drop(first);
        let mut second = lend(&(5..5 + CHUNK as u64 - 1));
        assert_eq!(second.as_ref().as_ptr(), place);
        assert_eq!(second.room().len(), CHUNK - 1);
        second.set_filled(7);
        assert_eq!(second.as_ref().len(), 7);
        assert_eq!(lend(&(0..10)).room().len(), 10);
    }

    #[test]
    fn chunks_begin_within_a_page() {
        let held = [lend(&(0..1 << 20)), lend(&(0..1 << 20))];
        for chunk in &held {
            assert_eq!(chunk.as_ref().as_ptr().addr() % PAGE, BEGIN);
        }
    }

    #[test]
    fn many_clients_get_small_chunks() {
        let lend = || lend(&(0..1 << 30));
        let chunks = CROWDED.div_ceil(CHUNK + PAGE);
        let mut held: Vec<_> = (0..chunks).map(|_| lend()).collect();
        assert!(held.iter().all(|buffer| buffer.filled() == CHUNK));
        assert_eq!(lend().filled(), SMALL_CHUNK);
        held.truncate(held.len() - 1);
        assert_eq!(lend().filled(), CHUNK);
    }
}
