//! What follows a response head: nothing, bytes, or a part of an open file.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use proto::handoff::{read_cached, read_full};

use crate::volume::{Lookup, Snapshot};

/// What follows a response head.
#[derive(Debug)]
pub enum Content {
    /// Nothing.
    Empty,
    /// Bytes that are read already.
    Bytes(Bytes),
    /// A part of a file, to be read as it is sent.
    File(FileSlice),
    /// Several of these, one after the other.
    Pieces(Vec<Piece>),
}

/// One of several pieces of content.
#[derive(Debug)]
pub enum Piece {
    /// Bytes that are read already.
    Bytes(Bytes),
    /// A part of a file, to be read as it is sent.
    File(FileSlice),
}

/// A part of an open file, and the state of the file that the response head describes.
#[derive(Clone, Debug)]
pub struct FileSlice {
    /// The file.
    pub file: Arc<OwnedFd>,
    /// Its state when the response head was made.
    pub snapshot: Snapshot,
    /// Which bytes of it; never empty, within its size.
    pub bytes: Range<u64>,
    /// Its path as requests name it, for the log.
    pub path: String,
}

impl Piece {
    /// Bytes of it.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(slice) => slice.bytes.end - slice.bytes.start,
        }
    }
}

impl FileSlice {
    /// Reads up to `limit` bytes at `offset`, which lies within the slice, and checks that the file
    /// is still the one of the response head.
    ///
    /// # Errors
    /// `WouldBlock` with [`Lookup::Cached`] when the disk is needed; `UnexpectedEof` when the file
    /// was cut short; `InvalidData` when it was written to; else what the system says.
    pub fn read(&self, offset: u64, limit: usize, lookup: Lookup) -> io::Result<Bytes> {
        let left = usize::try_from(self.bytes.end - offset).unwrap_or(usize::MAX);
        let mut chunk = vec![0; left.min(limit)];
        let count = match lookup {
            Lookup::Cached => read_cached(&self.file, &mut chunk, offset),
            Lookup::Full => read_full(&self.file, &mut chunk, offset),
        }?;
        chunk.truncate(count);
        if chunk.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file was cut short",
            ));
        }
        if !self.snapshot.has_content_of(&Snapshot::of(&self.file)?) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the file was written to",
            ));
        }
        Ok(chunk.into())
    }
}
