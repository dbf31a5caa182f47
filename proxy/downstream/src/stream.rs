//! A client's byte stream, in plaintext or TLS.

mod aliased;
mod gathered;

use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use self::aliased::Begin;
pub(crate) use self::gathered::Gathered;
use crate::activity::Activity;

/// A client's byte stream: what [`hyper::upgrade::Upgraded`] can be downcast to, inside
/// `hyper_util::rt::TokioIo`.
#[derive(Debug)]
pub struct Stream {
    transport: Transport,
    /// What was read too early, and is read again first.
    unread: Bytes,
    activity: Arc<Activity>,
}

#[derive(Debug)]
enum Transport {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl Stream {
    /// Straight TCP.
    pub(crate) fn plain(socket: Socket) -> Self {
        let activity = Arc::clone(&socket.activity);
        Self {
            transport: Transport::Plain(socket),
            unread: Bytes::new(),
            activity,
        }
    }

    /// TLS over TCP.
    pub(crate) fn tls(stream: TlsStream<Socket>) -> Self {
        let activity = Arc::clone(&stream.get_ref().0.activity);
        Self {
            transport: Transport::Tls(Box::new(stream)),
            unread: Bytes::new(),
            activity,
        }
    }

    /// Gives back what was read too early.
    pub(crate) fn unread(&mut self, bytes: Bytes) {
        self.unread = bytes;
    }

    /// Waits until there is something to read. Only for a stream that has been read until there was
    /// nothing more, since it looks at the socket alone.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match &self.transport {
            Transport::Plain(socket) => socket.tcp.readable().await,
            Transport::Tls(stream) => stream.get_ref().0.tcp.readable().await,
        }
    }

    /// The TCP connection below, for when all of HTTP and TLS is said.
    pub(crate) fn into_tcp(self) -> TcpStream {
        match self.transport {
            Transport::Plain(socket) => socket.tcp,
            Transport::Tls(stream) => stream.into_inner().0.tcp,
        }
    }
}

macro_rules! dispatch {
    ($self:ident, $inner:ident => $call:expr) => {
        match &mut $self.transport {
            Transport::Plain($inner) => {
                let $inner = Pin::new($inner);
                $call
            }
            Transport::Tls($inner) => {
                let $inner = Pin::new($inner.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let len = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread.split_to(len));
            return Poll::Ready(Ok(()));
        }
        dispatch!(self, stream => stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.activity.written();
        if let Transport::Tls(tls) = &mut self.transport {
            let begun = write_begin(tls, slices)?;
            if begun > 0 {
                // More is to come at once, and goes to the socket with it.
                return Poll::Ready(Ok(begun));
            }
        }
        dispatch!(self, stream => stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = dispatch!(self, stream => stream.poll_flush(cx));
        if polled.is_ready() {
            self.activity.flushed();
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        dispatch!(self, stream => stream.poll_shutdown(cx))
    }
}

/// Encrypts the begin of a write whose rest is copied faster then; how many bytes of it that was.
fn write_begin(tls: &mut TlsStream<Socket>, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
    match Begin::of(slices) {
        Some(begin) => io::Write::write_vectored(&mut tls.get_mut().1.writer(), begin.slices()),
        None => Ok(0),
    }
}

/// A TCP connection that notes what happens on it.
#[derive(Debug)]
pub(crate) struct Socket {
    tcp: TcpStream,
    activity: Arc<Activity>,
    expects_tls: bool,
    first: [u8; 5],
    first_len: u8,
}

impl Socket {
    pub(crate) fn new(tcp: TcpStream, activity: Arc<Activity>, expects_tls: bool) -> Self {
        Self {
            tcp,
            activity,
            expects_tls,
            first: [0; 5],
            first_len: 0,
        }
    }

    /// Whether HTTP in plaintext came where TLS was expected.
    pub(crate) fn is_http_for_tls(&self) -> bool {
        self.expects_tls
            && self.first_len == 5
            && [
                b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO", b"DELET", b"PATCH",
            ]
            .contains(&&self.first)
    }

    pub(crate) fn into_tcp(self) -> TcpStream {
        self.tcp
    }

    /// Whether the client begins with `preface`, without taking anything away. Waits for as many
    /// bytes as it takes to tell.
    ///
    /// # Errors
    /// When the connection is lost, or closed before that.
    pub(crate) async fn begins_with(&self, preface: &[u8]) -> io::Result<bool> {
        let mut buffer = [0; 16];
        let buffer = &mut buffer[..preface.len()];
        loop {
            let len = self.tcp.peek(buffer).await?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if buffer[..len] != preface[..len] {
                return Ok(false);
            }
            if len == preface.len() {
                return Ok(true);
            }
            // A partial preface stays readable, so waiting for readiness would not wait.
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    fn note_first(&mut self, read: &[u8]) {
        let have = usize::from(self.first_len);
        for (slot, byte) in self.first[have..].iter_mut().zip(read) {
            *slot = *byte;
            self.first_len += 1;
        }
    }

    /// Says what became of the client, if the sweep wants to know.
    pub(crate) fn answer_probe(&self) {
        if !self.activity.is_probed() {
            return;
        }
        let ready = pin!(self.tcp.ready(Interest::READABLE | Interest::WRITABLE));
        let mut cx = Context::from_waker(Waker::noop());
        match ready.poll(&mut cx) {
            Poll::Ready(Ok(ready)) => {
                self.activity
                    .found(ready.is_read_closed(), ready.is_write_closed());
            }
            Poll::Ready(Err(_)) => self.activity.found(true, true),
            Poll::Pending => self.activity.found(false, false),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.tcp).poll_read(cx, buffer);
        if polled.is_pending() {
            self.activity.starved();
        } else if buffer.filled().len() > before {
            self.activity.received();
            if self.first_len < 5 {
                self.note_first(&buffer.filled()[before..]);
            }
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // A TLS alert would only garble the plaintext answer that follows.
        if self.is_http_for_tls() {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_http_for_tls() {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        if let [slice] = slices {
            // Most TLS records: `send` takes a shorter way through the kernel than `writev`.
            return Pin::new(&mut self.tcp).poll_write(cx, slice);
        }
        Pin::new(&mut self.tcp).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.answer_probe();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
