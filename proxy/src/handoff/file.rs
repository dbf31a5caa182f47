//! A body that is read from an open file while it is sent.
//!
//! What the kernel has in memory is read in place. Once it has to wait for the disk, reading moves
//! to a blocking thread and keeps one chunk ahead of what is being sent.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use proto::handoff::{FileState, read_cached, read_full};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use crate::body::buffers::{self, Buffer};
use crate::log_limit::LogLimit;

static BROKEN: LogLimit = LogLimit::new();

/// An open file, and the state that the response head describes.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(super) descriptor: OwnedFd,
    pub(super) state: FileState,
    /// Its path as requests name it, for the log.
    pub(super) path: String,
    /// Counts among the worker's open files.
    pub(super) _permit: Option<OwnedSemaphorePermit>,
}

/// A piece of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes at hand.
    Literal(Bytes),
    /// Bytes of the file.
    Range(Range<u64>),
}

/// A body of pieces of one file, and of bytes between them.
#[derive(Debug)]
pub struct FileBody {
    /// What is still to be sent; none is empty.
    pieces: VecDeque<Piece>,
    file: Arc<OpenFile>,
    reading: Option<JoinHandle<io::Result<Buffer>>>,
}

impl OpenFile {
    /// Checks that what was read is what the response head describes.
    fn check(&self, count: usize) -> io::Result<()> {
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file was cut short",
            ));
        }
        if FileState::of(&self.descriptor)? != Some(self.state) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the file was written to",
            ));
        }
        Ok(())
    }

    fn read_cached(&self, mut buffer: Buffer, offset: u64) -> Result<Buffer, (Buffer, io::Error)> {
        let read = read_cached(&self.descriptor, buffer.room(), offset);
        match read.and_then(|count| self.check(count).map(|()| count)) {
            Ok(count) => {
                buffer.set_filled(count);
                Ok(buffer)
            }
            Err(error) => Err((buffer, error)),
        }
    }

    fn read_full(&self, mut buffer: Buffer, offset: u64) -> io::Result<Buffer> {
        let count = read_full(&self.descriptor, buffer.room(), offset)?;
        self.check(count)?;
        buffer.set_filled(count);
        Ok(buffer)
    }
}

impl Piece {
    /// Bytes.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Literal(bytes) => bytes.len() as u64,
            Self::Range(range) => range.end - range.start,
        }
    }
}

impl FileBody {
    /// A body of `pieces`, of which none is empty and all ranges lie within `file`.
    pub(super) fn new(pieces: VecDeque<Piece>, file: Arc<OpenFile>) -> Self {
        Self {
            pieces,
            file,
            reading: None,
        }
    }

    fn left(&self) -> u64 {
        self.pieces.iter().map(Piece::length).sum()
    }

    fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
        range: &Range<u64>,
    ) -> Poll<io::Result<Bytes>> {
        let mut is_from_disk = true;
        let buffer = loop {
            if let Some(reading) = &mut self.reading {
                let read = ready!(Pin::new(reading).poll(context));
                self.reading = None;
                break read.unwrap_or_else(|error| Err(io::Error::other(error)))?;
            }
            match self.file.read_cached(buffers::lend(range), range.start) {
                Ok(buffer) => {
                    is_from_disk = false;
                    break buffer;
                }
                Err((buffer, error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.read_from_disk(buffer, range.start);
                }
                Err((_, error)) => return Poll::Ready(Err(error)),
            }
        };
        let rest = range.start + buffer.filled() as u64..range.end;
        if is_from_disk && !rest.is_empty() {
            self.read_from_disk(buffers::lend(&rest), rest.start);
        }
        Poll::Ready(Ok(Bytes::from_owner(buffer)))
    }

    fn read_from_disk(&mut self, buffer: Buffer, offset: u64) {
        let file = Arc::clone(&self.file);
        let read = move || file.read_full(buffer, offset);
        self.reading = Some(tokio::task::spawn_blocking(read));
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let range = match self.pieces.front() {
            None => return Poll::Ready(None),
            Some(Piece::Range(range)) => range.clone(),
            Some(Piece::Literal(bytes)) => {
                let bytes = bytes.clone();
                self.pieces.pop_front();
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        };
        let chunk = match ready!(self.poll_chunk(context, &range)) {
            Ok(chunk) => chunk,
            Err(error) => {
                self.pieces.clear();
                if let Some(suppressed) = BROKEN.permit() {
                    let path = &self.file.path;
                    tracing::warn!(
                        path,
                        %error,
                        suppressed,
                        "a transfer was broken off while a file was sent"
                    );
                }
                return Poll::Ready(Some(Err(error.into())));
            }
        };
        let rest = range.start + chunk.len() as u64..range.end;
        if rest.is_empty() {
            self.pieces.pop_front();
        } else {
            self.pieces[0] = Piece::Range(rest);
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}
