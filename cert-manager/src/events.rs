//! Tells others what happens to certificates: programs that are run, and URLs that are posted to.
//!
//! Events are read off the changes of states that the manager announces, so nothing that obtains
//! certificates knows of them or waits for them. Each receiver has a queue and a task of its own; a
//! queue that is full loses the newest event, with a warning. What is on its way when the program
//! ends is lost: who must not miss anything reads `Status`.

mod exec;
mod tracker;
mod webhook;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proto::certs::v1;
use proto::sidecar::shutdown::Shutdown;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use crate::clock::Clock;
use crate::manager::{Change, Manager};

pub use exec::ExecSink;
use tracker::Tracker;
pub use webhook::{Endpoint, TOKEN_VARIABLE, WebhookSink};

/// Events that wait for one receiver.
const QUEUE: usize = 256;

/// How often certificates are looked at for their end.
const EXPIRY_CHECK: SignedDuration = SignedDuration::from_hours(1);

/// Something that happened to the certificate of a name. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// What.
    pub event: Kind,
    /// When, UTC.
    pub at: Timestamp,
    /// Of which name.
    pub name: String,
    /// Who issued the certificate, or would have: a directory URL or `internal`.
    pub issuer: String,
    /// Serial number of the certificate, in hexadecimal; empty when there is none.
    pub serial: String,
    /// End of its validity.
    pub not_after: Option<Timestamp>,
    /// Failed attempts in a row.
    pub failures: u32,
    /// What went wrong; empty when nothing did.
    pub problem: String,
    /// What can be done about it; may be empty.
    pub hint: String,
    /// When the next attempt is due.
    pub next_attempt: Option<Timestamp>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The certificate ends soon, and no newer one could be obtained.
    Expiring,
    /// An attempt failed.
    Failed,
    /// The name and its certificate are gone.
    Forgotten,
    /// The first certificate of a name is stored.
    Obtained,
    /// A certificate is stored in place of an older one.
    Renewed,
    /// An operator had the certificate revoked.
    Revoked,
}

/// Who is told.
#[derive(Debug, Default)]
pub struct Sinks {
    /// Programs that are run.
    pub programs: Vec<ExecSink>,
    /// URLs that are posted to.
    pub webhooks: Vec<WebhookSink>,
}

/// Tells `sinks` what happens, until shutdown. Does nothing where there are none.
pub fn start(manager: Arc<Manager>, clock: Arc<dyn Clock>, sinks: Sinks, shutdown: &Shutdown) {
    let mut queues = Vec::new();
    for program in sinks.programs {
        let (queue, events) = mpsc::channel(QUEUE);
        queues.push(Queue::new(program.to_string(), queue));
        spawn(shutdown, program.run(events));
    }
    for webhook in sinks.webhooks {
        let (queue, events) = mpsc::channel(QUEUE);
        queues.push(Queue::new(webhook.to_string(), queue));
        spawn(shutdown, webhook.run(events));
    }
    if !queues.is_empty() {
        // Before the task begins, so that what happens from now on is not missed.
        let changes = manager.watch();
        let watch = Watch {
            manager,
            clock,
            queues,
            tracker: Tracker::default(),
        };
        spawn(shutdown, watch.run(changes));
    }
}

/// A receiver's queue.
#[derive(Debug)]
struct Queue {
    receiver: String,
    events: mpsc::Sender<Event>,
}

/// Turns changes into events.
#[derive(Debug)]
struct Watch {
    manager: Arc<Manager>,
    clock: Arc<dyn Clock>,
    queues: Vec<Queue>,
    tracker: Tracker,
}

impl Watch {
    async fn run(mut self, mut changes: broadcast::Receiver<Change>) {
        let now = self.clock.now();
        self.tracker.begin(&self.manager.list());
        self.look_for_ends(now);
        let mut look_at = now + EXPIRY_CHECK;
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Ok(Change::Status(name)) => {
                        if let Some(status) = self.manager.status(&name) {
                            self.observe(&status);
                        }
                    }
                    Ok(Change::Forgotten(name)) => {
                        let event = self.tracker.forget(name.as_str(), self.clock.now());
                        self.tell(event);
                    }
                    Ok(Change::Revoked { name, serial }) => {
                        let now = self.clock.now();
                        let event = self.tracker.revoke(name.as_str(), serial, now);
                        self.tell(event);
                    }
                    Err(RecvError::Lagged(_)) => {
                        for status in self.manager.list() {
                            self.observe(&status);
                        }
                    }
                    Err(RecvError::Closed) => return,
                },
                () = self.clock.sleep_until(look_at) => {
                    let now = self.clock.now();
                    self.look_for_ends(now);
                    look_at = now + EXPIRY_CHECK;
                }
            }
        }
    }

    fn observe(&mut self, status: &v1::NameStatus) {
        let events = self.tracker.observe(status, self.clock.now());
        for event in events {
            self.tell(Some(event));
        }
    }

    fn look_for_ends(&mut self, now: Timestamp) {
        for status in self.manager.list() {
            let event = self.tracker.expiring(&status, now);
            self.tell(event);
        }
    }

    fn tell(&self, event: Option<Event>) {
        let Some(event) = event else { return };
        for queue in &self.queues {
            if let Err(mpsc::error::TrySendError::Full(event)) =
                queue.events.try_send(event.clone())
            {
                tracing::warn!(
                    receiver = queue.receiver,
                    event = event.event.as_str(),
                    name = event.name,
                    "an event is lost: too many wait for this receiver"
                );
            }
        }
    }
}

impl Queue {
    fn new(receiver: String, events: mpsc::Sender<Event>) -> Self {
        Self { receiver, events }
    }
}

impl Kind {
    /// The kind in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expiring => "expiring",
            Self::Failed => "failed",
            Self::Forgotten => "forgotten",
            Self::Obtained => "obtained",
            Self::Renewed => "renewed",
            Self::Revoked => "revoked",
        }
    }
}

/// Runs a task until it ends by itself or the program does.
fn spawn(shutdown: &Shutdown, task: impl Future<Output = ()> + Send + 'static) {
    let token = shutdown.token.clone();
    shutdown.tasks.spawn(async move {
        tokio::select! {
            () = token.cancelled() => {}
            () = task => {}
        }
    });
}
