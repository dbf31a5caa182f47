//! What makes an HTTP/1.1 connection get on.
//!
//! hyper's connection is a future that somebody has to poll. A task of its own for it would be woken
//! for every request and again for every response, only to wake the one that waits for them. So
//! whoever waits polls the connection itself, as long as nobody else depends on it: a request with
//! a body, or an upgraded connection, must also get on while nobody asks for the response, and then
//! the connection gets a task.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use tokio::task::AbortHandle;

/// Polls a connection, here or on a task.
pub(crate) struct Driver {
    state: RefCell<State>,
    waiting: Arc<Waiting>,
    waker: Waker,
}

enum State {
    Ended,
    Here(Pin<Box<dyn Future<Output = ()>>>),
    Spawned(AbortHandle),
}

/// Passes wake-ups on to whoever polled the connection last, and to nobody while it rests: a
/// connection in the pool must not wake or keep the task that used it last.
#[derive(Default)]
struct Waiting {
    task: AtomicWaker,
    is_muted: AtomicBool,
}

impl Driver {
    pub(crate) fn new(connection: impl Future<Output = ()> + 'static) -> Self {
        let waiting = Arc::<Waiting>::default();
        Self {
            state: RefCell::new(State::Here(Box::pin(connection))),
            waker: Waker::from(Arc::clone(&waiting)),
            waiting,
        }
    }

    /// Lets the connection get on, and then asks for what it may have brought. It must be the only
    /// source of that.
    pub(crate) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        ask: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if let State::Spawned(_) = *self.state.borrow() {
            return ask(cx);
        }
        self.waiting.task.register(cx.waker());
        self.advance();
        // What it brings next comes in the next poll, so it needs no wake-up, and taking something
        // wakes the connection only to have it polled again.
        self.waiting.is_muted.store(true, Ordering::Relaxed);
        let answer = ask(&mut Context::from_waker(Waker::noop()));
        self.waiting.is_muted.store(false, Ordering::Relaxed);
        if answer.is_pending() && !tokio::task::coop::has_budget_remaining() {
            // It may be there, and only held back because the task has to pause: tokio has woken
            // nobody in particular then.
            cx.waker().wake_by_ref();
        }
        answer
    }

    /// Lets a connection at rest notice that it was closed.
    pub(crate) fn look(&self) {
        self.advance();
    }

    /// Nobody waits for the connection from here on.
    pub(crate) fn rest(&self) {
        drop(self.waiting.task.take());
    }

    /// Gives the connection a task of its own.
    pub(crate) fn spawn(&self) {
        let mut state = self.state.borrow_mut();
        *state = match std::mem::replace(&mut *state, State::Ended) {
            State::Here(connection) => {
                State::Spawned(tokio::task::spawn_local(connection).abort_handle())
            }
            state @ (State::Ended | State::Spawned(_)) => state,
        };
    }

    /// Closes the connection.
    pub(crate) fn close(&self) {
        let state = std::mem::replace(&mut *self.state.borrow_mut(), State::Ended);
        if let State::Spawned(task) = state {
            task.abort();
        }
    }

    fn advance(&self) {
        let mut state = self.state.borrow_mut();
        if let State::Here(connection) = &mut *state {
            let polled = connection
                .as_mut()
                .poll(&mut Context::from_waker(&self.waker));
            if polled.is_ready() {
                *state = State::Ended;
            }
        }
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_muted.load(Ordering::Relaxed) {
            self.task.wake();
        }
    }
}
