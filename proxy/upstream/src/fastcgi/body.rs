//! The body of a script's response, and what it wrote to its standard error.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use tokio::io::ReadHalf;

use super::reader::{End, Piece, Reader};
use super::upload::Upload;
use crate::stream::Stream;

/// As much of a request's standard error is kept, in bytes.
const LONGEST: usize = 8 << 10;

/// Told what scripts write to their standard error.
pub trait ScriptLog: Send + Sync {
    /// One request's standard error, perhaps cut short, and the status of its response if there
    /// was one. Called once, when the request is over.
    fn wrote(&self, text: &str, status: Option<StatusCode>);
}

/// What a script wrote to its standard error; told when it is dropped.
pub(super) struct Errors {
    log: Arc<dyn ScriptLog>,
    text: Vec<u8>,
    pub(super) status: Option<StatusCode>,
}

/// The body of a script's response. Dropping it closes the connection.
pub(crate) struct ScriptBody {
    /// What came with the head.
    first: Bytes,
    /// `None` once the request is over.
    rest: Option<Rest>,
}

struct Rest {
    reader: Reader<ReadHalf<Stream>>,
    errors: Errors,
    _upload: Option<Upload>,
}

impl Errors {
    pub(super) fn new(log: Arc<dyn ScriptLog>) -> Self {
        Self {
            log,
            text: Vec::new(),
            status: None,
        }
    }

    pub(super) fn push(&mut self, text: &[u8]) {
        let room = LONGEST.saturating_sub(self.text.len());
        self.text.extend_from_slice(&text[..text.len().min(room)]);
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        let text = text.trim_end();
        if !text.is_empty() {
            self.log.wrote(text, self.status);
        }
    }
}

impl ScriptBody {
    pub(super) fn new(
        first: Bytes,
        reader: Reader<ReadHalf<Stream>>,
        errors: Errors,
        upload: Option<Upload>,
    ) -> Self {
        Self {
            first,
            rest: Some(Rest {
                reader,
                errors,
                _upload: upload,
            }),
        }
    }

    /// The body of a response that came whole.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self {
            first: bytes,
            rest: None,
        }
    }

    /// The next bytes; `None` at the end.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.first))));
        }
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let polled = loop {
            match ready!(rest.reader.poll_piece(cx)) {
                Ok(Piece::Errors(text)) => rest.errors.push(&text),
                Ok(Piece::Output(data)) => return Poll::Ready(Some(Ok(data))),
                Ok(Piece::End(End::Complete)) => break None,
                Ok(Piece::End(End::Refused(reason))) => break Some(Err(io::Error::other(reason))),
                Err(error) => break Some(Err(error)),
            }
        };
        self.rest = None;
        Poll::Ready(polled)
    }

    /// Gives the rest up.
    pub(crate) fn abandon(&mut self) {
        self.rest = None;
        self.first = Bytes::new();
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.first.is_empty()
    }

    /// The length, once all of it is there.
    pub(crate) fn length(&self) -> Option<u64> {
        self.rest.is_none().then_some(self.first.len() as u64)
    }
}
