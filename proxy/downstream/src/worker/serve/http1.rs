//! Serving HTTP/1.
//!
//! A connection that is at rest is parked: hyper's side of it is dropped with its buffers, which
//! make up two thirds of an idle connection's memory, and made anew when the client sends
//! something.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Ended, Http, supervise};
use crate::Edge;
use crate::listener::ListenerConfig;
use crate::stream::Stream;
use crate::worker::{Entry, Order};

/// How long, and how much, is still read from a client after the last word to it. Closing with
/// unread bytes would reset the connection and could take the response away from the client.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 4 << 20;

/// The least that hyper wants to be allowed to buffer.
const HTTP1_BUFFER_MIN: usize = 64 << 10;

impl<E: Edge> Http<E> {
    /// Serves a connection to its end. Returns it when the client should be heard out before it is
    /// closed.
    pub(super) async fn serve_http1(self, mut stream: Stream) -> Option<TcpStream> {
        let has_body = Cell::new(false);
        let builder = builder(&self.connection.listener);
        loop {
            let service = service_fn(|request: http::Request<Incoming>| {
                has_body.set(!request.body().is_end_stream());
                self.answer(request)
            });
            let mut served = builder
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            let supervised = supervise(&self.entry, &mut served, |conn| {
                Pin::new(&mut **conn).graceful_shutdown();
            });
            let ended = supervised.await?;
            let Some(parts) = served.into_parts() else {
                self.entry.activity.become_tunnel();
                return None;
            };
            stream = parts.io.into_inner();
            let read = parts.read_buf;
            match ended {
                Ended::Parked if read.is_empty() => {
                    // Empty, but still the whole buffer.
                    drop(read);
                    wake_up(&self.entry, &mut stream).await?;
                }
                Ended::Parked => {
                    // A request has begun behind the last one.
                    self.entry.activity.received();
                    stream.unread(read);
                }
                Ended::Closed { is_clean: true } if !has_body.get() => return None,
                Ended::Closed { is_clean: true } => return Some(stream.into_tcp()),
                // After an error, such as a malformed request, hyper leaves this to do.
                Ended::Closed { is_clean: false } => {
                    shut_down(&mut stream).await?;
                    return Some(stream.into_tcp());
                }
            }
        }
    }
}

/// Waits until a parked connection has something to read; `None` when it is to be closed instead.
async fn wake_up(entry: &Entry, stream: &mut Stream) -> Option<()> {
    entry.is_parked.set(true);
    let order = {
        let mut readable = pin!(stream.readable());
        std::future::poll_fn(|cx| match entry.poll_order(cx) {
            order @ (Order::Abort | Order::Finish) => Poll::Ready(order),
            Order::Park | Order::Serve => readable.as_mut().poll(cx).map(|_| Order::Serve),
        })
        .await
    };
    entry.is_parked.set(false);
    if order == Order::Finish {
        shut_down(stream).await;
    }
    (order == Order::Serve).then_some(())
}

/// Says to the client that nothing more comes; `None` when that cannot be said.
async fn shut_down(stream: &mut Stream) -> Option<()> {
    Box::pin(timeout(LINGER, stream.shutdown()))
        .await
        .ok()?
        .ok()
}

/// Reads on after the connection has been shut down for writing, until the client closes too.
pub(super) async fn linger(mut tcp: TcpStream) {
    let mut scratch = [0_u8; 2048];
    let mut left = LINGER_BYTES;
    let reading = async {
        while left > 0 {
            match tcp.read(&mut scratch).await {
                Ok(0) | Err(_) => break,
                Ok(read) => left = left.saturating_sub(read),
            }
        }
    };
    // Whether the client closed or the time is up, the connection is dropped.
    let _ = timeout(LINGER, reading).await;
}

fn builder(listener: &ListenerConfig) -> http1::Builder {
    let max_header = usize::try_from(listener.max_header_bytes).unwrap_or(usize::MAX);
    let mut builder = http1::Builder::new();
    builder
        .half_close(true)
        .header_read_timeout(None)
        .max_buf_size(max_header.max(HTTP1_BUFFER_MIN))
        .max_header_size(max_header)
        .timer(TokioTimer::new());
    builder
}
