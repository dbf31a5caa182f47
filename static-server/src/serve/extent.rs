//! Which bytes of a file answer a request, and the content that they make.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proto::representation::multipart::Multipart;

use super::content::{Content, FileSlice, Piece};
use super::error::ServeError;
use super::resolve::Representation;
use crate::volume::Lookup;

/// Content up to this size is read while the request is answered, bigger ones while it is sent.
const SMALL: u64 = 64 * 1024;

/// Which bytes of a file answer a request.
#[derive(Debug)]
pub enum Extent {
    /// Bytes in a row: all of it, or one part.
    One(Range<u64>),
    /// Several parts in a frame.
    Several(Multipart),
}

impl Extent {
    /// Bytes of the content.
    pub fn length(&self) -> u64 {
        match self {
            Self::One(part) => part.end - part.start,
            Self::Several(multipart) => multipart.length,
        }
    }

    /// The content.
    ///
    /// # Errors
    /// [`ServeError::WouldBlock`] with [`Lookup::Cached`]; [`ServeError::Changing`] when the file
    /// is no longer the one that was found; else what reading says.
    pub fn content(self, found: Representation, lookup: Lookup) -> Result<Content, ServeError> {
        let (is_small, is_empty) = (self.length() <= SMALL, self.length() == 0);
        if is_empty {
            return Ok(Content::Empty);
        }
        let path = String::from_utf8(found.path)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        let whole = FileSlice {
            file: Arc::new(found.sent.file),
            snapshot: found.sent.snapshot,
            path,
            bytes: 0..found.sent.snapshot.size,
        };
        let slice = |bytes| FileSlice {
            bytes,
            ..whole.clone()
        };
        match self {
            Self::One(part) if is_small => read(&slice(part), lookup).map(Content::Bytes),
            Self::One(part) => Ok(Content::File(slice(part))),
            Self::Several(multipart) if is_small => {
                let mut all = BytesMut::new();
                for (head, part) in multipart.parts {
                    all.extend_from_slice(&head);
                    all.extend_from_slice(&read(&slice(part), lookup)?);
                }
                all.extend_from_slice(&multipart.end);
                Ok(Content::Bytes(all.freeze()))
            }
            Self::Several(multipart) => {
                let mut pieces = Vec::with_capacity(2 * multipart.parts.len() + 1);
                for (head, part) in multipart.parts {
                    pieces.push(Piece::Bytes(head));
                    pieces.push(Piece::File(slice(part)));
                }
                pieces.push(Piece::Bytes(multipart.end));
                Ok(Content::Pieces(pieces))
            }
        }
    }
}

/// Reads all of a slice.
fn read(slice: &FileSlice, lookup: Lookup) -> Result<Bytes, ServeError> {
    let limit = usize::try_from(slice.bytes.end - slice.bytes.start).unwrap_or(usize::MAX);
    let changing = || ServeError::Changing {
        path: slice.path.clone(),
    };
    match slice.read(slice.bytes.start, limit, lookup) {
        Ok(bytes) if bytes.len() == limit => Ok(bytes),
        // Part of it in memory, or cut short: the disk knows.
        Ok(_) if lookup == Lookup::Cached => Err(ServeError::WouldBlock),
        Ok(_) => Err(changing()),
        Err(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Err(changing()),
            _ => Err(ServeError::from_io(error, slice.path.as_bytes())),
        },
    }
}
