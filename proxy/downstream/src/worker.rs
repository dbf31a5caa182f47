//! One worker: a thread with its own runtime, listeners and connections.

mod accept;
mod serve;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::{io, net};

use tokio::runtime::LocalRuntime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::Edge;
use crate::activity::{Activity, Counters, Due, Limits, TICK};
use crate::listener::{ListenAddress, ListenerConfig};
use accept::Acceptor;

/// How often a draining worker looks whether its connections are gone.
const DRAIN_POLL: Duration = Duration::from_millis(10);

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Serve these listeners and no others.
    Listen {
        listeners: Vec<WorkerListener>,
        done: oneshot::Sender<()>,
    },
    /// Finish; answers with the number of connections that were dropped.
    Drain {
        grace: Duration,
        done: oneshot::Sender<u64>,
    },
}

/// One listener as a worker gets it.
#[derive(Debug)]
pub(crate) struct WorkerListener {
    pub(crate) config: Arc<ListenerConfig>,
    /// The socket of a new address; `None` where the worker has one already.
    pub(crate) socket: Option<net::TcpListener>,
}

/// A connection as its worker keeps it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) activity: Arc<Activity>,
    limits: Limits,
    address: ListenAddress,
    order: Cell<Order>,
    /// Whether buffers have been let go of.
    is_parked: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// What a connection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    /// Go on.
    Serve,
    /// Let go of buffers, if nothing is under way.
    Park,
    /// Finish what is being answered, then close.
    Finish,
    /// Close at once.
    Abort,
}

impl Entry {
    fn tell(&self, order: Order) {
        if order > self.order.get() {
            self.order.set(order);
        }
        self.wake();
    }

    fn park(&self) {
        if self.order.get() == Order::Serve && !self.is_parked.get() {
            self.tell(Order::Park);
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// The present order; the task of `cx` is woken for the next.
    fn poll_order(&self, cx: &Context<'_>) -> Order {
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        self.order.get()
    }

    /// Runs `future` until it is done, or until the order to abort; then `None`.
    async fn until_abort<F: Future + Unpin>(&self, mut future: F) -> Option<F::Output> {
        std::future::poll_fn(|cx| match self.poll_order(cx) {
            Order::Abort => Poll::Ready(None),
            Order::Finish | Order::Park | Order::Serve => {
                std::pin::Pin::new(&mut future).poll(cx).map(Some)
            }
        })
        .await
    }
}

/// What the tasks of one worker share.
struct Worker<E> {
    edge: Rc<E>,
    counters: Arc<Counters>,
    entries: RefCell<HashMap<u64, Rc<Entry>>>,
    next_id: Cell<u64>,
    is_draining: Cell<bool>,
}

/// The place of a connection among its worker's; leaving it ends the supervision.
struct Registration<E> {
    worker: Rc<Worker<E>>,
    id: u64,
}

impl<E> Drop for Registration<E> {
    fn drop(&mut self) {
        self.worker.entries.borrow_mut().remove(&self.id);
    }
}

/// Runs a worker until it has been drained or its server is gone.
pub(crate) fn run<E: Edge>(
    runtime: &LocalRuntime,
    make: impl FnOnce() -> Rc<E>,
    commands: mpsc::UnboundedReceiver<Command>,
    counters: Arc<Counters>,
) {
    runtime.block_on(async move {
        let worker = Rc::new(Worker {
            edge: make(),
            counters,
            entries: RefCell::default(),
            next_id: Cell::new(0),
            is_draining: Cell::new(false),
        });
        tokio::task::spawn_local(sweep(Rc::clone(&worker)));
        worker.obey(commands).await;
    });
}

/// Once a tick, looks at every connection.
async fn sweep<E: Edge>(worker: Rc<Worker<E>>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let is_draining = worker.is_draining.get();
        // Waking a task does not run it, so nobody registers or leaves meanwhile.
        for entry in worker.entries.borrow().values() {
            match entry.activity.sweep(&entry.limits, is_draining) {
                Due::Nothing => {}
                Due::Probe => entry.wake(),
                Due::Park => entry.park(),
                Due::Finish => entry.tell(Order::Finish),
                Due::Abort => entry.tell(Order::Abort),
            }
        }
    }
}

impl<E: Edge> Worker<E> {
    async fn obey(self: &Rc<Self>, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut acceptors: Vec<Acceptor> = Vec::new();
        while let Some(command) = commands.recv().await {
            match command {
                Command::Listen { listeners, done } => {
                    acceptors = self.listen(acceptors, listeners).await;
                    self.edge.reconfigured();
                    // The server may have stopped waiting.
                    let _ = done.send(());
                }
                Command::Drain { grace, done } => {
                    let dropped = self.drain(acceptors, grace).await;
                    let _ = done.send(dropped);
                    return;
                }
            }
        }
    }

    async fn listen(
        self: &Rc<Self>,
        mut present: Vec<Acceptor>,
        listeners: Vec<WorkerListener>,
    ) -> Vec<Acceptor> {
        let mut next = Vec::with_capacity(listeners.len());
        for WorkerListener { config, socket } in listeners {
            let address = config.address;
            match socket {
                None => {
                    if let Some(index) = present.iter().position(|own| own.address() == address) {
                        let acceptor = present.swap_remove(index);
                        acceptor.set_config(config);
                        next.push(acceptor);
                    }
                }
                Some(socket) => match Acceptor::start(Rc::clone(self), config, socket) {
                    Ok(acceptor) => next.push(acceptor),
                    Err(error) => {
                        tracing::error!(%address, %error, "a worker cannot use its listening socket");
                    }
                },
            }
        }
        for gone in present {
            let address = gone.address();
            gone.stop().await;
            for entry in self
                .entries
                .borrow()
                .values()
                .filter(|entry| entry.address == address)
            {
                entry.tell(Order::Finish);
            }
        }
        next
    }

    async fn drain(&self, acceptors: Vec<Acceptor>, grace: Duration) -> u64 {
        for acceptor in acceptors {
            acceptor.stop().await;
        }
        self.is_draining.set(true);
        for entry in self.entries.borrow().values() {
            entry.tell(Order::Finish);
        }
        let started = Instant::now();
        while self.counters.open() > 0 && started.elapsed() < grace {
            tokio::time::sleep(DRAIN_POLL.min(grace)).await;
        }
        self.counters.open()
    }

    fn register(self: &Rc<Self>, entry: Rc<Entry>) -> Registration<E> {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        self.entries.borrow_mut().insert(id, entry);
        Registration {
            worker: Rc::clone(self),
            id,
        }
    }
}

/// Whether accepting can go on at once after this error, which concerns one connection alone.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}
