//! One HTTP connection to an upstream, and who may use it.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::rc::{Rc, Weak};

use bytes::Bytes;
use http_body::Body;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;

use crate::driver::Driver;
use crate::outgoing::Outgoing;
use crate::pool::Pool;
use crate::stream::Stream;
use crate::target::TargetSettings;

/// An HTTP/1.1 connection: one request at a time.
pub(crate) struct Connection<B: 'static> {
    pub(crate) sender: RefCell<http1::SendRequest<Outgoing<B>>>,
    /// Whether it has served a request before.
    pub(crate) is_reused: Cell<bool>,
    /// The pool's step when it was opened.
    pub(crate) opened_at: u32,
    pool: Weak<Pool<B>>,
    driver: Driver,
}

/// The right to use a connection for one request and its response. Being a trait spares the body
/// types of responses the type of the requests' bodies.
pub(crate) trait Lease {
    /// What makes the connection get on.
    fn driver(&self) -> &Driver;

    /// The response has ended: gives the connection back, unless it is closing or the upstream
    /// answered without having taken the whole request.
    fn release(self: Rc<Self>);

    /// Closes the connection, and with it whatever is still under way on it.
    fn abandon(self: Rc<Self>);
}

/// Closes the connection if the request is given up before its response head came.
pub(crate) struct InFlight<B: 'static>(Option<Rc<Connection<B>>>);

/// Spawns on the worker's own thread.
#[derive(Clone, Copy)]
pub(crate) struct LocalExecutor;

impl<B> Connection<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Speaks HTTP/1.1 on `stream`.
    pub(crate) async fn start(
        stream: Stream,
        settings: &TargetSettings,
        pool: &Rc<Pool<B>>,
    ) -> hyper::Result<Rc<Self>> {
        let mut builder = http1::Builder::new();
        if let Some(size) = settings.max_response_header_size {
            builder.max_header_size(size);
        }
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        let driver = Driver::new(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to an upstream ended");
            }
        });
        Ok(Rc::new(Self {
            sender: RefCell::new(sender),
            is_reused: Cell::new(false),
            opened_at: pool.opened(),
            pool: Rc::downgrade(pool),
            driver,
        }))
    }
}

impl<B: 'static> Connection<B> {
    pub(crate) fn is_ready(&self) -> bool {
        self.sender.borrow().is_ready()
    }

    /// Whether it is still open, having been at rest for a while.
    pub(crate) fn is_still_ready(&self) -> bool {
        self.driver.look();
        self.is_ready()
    }
}

impl<B: 'static> Drop for Connection<B> {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.closed();
        }
    }
}

impl<B: 'static> Lease for Connection<B> {
    fn driver(&self) -> &Driver {
        &self.driver
    }

    fn release(self: Rc<Self>) {
        self.driver.rest();
        match self.pool.upgrade() {
            Some(pool) if self.is_ready() => {
                self.is_reused.set(true);
                pool.put(self);
            }
            _ => self.abandon(),
        }
    }

    fn abandon(self: Rc<Self>) {
        self.driver.close();
    }
}

impl<B: 'static> InFlight<B> {
    pub(crate) fn new(connection: Rc<Connection<B>>) -> Self {
        Self(Some(connection))
    }

    /// The response head came: the connection is now in the hands of its body.
    pub(crate) fn into_lease(mut self) -> Option<Rc<dyn Lease>> {
        self.0.take().map(|connection| connection as Rc<dyn Lease>)
    }

    /// Lets the connection go on by itself, since it has become something else than HTTP.
    pub(crate) fn detach(mut self) {
        if let Some(connection) = self.0.take() {
            connection.driver.spawn();
        }
    }
}

impl<B: 'static> Drop for InFlight<B> {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            connection.abandon();
        }
    }
}

/// Speaks HTTP/2 on `stream`, on a task of its own.
pub(crate) async fn start_http2<B>(
    stream: Stream,
    settings: &TargetSettings,
) -> hyper::Result<http2::SendRequest<Outgoing<B>>>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW);
    if let Some(size) = settings.max_response_header_size {
        builder.max_header_list_size(u32::try_from(size).unwrap_or(u32::MAX));
    }
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an HTTP/2 connection to an upstream ended");
        }
    });
    Ok(sender)
}

/// What an upstream may send ahead on one stream, in bytes.
const HTTP2_STREAM_WINDOW: u32 = 256 << 10;
/// What an upstream may send ahead on all streams of a connection, in bytes.
const HTTP2_CONNECTION_WINDOW: u32 = 4 << 20;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
