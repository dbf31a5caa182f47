//! The response body over HTTP: bytes in memory, or a file that is read while it is sent.
//!
//! What the kernel has in memory is read in place. Once it has to wait for the disk, reading moves
//! to the blocking pool and keeps one chunk ahead of what is being sent, so that a response never
//! holds more than two chunks.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;
use tokio::task::JoinHandle;

use super::content::{Content, FileSlice, Piece};
use crate::volume::Lookup;

/// Bytes read at a time: enough to make the system call cheap beside the copying.
const CHUNK: usize = 128 * 1024;

/// A response body.
#[derive(Debug)]
pub struct Body {
    state: State,
    rest: std::vec::IntoIter<Piece>,
    /// Bytes that are yet to come.
    left: u64,
    sent: Counter,
}

#[derive(Debug)]
enum State {
    Done,
    Bytes(Bytes),
    File(Stream),
}

#[derive(Debug)]
struct Stream {
    slice: Arc<FileSlice>,
    next: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Body {
    /// A body that counts its bytes in `sent`.
    pub fn new(content: Content, sent: Counter) -> Self {
        let (state, rest) = match content {
            Content::Empty => (State::Done, Vec::new()),
            Content::Bytes(bytes) => (Piece::Bytes(bytes).into(), Vec::new()),
            Content::File(slice) => (Piece::File(slice).into(), Vec::new()),
            Content::Pieces(pieces) => (State::Done, pieces),
        };
        Self {
            left: state.length() + rest.iter().map(Piece::length).sum::<u64>(),
            state,
            rest: rest.into_iter(),
            sent,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let chunk = loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Done => match self.rest.next() {
                    Some(piece) => self.state = piece.into(),
                    None => return Poll::Ready(None),
                },
                State::Bytes(bytes) => break Ok(bytes),
                State::File(mut stream) => {
                    let Poll::Ready(chunk) = stream.poll_chunk(cx) else {
                        self.state = State::File(stream);
                        return Poll::Pending;
                    };
                    if chunk.is_ok() && stream.next < stream.slice.bytes.end {
                        self.state = State::File(stream);
                    } else if let Err(error) = &chunk {
                        let path = &stream.slice.path;
                        tracing::warn!(path, %error, "a transfer was broken off while a file was sent");
                    }
                    break chunk;
                }
            }
        };
        match &chunk {
            Ok(chunk) => {
                self.sent.inc_by(chunk.len() as u64);
                self.left -= chunk.len() as u64;
            }
            Err(_) => self.rest = Vec::new().into_iter(),
        }
        Poll::Ready(Some(chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl State {
    fn length(&self) -> u64 {
        match self {
            Self::Done => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(stream) => stream.slice.bytes.end - stream.next,
        }
    }
}

impl From<Piece> for State {
    fn from(piece: Piece) -> Self {
        match piece {
            Piece::Bytes(bytes) if bytes.is_empty() => Self::Done,
            Piece::Bytes(bytes) => Self::Bytes(bytes),
            Piece::File(slice) => Self::File(Stream {
                next: slice.bytes.start,
                slice: Arc::new(slice),
                reading: None,
            }),
        }
    }
}

impl Stream {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut is_from_disk = true;
        let read = match &mut self.reading {
            Some(reading) => ready!(Pin::new(reading).poll(cx))
                .unwrap_or_else(|error| Err(io::Error::other(error))),
            None => match self.slice.read(self.next, CHUNK, Lookup::Cached) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.start(self.next).poll_chunk(cx);
                }
                other => {
                    is_from_disk = false;
                    other
                }
            },
        };
        self.reading = None;
        let chunk = read?;
        self.next += chunk.len() as u64;
        if is_from_disk && self.next < self.slice.bytes.end {
            self.start(self.next);
        }
        Poll::Ready(Ok(chunk))
    }

    fn start(&mut self, offset: u64) -> &mut Self {
        let slice = Arc::clone(&self.slice);
        let read = move || slice.read(offset, CHUNK, Lookup::Full);
        self.reading = Some(tokio::task::spawn_blocking(read));
        self
    }
}
