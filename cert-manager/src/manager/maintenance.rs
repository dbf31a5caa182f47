//! The loop that does what is planned.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proto::sidecar::error_chain::Chain;
use proto::sidecar::shutdown::Shutdown;

use super::gate::Permit;
use super::limits::Waiting;
use super::{Change, Manager};
use crate::name::Name;
use crate::plan::Action;

/// Longest time without a look, so that a clock that was set, or a change that was missed, is
/// noticed.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(10);

/// Records of names that are declared all the time say so at least this often.
const TOUCH_INTERVAL: SignedDuration = SignedDuration::from_hours(24);
/// How often records are looked at for that.
const TOUCH_CHECK: SignedDuration = SignedDuration::from_hours(1);

impl Manager {
    /// Does what is planned until shutdown. Attempts that are under way then are left where they
    /// are; the next run goes on with them.
    pub async fn maintain(self: Arc<Self>, shutdown: Shutdown) {
        tokio::join!(self.attempt_due(&shutdown), self.ask_authorities(&shutdown));
    }

    async fn attempt_due(self: &Arc<Self>, shutdown: &Shutdown) {
        let mut touch_at = self.now();
        loop {
            self.begin_due(shutdown).await;
            let now = self.now();
            if now >= touch_at || touch_at.duration_since(now) > TOUCH_CHECK {
                self.touch_declared(now).await;
                touch_at = now + TOUCH_CHECK;
            }
            let next = self.next_due(now);
            tokio::select! {
                () = shutdown.token.cancelled() => return,
                () = self.wake.notified() => {}
                () = self.parts.clock.sleep_until(next) => {}
            }
        }
    }

    /// Begins what is due, the most urgent first, as far as the gates are open.
    async fn begin_due(self: &Arc<Self>, shutdown: &Shutdown) {
        loop {
            let now = self.now();
            let is_open = |lane: &_| self.gate(lane, now).is_none();
            let due = self.names.lock().pop_due(now, is_open);
            let Some(due) = due else { return };
            let name = due.name;
            if due.action == Action::Forget {
                if let Err(error) = self.forget_unused(&name).await {
                    tracing::error!(%name, error = %Chain(&error), "cannot forget a name");
                    let waiting = Waiting {
                        until: Some(now + LONGEST_WAIT),
                        what: "the storage to work".to_owned(),
                    };
                    self.names.lock().defer(&name, waiting, now);
                }
                self.names.lock().release(&name, now);
                continue;
            }
            let Some(permit) = self.permit(&due.lane, now) else {
                // Somebody else was faster; its end wakes us.
                self.names.lock().release(&name, now);
                return;
            };
            self.announce(Change::Status(name.clone()));
            let attempt = Attempt {
                manager: Arc::clone(self),
                name,
                permit: Some(permit),
            };
            let token = shutdown.token.clone();
            shutdown.tasks.spawn(async move {
                let Some(permit) = &attempt.permit else {
                    return;
                };
                tokio::select! {
                    () = attempt.manager.obtain(&attempt.name, permit) => {}
                    () = token.cancelled() => {}
                }
            });
        }
    }

    /// When to look again. A lane that is full or waits for a proxy is woken when that changes.
    fn next_due(&self, now: Timestamp) -> Timestamp {
        let names = self.names.lock();
        let opening = names
            .ready_lanes()
            .filter_map(|(lane, _)| self.gate(lane, now)?.until);
        let next = opening.chain(names.next_later()).min();
        let longest = now + LONGEST_WAIT;
        next.map_or(longest, |next| next.min(longest))
    }

    async fn touch_declared(&self, now: Timestamp) {
        let stale = self.names.lock().declared_before(now - TOUCH_INTERVAL);
        let touched = self
            .commit(&stale, |record| {
                record.declared = true;
                record.declared_at = now;
            })
            .await;
        if let Err(error) = touched {
            tracing::error!(error = %Chain(&error), "declarations cannot be kept");
        }
    }
}

/// A name that an attempt is under way for, until this is dropped.
struct Attempt {
    manager: Arc<Manager>,
    name: Name,
    permit: Option<Permit>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let now = self.manager.now();
        // First, or who is woken finds its slot taken.
        self.permit = None;
        self.manager.names.lock().release(&self.name, now);
        self.manager.announce(Change::Status(self.name.clone()));
        self.manager.wake.notify_one();
    }
}
