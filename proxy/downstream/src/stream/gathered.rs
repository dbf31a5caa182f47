//! Several TLS records per system call for HTTP/2.
//!
//! h2 flushes after each DATA frame, of 16 KiB at most. Here a flush is put off until the
//! connection's task has nothing more to say, or the TLS session takes no more.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Stream, Transport, write_begin};

/// Bytes in records that wait to be written: four full frames with their records' overhead.
const BUFFER: usize = 66 << 10;

/// A stream that hyper writes to, and whose flushes are the caller's: see [`Gathered::poll_send`].
#[derive(Clone, Debug)]
pub(crate) struct Gathered {
    stream: Rc<RefCell<Stream>>,
}

impl Gathered {
    pub(crate) fn new(mut stream: Stream) -> Self {
        if let Transport::Tls(tls) = &mut stream.transport {
            tls.get_mut().1.set_buffer_limit(Some(BUFFER));
        }
        Self {
            stream: Rc::new(RefCell::new(stream)),
        }
    }

    /// Sends what was written. To be called whenever the connection has been polled.
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_flush(cx)
    }
}

impl Stream {
    /// Takes what there is room for, and writes to the socket only when there is none.
    fn poll_gather(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Transport::Tls(tls) = &mut self.transport else {
            return Pin::new(self).poll_write_vectored(cx, slices);
        };
        self.activity.written();
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        loop {
            let begun = write_begin(tls, slices)?;
            if begun > 0 {
                return Poll::Ready(Ok(begun));
            }
            let written = io::Write::write_vectored(&mut tls.get_mut().1.writer(), slices)?;
            if written > 0 {
                return Poll::Ready(Ok(written));
            }
            ready!(Pin::new(tls.as_mut()).poll_flush(cx))?;
        }
    }
}

impl AsyncRead for Gathered {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Gathered {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream
            .borrow_mut()
            .poll_gather(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.borrow_mut().poll_gather(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(cx)
    }
}
