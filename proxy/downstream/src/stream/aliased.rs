//! Writes that the processor would copy slowly into a TLS record.
//!
//! A record is filled from five bytes behind the begin of a page. Where the bytes that go there lie at
//! almost the same place within their own page, only just before it, `rep movsb`, which the C library
//! copies with, takes thirty times as long on AMD's Zen 3 and 4 (3.5 GB/s and not 100), and so do all
//! records that follow, since their length is a multiple of the page's. Large buffers begin where
//! pages do, so that is what most of them are like. A short record in front moves the rest away.

use std::io::IoSlice;

/// Bytes of a page of memory.
const PAGE: usize = 4096;
/// Bytes in front of a record's content (RFC 8446 section 5.1).
const RECORD_HEAD: usize = 5;
/// How far the two places may be apart for a copy to be slow.
const CLOSE: std::ops::Range<usize> = 1..32;
/// The length of what is put in front: half a page away, all is well.
const SHORT: usize = PAGE / 2;
/// Slices that are looked at.
const MOST: usize = 4;

/// The begin of a write that is to be a record of its own.
#[derive(Debug)]
pub(super) struct Begin<'a> {
    slices: [IoSlice<'a>; MOST],
    count: usize,
}

impl<'a> Begin<'a> {
    /// The part of `slices` to be written first; `None` where all can be written as it is.
    pub(super) fn of(slices: &'a [IoSlice<'a>]) -> Option<Self> {
        let mut before = RECORD_HEAD;
        for (at, slice) in slices.iter().enumerate().take(MOST) {
            if slice.len() < PAGE {
                before += slice.len();
                continue;
            }
            let apart = before.wrapping_sub(slice.as_ptr().addr()) % PAGE;
            if !CLOSE.contains(&apart) {
                return None;
            }
            let mut begin = [IoSlice::new(&[]); MOST];
            begin[..at].copy_from_slice(&slices[..at]);
            begin[at] = IoSlice::new(&slice[..SHORT]);
            return Some(Self {
                slices: begin,
                count: at + 1,
            });
        }
        None
    }

    /// The part; never all of the write.
    pub(super) fn slices(&self) -> &[IoSlice<'a>] {
        &self.slices[..self.count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory and where its first page begins.
    fn pages() -> (Vec<u8>, usize) {
        let memory = vec![7; 20 * PAGE];
        let begin = memory.as_ptr().addr().wrapping_neg() % PAGE;
        (memory, begin)
    }

    #[test]
    fn what_begins_with_a_page_is_begun_with_a_short_record() {
        let (memory, page) = pages();
        let head = [0; 7];
        for (offset, has_head, is_slow) in [
            (0, false, true),
            (0, true, true),
            (4, false, true),
            (5, false, false),
            (PAGE - 26, false, true),
            (PAGE - 27, false, false),
            (SHORT, false, false),
            (SHORT, true, false),
        ] {
            let body = IoSlice::new(&memory[page + offset..][..4 * PAGE]);
            let with_head = [IoSlice::new(&head), body];
            let slices = if has_head {
                &with_head[..]
            } else {
                &with_head[1..]
            };
            let begin = Begin::of(slices);
            assert_eq!(begin.is_some(), is_slow, "{offset} {has_head}");
            let Some(begin) = begin else { continue };
            let length: usize = begin.slices().iter().map(|slice| slice.len()).sum();
            assert_eq!(length, SHORT + if has_head { 7 } else { 0 });
            assert_eq!(begin.slices().last().unwrap().as_ptr(), body.as_ptr());
            let rest = [IoSlice::new(&body[SHORT..])];
            assert!(Begin::of(&rest).is_none(), "{offset}: what follows is slow");
        }
    }

    #[test]
    fn short_writes_are_left_alone() {
        let (memory, page) = pages();
        let short = IoSlice::new(&memory[page..page + PAGE - 1]);
        assert!(Begin::of(&[short]).is_none());
        assert!(Begin::of(&[short; 10]).is_none());
        assert!(Begin::of(&[]).is_none());
    }
}
