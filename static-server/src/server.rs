//! HTTP/1.1 and HTTP/2 connections without TLS.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use proto::sidecar::shutdown::Shutdown;
use tokio::net::{TcpListener, TcpStream};

use crate::metrics::Metrics;
use crate::serve::service::FileService;

/// How long a connection may wait for a request head, also between requests. Longer than proxies
/// keep idle connections, so that they close first and never send into a closing one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(180);
/// How often an HTTP/2 peer is probed.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Bytes that a response may have in memory beside the chunk that is being read, so that many slow
/// clients cost little.
const SEND_BUFFER: usize = 64 * 1024;
/// Pause when no connection can be accepted, for want of descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until shutdown; those that are open finish their requests.
pub async fn run(
    listener: TcpListener,
    service: FileService,
    metrics: Metrics,
    shutdown: Shutdown,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(SEND_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .max_send_buf_size(SEND_BUFFER);
    loop {
        let accepted = tokio::select! {
            () = shutdown.token.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = Connection {
                    stream,
                    builder: builder.clone(),
                    service: service.clone(),
                    metrics: metrics.clone(),
                    shutdown: shutdown.clone(),
                };
                shutdown.tasks.spawn(connection.run());
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    builder: Builder<TokioExecutor>,
    service: FileService,
    metrics: Metrics,
    shutdown: Shutdown,
}

impl Connection {
    async fn run(self) {
        self.metrics.connections.inc();
        if let Err(error) = self.stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY cannot be set");
        }
        let service = service_fn(|request| {
            let service = self.service.clone();
            async move { Ok::<_, Infallible>(service.handle(request).await) }
        });
        let serving = self
            .builder
            .serve_connection(TokioIo::new(self.stream), service);
        let mut serving = pin!(serving);
        let result = tokio::select! {
            result = serving.as_mut() => result,
            () = self.shutdown.token.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(error, "a connection ended early");
        }
        self.metrics.connections.dec();
    }
}
