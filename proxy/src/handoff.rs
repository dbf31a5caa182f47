//! Files from static-servers on this host, as open files over a Unix socket.
//!
//! Each static-server has a socket in a folder that it shares with the proxies ([`Replicas`]). It
//! answers there as over HTTP, but gives the open file in place of its bytes, and the proxy reads it
//! itself ([`FileBody`]). Whatever goes wrong here, the request goes over HTTP: no socket, a
//! replica that is gone or makes no sense, too many open files.

mod answer;
mod file;
mod replicas;

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use prost::Message as _;
use proto::files::v1::{HandoffAnswer, HandoffRequest};
use proto::handoff::{ANSWER_LIMIT, Connection, HandoffError, REQUEST_LIMIT, fields};
use proto::sidecar::error_chain::Chain;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

pub use self::file::FileBody;
pub(crate) use self::file::{OpenFile, Piece};
pub use self::replicas::Replicas;
use crate::body::ResponseBody;
use crate::log_limit::LogLimit;

/// Open files that the responses of one worker may hold.
const OPEN_FILES: usize = 4096;
/// The share of the process's descriptors that all workers together may hold in open files.
const SHARE: usize = 4;
/// How long a replica may take for a response head.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a replica is left alone that cannot be reached.
const GONE: Duration = Duration::from_secs(1);
/// How long a replica is left alone that is slow or makes no sense.
const FAULTY: Duration = Duration::from_secs(10);
/// Idle connections that are kept to a replica.
const IDLE: usize = 64;

static FAILED: LogLimit = LogLimit::new();
static CROWDED: LogLimit = LogLimit::new();

/// One worker's side of the hand-off.
#[derive(Debug)]
pub(crate) struct Handoff {
    replicas: Arc<Replicas>,
    peers: RefCell<Peers>,
    turn: Cell<usize>,
    open_files: Arc<Semaphore>,
    patience: Duration,
}

/// What one worker allows itself.
struct Limits {
    /// Open files that its responses may hold.
    open_files: usize,
    /// How long a replica may take for a response head.
    patience: Duration,
}

/// The replicas as a worker knows them.
#[derive(Debug, Default)]
struct Peers {
    version: u64,
    all: Vec<Rc<Peer>>,
}

/// One replica.
#[derive(Debug)]
struct Peer {
    path: Box<Path>,
    idle: RefCell<Vec<Connection>>,
    shunned: Cell<Option<Instant>>,
}

/// What a replica makes of a request.
enum Outcome {
    Answer(Box<Response<ResponseBody>>),
    /// It is to be sent over HTTP.
    Declined,
    /// The replica cannot be reached.
    Gone(HandoffError),
    /// The replica is slow or makes no sense.
    Faulty(String),
}

impl Handoff {
    /// The hand-off of one of `workers` workers.
    pub(crate) fn new(replicas: Arc<Replicas>, workers: usize) -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        let share = limit.map_or(OPEN_FILES, |limit| limit / SHARE / workers.max(1));
        let limits = Limits {
            open_files: share.min(OPEN_FILES),
            patience: PATIENCE,
        };
        Self::with_limits(replicas, limits)
    }

    fn with_limits(replicas: Arc<Replicas>, limits: Limits) -> Self {
        Self {
            replicas,
            peers: RefCell::default(),
            turn: Cell::new(0),
            open_files: Arc::new(Semaphore::new(limits.open_files)),
            patience: limits.patience,
        }
    }

    /// Whether there is a replica that could be asked.
    pub(crate) fn is_available(&self) -> bool {
        self.catch_up();
        !self.peers.borrow().all.is_empty()
    }

    /// The answer of a replica, or `None` when the request is to be sent over HTTP.
    pub(crate) async fn ask<B>(&self, request: &Request<B>) -> Option<Response<ResponseBody>> {
        let target = request.uri().path_and_query()?;
        let message = HandoffRequest {
            method: request.method().as_str().to_owned(),
            target: target.as_str().to_owned(),
            fields: fields(request.headers()),
        };
        let message = message.encode_to_vec();
        if message.len() > REQUEST_LIMIT {
            return None;
        }
        let Ok(permit) = Arc::clone(&self.open_files).try_acquire_owned() else {
            if let Some(suppressed) = CROWDED.permit() {
                tracing::warn!(
                    suppressed,
                    "files go over HTTP, which costs more: too many are being sent; raise the \
                     limit of open files (ulimits: nofile)"
                );
            }
            return None;
        };
        let is_head = *request.method() == Method::HEAD;
        self.ask_each(&message, is_head, permit).await
    }

    /// Asks one replica after the other until one answers.
    async fn ask_each(
        &self,
        message: &[u8],
        is_head: bool,
        permit: OwnedSemaphorePermit,
    ) -> Option<Response<ResponseBody>> {
        self.catch_up();
        let count = self.peers.borrow().all.len();
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let permit = Cell::new(Some(permit));
        for index in 0..count {
            let peer = {
                let peers = self.peers.borrow();
                // Another request may have seen that there are fewer by now.
                peers.all.get(turn.wrapping_add(index) % count).cloned()
            };
            let Some(peer) = peer.filter(|peer| !peer.is_shunned()) else {
                continue;
            };
            let (reason, pause) = match peer.ask(self.patience, message, is_head, &permit).await {
                Outcome::Answer(response) => return Some(*response),
                Outcome::Declined => return None,
                Outcome::Gone(error) => (Chain(&error).to_string(), GONE),
                Outcome::Faulty(reason) => (reason, FAULTY),
            };
            peer.shun(pause);
            if let Some(suppressed) = FAILED.permit() {
                tracing::warn!(
                    socket = %peer.path.display(),
                    reason,
                    suppressed,
                    "a static-server cannot hand over files; another one is asked, or it is asked \
                     over HTTP"
                );
            }
        }
        None
    }

    /// Takes over the present list of replicas; those that stay keep their connections.
    fn catch_up(&self) {
        let version = self.replicas.version();
        let mut peers = self.peers.borrow_mut();
        if version == peers.version {
            return;
        }
        let sockets = self.replicas.sockets();
        let known = std::mem::take(&mut peers.all);
        peers.version = version;
        peers.all = sockets
            .iter()
            .map(|path| match known.iter().find(|peer| peer.path == *path) {
                Some(peer) => Rc::clone(peer),
                None => Rc::new(Peer::new(path)),
            })
            .collect();
    }
}

impl Peer {
    fn new(path: &Path) -> Self {
        Self {
            path: path.into(),
            idle: RefCell::default(),
            shunned: Cell::new(None),
        }
    }

    fn is_shunned(&self) -> bool {
        match self.shunned.get() {
            None => false,
            Some(until) if Instant::now() < until => true,
            Some(_) => {
                self.shunned.set(None);
                false
            }
        }
    }

    fn shun(&self, pause: Duration) {
        self.shunned.set(Some(Instant::now() + pause));
        self.idle.borrow_mut().clear();
    }

    async fn ask(
        &self,
        patience: Duration,
        message: &[u8],
        is_head: bool,
        permit: &Cell<Option<OwnedSemaphorePermit>>,
    ) -> Outcome {
        // An idle connection may have been closed since; a new one says whether the replica is gone.
        loop {
            let idle = self.idle.borrow_mut().pop();
            let is_reused = idle.is_some();
            let connection = match idle.map_or_else(|| Connection::open(&self.path), Ok) {
                Ok(connection) => connection,
                Err(error) => return Outcome::Gone(HandoffError::Io(error)),
            };
            let asked = timeout(patience, exchange(&connection, message)).await;
            let (answer, descriptor) = match asked {
                Err(_) => return Outcome::Faulty(format!("no answer within {patience:?}")),
                Ok(Err(HandoffError::Closed | HandoffError::Io(_))) if is_reused => continue,
                Ok(Err(error @ (HandoffError::Closed | HandoffError::Io(_)))) => {
                    return Outcome::Gone(error);
                }
                Ok(Err(error)) => return Outcome::Faulty(Chain(&error).to_string()),
                Ok(Ok(received)) => received,
            };
            if answer.declined {
                self.keep(connection);
                return Outcome::Declined;
            }
            return match answer::read(answer, descriptor, is_head, permit) {
                Ok(response) => {
                    self.keep(connection);
                    response.map_or(Outcome::Declined, |response| {
                        Outcome::Answer(Box::new(response))
                    })
                }
                Err(error) => Outcome::Faulty(Chain(&error).to_string()),
            };
        }
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE {
            idle.push(connection);
        }
    }
}

async fn exchange(
    connection: &Connection,
    message: &[u8],
) -> Result<(HandoffAnswer, Option<std::os::fd::OwnedFd>), HandoffError> {
    connection.send(message, None).await?;
    connection.receive(ANSWER_LIMIT).await
}

#[cfg(test)]
mod tests;
