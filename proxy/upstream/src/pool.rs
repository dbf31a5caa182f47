//! Idle connections of one worker to one target.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::client::conn::http2;
use tokio::sync::Semaphore;

use crate::connection::Connection;
use crate::outgoing::Outgoing;
use crate::target::{KeepAlive, Target};

/// The time that a connection may be idle is measured in this many steps.
const STEPS: u32 = 4;

/// Idle connections of one worker to one target, the one used last at the back.
///
/// Where the name has one address, that one is taken first, which keeps few connections busy and
/// lets the others grow old and go. Where it has several, as that of a scaled service has, there is
/// a connection to each of them at least, and the one used least recently is taken, so that all get
/// their share. Connections to names are closed when they have lived as long as they may be idle,
/// in between two requests: that is how addresses are found that came later.
pub(crate) struct Pool<B: 'static> {
    idle: RefCell<VecDeque<Idle<B>>>,
    /// Open connections, idle or not.
    open: Cell<usize>,
    /// How many addresses the name had last.
    addresses: Cell<usize>,
    is_name: bool,
    /// Counts up while there are idle connections. Ages are taken from here rather than from the
    /// clock, which would be read twice for every request.
    step: Cell<u32>,
    is_swept: Cell<bool>,
    keep_alive: KeepAlive,
    permits: Option<Arc<Semaphore>>,
    target: Weak<Target>,
    /// The HTTP/2 connection, which all requests share.
    http2: RefCell<Option<http2::SendRequest<Outgoing<B>>>>,
    /// Held while a connection is opened that the others may share.
    pub(crate) opening: Semaphore,
    /// Whether TLS negotiated HTTP/1.1 last, so that nobody needs to wait for another's handshake.
    pub(crate) is_http1_known: Cell<bool>,
}

struct Idle<B: 'static> {
    connection: Rc<Connection<B>>,
    since: u32,
}

impl<B: 'static> Pool<B> {
    pub(crate) fn new(target: &Arc<Target>) -> Rc<Self> {
        Rc::new(Self {
            idle: RefCell::default(),
            open: Cell::new(0),
            addresses: Cell::new(1),
            is_name: target.address().path().is_none() && target.address().literal().is_none(),
            step: Cell::new(0),
            is_swept: Cell::new(false),
            keep_alive: target.settings().keep_alive,
            permits: target.permits().cloned(),
            target: Arc::downgrade(target),
            http2: RefCell::new(None),
            opening: Semaphore::new(1),
            is_http1_known: Cell::new(!target.may_multiplex()),
        })
    }

    /// An idle connection that is still open; `None` also where another address should have its
    /// turn.
    pub(crate) fn take(&self) -> Option<Rc<Connection<B>>> {
        if self.open.get() < self.addresses.get() && self.permits.is_none() {
            return None;
        }
        self.take_any()
    }

    /// An idle connection that is still open.
    pub(crate) fn take_any(&self) -> Option<Rc<Connection<B>>> {
        let mut idle = self.idle.borrow_mut();
        let is_spread = self.addresses.get() > 1;
        let mut next = || {
            if is_spread {
                idle.pop_front()
            } else {
                idle.pop_back()
            }
        };
        while let Some(entry) = next() {
            if entry.connection.is_ready() {
                return Some(entry.connection);
            }
        }
        None
    }

    /// Keeps a connection for later, if that is wanted.
    pub(crate) fn put(self: Rc<Self>, connection: Rc<Connection<B>>) {
        // Somebody may be waiting for a connection to be closed, perhaps on another worker.
        let is_needed_elsewhere = self
            .permits
            .as_ref()
            .is_some_and(|permits| permits.available_permits() == 0);
        let mut idle = self.idle.borrow_mut();
        if !self.keep_alive.is_enabled
            || is_needed_elsewhere
            || idle.len() >= self.keep_alive.max_idle
        {
            return;
        }
        idle.push_back(Idle {
            connection,
            since: self.step.get(),
        });
        drop(idle);
        if !self.is_swept.replace(true) {
            tokio::task::spawn_local(self.sweep());
        }
    }

    /// Counts a new connection; returns the current step.
    pub(crate) fn opened(&self) -> u32 {
        self.open.set(self.open.get() + 1);
        self.step.get()
    }

    /// A connection has been closed.
    pub(crate) fn closed(&self) {
        self.open.set(self.open.get().saturating_sub(1));
    }

    /// The name has so many addresses now.
    pub(crate) fn set_addresses(&self, count: usize) {
        self.addresses.set(count);
    }

    /// The open HTTP/2 connection, if there is one.
    pub(crate) fn http2(&self) -> Option<http2::SendRequest<Outgoing<B>>> {
        let mut http2 = self.http2.borrow_mut();
        if http2.as_ref().is_some_and(http2::SendRequest::is_closed) {
            *http2 = None;
        }
        http2.clone()
    }

    pub(crate) fn set_http2(&self, sender: http2::SendRequest<Outgoing<B>>) {
        *self.http2.borrow_mut() = Some(sender);
    }

    /// Whether nobody will ask for this target again.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.target.strong_count() == 0
    }

    /// Closes connections that have been idle for too long, until none is left.
    async fn sweep(self: Rc<Self>) {
        let step = (self.keep_alive.idle_timeout / STEPS).max(Duration::from_millis(1));
        let weak = Rc::downgrade(&self);
        drop(self);
        loop {
            tokio::time::sleep(step).await;
            let Some(pool) = weak.upgrade() else { return };
            let now = pool.step.get().wrapping_add(1);
            pool.step.set(now);
            let is_fresh = |since: u32| now.wrapping_sub(since) < STEPS;
            let mut kept = std::mem::take(&mut *pool.idle.borrow_mut());
            kept.retain(|entry| {
                let connection = &entry.connection;
                is_fresh(entry.since)
                    && connection.is_still_ready()
                    && (!pool.is_name || is_fresh(connection.opened_at))
            });
            let mut idle = pool.idle.borrow_mut();
            *idle = kept;
            if idle.is_empty() {
                pool.is_swept.set(false);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Empty;
    use tokio::net::UnixStream;

    use super::*;
    use crate::stream::{Socket, Stream};
    use crate::target::{Address, TargetSettings};

    type Body = Empty<Bytes>;

    fn pool(host: &str) -> (Arc<Target>, Rc<Pool<Body>>) {
        let address = Address::Host {
            host: host.into(),
            port: 1,
        };
        let target = Target::new(TargetSettings::new(address)).unwrap();
        let pool = Pool::new(&target);
        (target, pool)
    }

    /// A connection, with its other end.
    async fn connect(target: &Target, pool: &Rc<Pool<Body>>) -> (Rc<Connection<Body>>, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        let stream = Stream::plain(Socket::Unix(near));
        let connection = Connection::start(stream, target.settings(), pool)
            .await
            .unwrap();
        assert!(connection.is_still_ready());
        (connection, far)
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, test);
    }

    #[test]
    fn one_address_reuses_the_connection_used_last() {
        run(async {
            let (target, pool) = pool("10.1.1.1");
            let (a, _far_a) = connect(&target, &pool).await;
            let (b, _far_b) = connect(&target, &pool).await;
            Rc::clone(&pool).put(Rc::clone(&a));
            Rc::clone(&pool).put(Rc::clone(&b));
            assert!(Rc::ptr_eq(&pool.take().unwrap(), &b));
            assert!(Rc::ptr_eq(&pool.take().unwrap(), &a));
            assert!(pool.take().is_none());
        });
    }

    #[test]
    fn several_addresses_have_their_turn() {
        run(async {
            let (target, pool) = pool("scaled.test");
            pool.set_addresses(2);
            let (a, _far_a) = connect(&target, &pool).await;
            Rc::clone(&pool).put(Rc::clone(&a));
            assert!(
                pool.take().is_none(),
                "the other address has no connection yet"
            );
            let (b, _far_b) = connect(&target, &pool).await;
            Rc::clone(&pool).put(Rc::clone(&b));
            for expected in [&a, &b, &a] {
                let taken = pool.take().unwrap();
                assert!(Rc::ptr_eq(&taken, expected));
                Rc::clone(&pool).put(taken);
            }
            // One that is closed makes room for its address.
            drop((pool.take(), b));
            assert!(pool.take().is_none());
            assert!(pool.take_any().is_some());
        });
    }

    #[test]
    fn closed_connections_are_passed_over() {
        run(async {
            let (target, pool) = pool("10.1.1.2");
            let (a, far_a) = connect(&target, &pool).await;
            Rc::clone(&pool).put(a);
            drop(far_a);
            let is_open = || {
                pool.idle
                    .borrow()
                    .iter()
                    .any(|idle| idle.connection.is_still_ready())
            };
            while is_open() {
                tokio::task::yield_now().await;
            }
            assert!(pool.take().is_none());
            assert_eq!(pool.open.get(), 0);
        });
    }
}
