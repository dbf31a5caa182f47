//! One connection from its first byte to its last.

mod client_hello;
mod http1;

use std::cell::OnceCell;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{Entry, Order, Worker};
use crate::activity::{Activity, State};
use crate::body::{Request, TrackedBody};
use crate::connection::{Alpn, Connection, TlsSession, canonical};
use crate::listener::ListenerConfig;
use crate::stream::{Gathered, Socket, Stream};
use crate::tls::{TlsSettings, is_challenge, with_local_address};
use crate::{Abort, Edge};

/// What a client of HTTP/2 in plaintext sends first (RFC 9113 section 3.4); this much of it cannot
/// be anything else.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// Streams that a client may have open at once. Go: 250.
const HTTP2_STREAMS: u32 = 250;
/// What a client may send ahead on one stream, in bytes. Go: 1 MiB.
const HTTP2_STREAM_WINDOW: u32 = 1 << 20;
/// What a client may send ahead in all, so that one stalled upload does not stop the others.
const HTTP2_CONNECTION_WINDOW: u32 = 2 << 20;
/// What is buffered of a response that a client is slow to take, in bytes.
const HTTP2_SEND_BUFFER: usize = 256 << 10;

/// What a plaintext request to a TLS port is told. Go: the same words.
const HTTP_FOR_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
Connection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Serves one accepted connection.
pub(super) async fn connection<E: Edge>(
    worker: Rc<Worker<E>>,
    listener: Arc<ListenerConfig>,
    tcp: TcpStream,
    peer: SocketAddr,
) {
    let Ok(local) = tcp.local_addr() else {
        return; // Reset while it was in the queue.
    };
    let (peer, local) = (canonical(peer), canonical(local));
    let state = if listener.tls.is_some() {
        State::Handshake
    } else {
        State::New
    };
    let activity = Activity::new(state, Arc::clone(&worker.counters));
    let entry = Rc::new(Entry {
        activity: Arc::clone(&activity),
        limits: listener.timeouts.limits(),
        address: listener.address,
        order: Cell::new(Order::Serve),
        is_parked: Cell::new(false),
        waker: RefCell::default(),
    });
    let registration = worker.register(Rc::clone(&entry));
    let socket = Socket::new(tcp, activity, listener.tls.is_some());
    // Boxed, and so gone when it is done: a handshake needs far more room than what follows.
    let established = Box::pin(establish(&entry, &listener, socket, local)).await;
    let Some((stream, tls, is_http2)) = established else {
        return;
    };
    if if is_http2 {
        !listener.http2
    } else {
        !listener.http1
    } {
        return;
    }
    entry.activity.begin(is_http2);
    if worker.is_draining.get() {
        entry.tell(Order::Finish);
    }
    let connection = Rc::new(Connection {
        peer,
        local,
        tls,
        listener,
        peer_value: OnceCell::new(),
    });
    let http = Http {
        edge: Rc::clone(&worker.edge),
        entry,
        connection,
    };
    if is_http2 {
        Box::pin(http.serve_http2(stream)).await;
    } else if let Some(tcp) = http.serve_http1(stream).await {
        drop(registration);
        Box::pin(http1::linger(tcp)).await;
    }
}

/// What a request comes to.
type Answer<E> = Result<http::Response<TrackedBody<<E as Edge>::Body>>, Abort>;

/// What serves the requests of one connection.
struct Http<E> {
    edge: Rc<E>,
    entry: Rc<Entry>,
    connection: Rc<Connection>,
}

impl<E: Edge> Http<E> {
    async fn serve_http2(self, stream: Stream) {
        let http = http2(&self.connection.listener);
        let service = service_fn(|request| self.answer(request));
        let stream = Gathered::new(stream);
        let served = http.serve_connection(TokioIo::new(stream.clone()), service);
        let mut sending = Sending { served, stream };
        supervise(&self.entry, &mut sending, |sending| {
            Pin::new(&mut sending.served).graceful_shutdown()
        })
        .await;
    }

    /// Answers one request.
    ///
    /// Boxed: an idle HTTP/1 connection would otherwise hold room for its next request's whole
    /// future.
    fn answer(
        &self,
        request: http::Request<Incoming>,
    ) -> Pin<Box<impl Future<Output = Answer<E>> + use<E>>> {
        let tracked = Some(Request::begin(Rc::clone(&self.entry)));
        let answered = self.edge.serve(Rc::clone(&self.connection), request);
        Box::pin(Answering { answered, tracked })
    }
}

pin_project! {
    /// Counts the body of an answer in. An `async` block would hold the edge's future twice, once
    /// as it was given and once as it is run, and its size is copied for every request.
    struct Answering<F> {
        #[pin]
        answered: F,
        tracked: Option<Request>,
    }
}

impl<F, B> Future for Answering<F>
where
    F: Future<Output = Result<http::Response<B>, Abort>>,
{
    type Output = Result<http::Response<TrackedBody<B>>, Abort>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.answered.poll(cx))?;
        let tracked = this.tracked.take().expect("polled after it was ready");
        Poll::Ready(Ok(response.map(|body| TrackedBody::new(body, tracked))))
    }
}

/// A connection whose stream is flushed once all that can be written has been.
struct Sending<C> {
    served: C,
    stream: Gathered,
}

impl<C, Error> Future for Sending<C>
where
    C: Future<Output = Result<(), Error>> + Unpin,
{
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.served).poll(cx);
        // An error comes back to the connection, which reads from the same socket.
        let _ = self.stream.poll_send(cx);
        polled
    }
}

/// What a connection came to.
enum Ended {
    /// Closed, by either side. `is_clean` tells that this was between two requests.
    Closed { is_clean: bool },
    /// At rest for a while, and to be set aside until the client sends something.
    Parked,
}

/// Drives a connection to its end, passing on the orders of its worker; `None` when the order was to
/// abort.
async fn supervise<C, Error>(entry: &Entry, mut conn: C, finish: impl Fn(&mut C)) -> Option<Ended>
where
    C: Future<Output = Result<(), Error>> + Unpin,
    Error: std::fmt::Display,
{
    let mut is_finishing = false;
    poll_fn(|cx| {
        match entry.poll_order(cx) {
            Order::Abort => return Poll::Ready(None),
            Order::Finish if !is_finishing => {
                is_finishing = true;
                finish(&mut conn);
            }
            Order::Park => {
                entry.order.set(Order::Serve);
                if entry.activity.is_at_rest() {
                    return Poll::Ready(Some(Ended::Parked));
                }
            }
            Order::Finish | Order::Serve => {}
        }
        let ended = ready!(Pin::new(&mut conn).poll(cx));
        if let Err(error) = &ended {
            tracing::debug!(%error, "a client's connection ended early");
        }
        Poll::Ready(Some(Ended::Closed {
            is_clean: ended.is_ok(),
        }))
    })
    .await
}

/// Gets a connection to where HTTP begins: the stream, its TLS session, and whether HTTP/2 follows.
async fn establish(
    entry: &Entry,
    listener: &ListenerConfig,
    socket: Socket,
    local: SocketAddr,
) -> Option<(Stream, Option<TlsSession>, bool)> {
    if let Some(tls) = &listener.tls {
        let (stream, session) = handshake(entry, tls, socket, local).await?;
        let is_http2 = session.alpn == Some(Alpn::Http2);
        return Some((stream, Some(session), is_http2));
    }
    let is_http2 = match (listener.http1, listener.http2) {
        (_, false) => false,
        (false, true) => true,
        (true, true) => {
            let asked = std::pin::pin!(socket.begins_with(PREFACE));
            entry.until_abort(asked).await?.ok()?
        }
    };
    Some((Stream::plain(socket), None, is_http2))
}

async fn handshake(
    entry: &Entry,
    tls: &TlsSettings,
    socket: Socket,
    local: SocketAddr,
) -> Option<(Stream, TlsSession)> {
    let accept = if tls.awaits_hello() {
        match client_hello::begin(entry, tls, socket, local).await {
            Ok(accept) => accept,
            Err(failed) => {
                fail_handshake(entry, failed).await;
                return None;
            }
        }
    } else {
        TlsAcceptor::from(Arc::clone(&tls.config)).accept(socket)
    };
    let mut accept = accept.into_fallible();
    let shaken = poll_fn(|cx| match entry.poll_order(cx) {
        Order::Abort => Poll::Ready(None),
        Order::Finish | Order::Park | Order::Serve => {
            with_local_address(local.ip(), || Pin::new(&mut accept).poll(cx)).map(Some)
        }
    });
    match shaken.await {
        Some(Ok(mut stream)) => {
            if is_challenge(stream.get_ref().1) {
                // Whether the authority still hears the goodbye matters to nobody.
                let _ = stream.shutdown().await;
                return None;
            }
            let session = TlsSession::of(stream.get_ref().1)?;
            Some((Stream::tls(stream), session))
        }
        Some(Err(failed)) => {
            fail_handshake(entry, Some(failed)).await;
            None
        }
        None => {
            fail_handshake(entry, None).await;
            None
        }
    }
}

/// Counts a handshake that failed or was given up, and tells a client that sent HTTP.
async fn fail_handshake(entry: &Entry, failed: Option<(std::io::Error, Socket)>) {
    entry.activity.fail_handshake();
    let Some((error, socket)) = failed else {
        return;
    };
    if socket.is_http_for_tls() {
        let mut tcp = socket.into_tcp();
        if tcp.write_all(HTTP_FOR_TLS).await.is_ok() && tcp.shutdown().await.is_ok() {
            http1::linger(tcp).await;
        }
    } else {
        tracing::debug!(%error, "a TLS handshake failed");
    }
}

fn http2(listener: &ListenerConfig) -> http2::Builder<LocalExecutor> {
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_header_list_size(listener.max_header_bytes)
        .max_send_buf_size(HTTP2_SEND_BUFFER)
        .timer(TokioTimer::new());
    builder
}

/// Runs the streams of an HTTP/2 connection on its worker.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F: Future + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async {
            future.await;
        });
    }
}
