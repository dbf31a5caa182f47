//! Sending requests to upstreams.

mod attempt;
mod sending;

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::client::conn::http2;
use proto::sidecar::dns::Resolver;

use self::attempt::{Driven, prepare_http1, send_on};
use self::sending::Sending;
use crate::body::UpstreamBody;
use crate::connect::{ConnectError, Dialler};
use crate::connection::{Connection, InFlight, start_http2};
use crate::error::{SendError, SendErrorKind};
use crate::outgoing::Outgoing;
use crate::pool::Pool;
use crate::target::Target;

/// Sends requests to upstreams, for one worker.
pub struct Client<B: 'static> {
    dialler: Dialler,
    pools: RefCell<HashMap<u64, Rc<Pool<B>>, BuildHasherDefault<IdHasher>>>,
}

/// What sending a request led to.
pub(crate) type Sent<B> = Result<Response<UpstreamBody>, SendError<B>>;

/// What a connection can be used for.
enum Ready<B: 'static> {
    Http1(Rc<Connection<B>>),
    Http2(http2::SendRequest<Outgoing<B>>),
}

impl<B> Client<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// A client without connections, for the thread that it is made on.
    pub fn new(resolver: Resolver) -> Rc<Self> {
        Rc::new(Self {
            dialler: Dialler::new(resolver),
            pools: RefCell::default(),
        })
    }

    /// Sends `request` and waits for the head of the response. The URI must be in origin form, and
    /// there must be a `Host` field; both are rewritten where HTTP/2 wants it. The body is not
    /// polled before a connection is there to take it.
    ///
    /// Must run where local tasks can be spawned (`LocalRuntime`, `LocalSet`). Dropping the future closes the connection that was in use.
    ///
    /// # Errors
    /// With the request in it when nothing of it was sent: an idle connection that was found
    /// closed is replaced here, but a failure to connect is left to the caller.
    pub fn send<'a>(
        self: &'a Rc<Self>,
        target: &'a Arc<Target>,
        mut request: Request<B>,
    ) -> impl Future<Output = Sent<B>> + use<'a, B> {
        let pool = self.pool(target);
        let settings = target.settings();
        let is_simple = settings.response_header_timeout.is_none()
            && settings.expect_continue_timeout.is_none();
        let connection = if is_simple { pool.take() } else { None };
        match connection {
            Some(connection) => {
                prepare_http1(&mut request);
                let request = request.map(|body| Outgoing::new(body, None, None));
                Sending::Begun {
                    responding: Driven::start(&connection, request),
                    rest: Some((InFlight::new(connection), pool)),
                    client: self,
                    target,
                }
            }
            None => Sending::Elsewhere {
                sending: Box::pin(self.send_slowly(target, pool, Box::new(request))),
            },
        }
    }

    pub(crate) fn dialler(&self) -> &Dialler {
        &self.dialler
    }

    /// As [`Self::send`], on a connection that begins with `preamble` and is of no use to other
    /// requests. The target's keep-alive must be off.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_after(
        &self,
        target: &Arc<Target>,
        preamble: Vec<u8>,
        request: Request<B>,
    ) -> Sent<B> {
        let request = Box::new(request);
        let failed = |kind, source, request| SendError {
            kind,
            unsent: Some(request),
            is_reused: false,
            source: Some(source),
        };
        let opened = match self.dialler.open_after(target, &preamble).await {
            Ok(opened) => opened,
            Err(ConnectError { kind, source }) => return Err(failed(kind, source, request)),
        };
        let (settings, pool) = (target.settings(), self.pool(target));
        let started = if opened.is_http2 {
            start_http2(opened.stream, settings).await.map(Ready::Http2)
        } else {
            let connection = Connection::start(opened.stream, settings, &pool).await;
            connection.map(Ready::Http1)
        };
        match started {
            Ok(ready) => send_on(ready, target, request).await,
            Err(error) => Err(failed(SendErrorKind::Closed, error.into(), request)),
        }
    }

    /// Sends where more is to be done than to write to an idle connection.
    async fn send_slowly(
        &self,
        target: &Arc<Target>,
        pool: Rc<Pool<B>>,
        mut request: Box<Request<B>>,
    ) -> Sent<B> {
        while let Some(ready) = idle(&pool) {
            match send_on(ready, target, request).await {
                Err(SendError {
                    unsent: Some(unsent),
                    ..
                }) => request = unsent,
                sent => return sent,
            }
        }
        // A connection that came back meanwhile is better than none.
        let opened = self.open(target, &pool).await;
        let opened = opened.or_else(|error| pool.take_any().map(Ready::Http1).ok_or(error));
        match opened {
            Ok(ready) => send_on(ready, target, request).await,
            Err(error) => Err(SendError {
                kind: error.kind,
                unsent: Some(request),
                is_reused: false,
                source: Some(error.source),
            }),
        }
    }

    async fn open(
        &self,
        target: &Arc<Target>,
        pool: &Rc<Pool<B>>,
    ) -> Result<Ready<B>, ConnectError> {
        // Where one connection may serve all, only one is opened.
        let _turn = if pool.is_http1_known.get() {
            None
        } else {
            pool.opening.acquire().await.ok()
        };
        if let Some(sender) = pool.http2() {
            return Ok(Ready::Http2(sender));
        }
        let opened = self.dialler.open(target).await?;
        pool.set_addresses(opened.addresses);
        let settings = target.settings();
        let started = if opened.is_http2 {
            start_http2(opened.stream, settings).await.map(|sender| {
                pool.set_http2(sender.clone());
                Ready::Http2(sender)
            })
        } else {
            pool.is_http1_known.set(true);
            Connection::start(opened.stream, settings, pool)
                .await
                .map(Ready::Http1)
        };
        started.map_err(|error| ConnectError {
            kind: SendErrorKind::Closed,
            source: error.into(),
        })
    }

    fn pool(&self, target: &Arc<Target>) -> Rc<Pool<B>> {
        let mut pools = self.pools.borrow_mut();
        if let Some(pool) = pools.get(&target.id()) {
            return Rc::clone(pool);
        }
        pools.retain(|_, pool| !pool.is_abandoned());
        let pool = Pool::new(target);
        pools.insert(target.id(), Rc::clone(&pool));
        pool
    }
}

impl<B: 'static> fmt::Debug for Client<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

fn idle<B: 'static>(pool: &Pool<B>) -> Option<Ready<B>> {
    match pool.take() {
        Some(connection) => Some(Ready::Http1(connection)),
        None => pool.http2().map(Ready::Http2),
    }
}

/// Target ids are unique already.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        // The table takes the upper bits too.
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
