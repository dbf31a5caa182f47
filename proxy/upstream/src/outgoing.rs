//! The request body on its way to the upstream.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

/// A request body: held back where the client waits for `100 Continue` (RFC 9110 section 10.1.1),
/// and telling when it was sent where somebody measures the time from there.
pub(crate) struct Outgoing<B> {
    body: B,
    gate: Option<Arc<Gate>>,
    /// Dropped with the body, which is how the other end learns that it was sent.
    sent: Option<oneshot::Sender<()>>,
}

/// Opens when the upstream asks for the body.
#[derive(Default)]
pub(crate) struct Gate {
    is_open: AtomicBool,
    waker: AtomicWaker,
}

/// The body itself failed, as opposed to the connection it was sent on.
#[derive(Debug)]
pub(crate) struct RequestBodyError(pub(crate) Box<dyn Error + Send + Sync>);

impl<B> Outgoing<B> {
    pub(crate) fn new(body: B, gate: Option<Arc<Gate>>, sent: Option<oneshot::Sender<()>>) -> Self {
        Self { body, gate, sent }
    }

    pub(crate) fn into_inner(self) -> B {
        self.body
    }
}

impl Gate {
    pub(crate) fn open(&self) {
        self.is_open.store(true, Ordering::Release);
        self.waker.wake();
    }

    fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_open.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        // It may have been opened between the look and the registration.
        if self.is_open.load(Ordering::Acquire) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl<B> Body for Outgoing<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(gate) = &self.gate {
            if gate.poll_open(cx).is_pending() {
                return Poll::Pending;
            }
            self.gate = None;
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) {
            self.sent = None;
        }
        polled.map_err(|error| RequestBodyError(error.into()))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Display for RequestBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reading the request body")
    }
}

impl Error for RequestBodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
