//! A response body that is compressed as it streams.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::Level;
use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder};
use bytes::{Buf as _, Bytes};
use futures_util::FutureExt as _;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::ResponseBody;

/// Compresses into memory.
pub(crate) enum Coder {
    Br(Box<BrotliEncoder<Vec<u8>>>),
    Gzip(Box<GzipEncoder<Vec<u8>>>),
    Zstd(Box<ZstdEncoder<Vec<u8>>>),
}

/// A body and what compresses it. Whenever the inner body has nothing more at the moment, what
/// was compressed so far is flushed, so that server-sent events arrive at once.
pub struct Encoded {
    body: ResponseBody,
    coder: Coder,
    trailers: Option<Frame<Bytes>>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Everything that was written has been flushed.
    Flushed,
    /// The coder holds bytes that were not flushed.
    Pending,
    /// The inner body ended and the coder was finished.
    Finished,
}

/// Output is handed on once it has this many bytes; less waits for more input or a pause.
const CHUNK: usize = 32 * 1024;

impl Coder {
    /// Brotli of a quality from 0 to 11.
    pub(crate) fn br(quality: i32) -> Self {
        Self::Br(Box::new(BrotliEncoder::with_quality(
            Vec::new(),
            Level::Precise(quality),
        )))
    }

    /// gzip of a level from 1 to 9.
    pub(crate) fn gzip(level: i32) -> Self {
        Self::Gzip(Box::new(GzipEncoder::with_quality(
            Vec::new(),
            Level::Precise(level),
        )))
    }

    /// Zstandard of a level from 1 to 22.
    pub(crate) fn zstd(level: i32) -> Self {
        Self::Zstd(Box::new(ZstdEncoder::with_quality(
            Vec::new(),
            Level::Precise(level),
        )))
    }

    /// All of `data`, compressed at once.
    ///
    /// # Errors
    /// When the coder fails.
    pub(crate) fn compress(mut self, data: &[u8]) -> io::Result<Bytes> {
        let writing = async {
            let mut writer = self.writer();
            writer.write_all(data).await?;
            writer.shutdown().await
        };
        // Memory never has to be waited for.
        writing
            .now_or_never()
            .unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))?;
        Ok(Bytes::from(std::mem::take(self.output())))
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match self {
            Self::Br(encoder) => Pin::new(&mut **encoder),
            Self::Gzip(encoder) => Pin::new(&mut **encoder),
            Self::Zstd(encoder) => Pin::new(&mut **encoder),
        }
    }

    fn output(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Br(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        }
    }
}

impl Encoded {
    pub(crate) fn new(body: ResponseBody, coder: Coder) -> Self {
        Self {
            body,
            coder,
            trailers: None,
            state: State::Flushed,
        }
    }

    fn take_output(&mut self) -> Option<Frame<Bytes>> {
        let output = self.coder.output();
        (!output.is_empty()).then(|| Frame::data(Bytes::from(std::mem::take(output))))
    }
}

impl Body for Encoded {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.state == State::Finished {
            return Poll::Ready(this.trailers.take().map(Ok));
        }
        loop {
            if this.coder.output().len() >= CHUNK {
                return Poll::Ready(this.take_output().map(Ok));
            }
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Pending if this.state == State::Pending => {
                    ready!(this.coder.writer().poll_flush(context))?;
                    this.state = State::Flushed;
                    if let Some(frame) = this.take_output() {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(mut data) => {
                        while data.has_remaining() {
                            let written = ready!(this.coder.writer().poll_write(context, &data))?;
                            data.advance(written);
                        }
                        this.state = State::Pending;
                    }
                    Err(trailers) => this.trailers = Some(trailers),
                },
                Poll::Ready(None) => {
                    ready!(this.coder.writer().poll_shutdown(context))?;
                    this.state = State::Finished;
                    let frame = this.take_output().or_else(|| this.trailers.take());
                    return Poll::Ready(frame.map(Ok));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Finished && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
