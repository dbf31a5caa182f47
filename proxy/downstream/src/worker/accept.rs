//! Accepting connections of one listener.

use std::cell::RefCell;
use std::io;
use std::net;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Worker, is_of_one_connection, serve};
use crate::Edge;
use crate::listener::{ListenAddress, ListenerConfig};

/// How long to wait when the system has no descriptor or memory for another connection.
const RETRY: Duration = Duration::from_millis(200);

/// How often that is said again.
const SAY_AGAIN: Duration = Duration::from_secs(30);

/// How many connections are accepted before others get their turn.
const BATCH: usize = 64;

/// The accepting task of one listener.
pub(super) struct Acceptor {
    address: ListenAddress,
    config: Rc<RefCell<Arc<ListenerConfig>>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Acceptor {
    pub(super) fn start<E: Edge>(
        worker: Rc<Worker<E>>,
        config: Arc<ListenerConfig>,
        socket: net::TcpListener,
    ) -> io::Result<Self> {
        let address = config.address;
        let listener = TcpListener::from_std(socket)?;
        let config = Rc::new(RefCell::new(config));
        let stop = CancellationToken::new();
        let task =
            tokio::task::spawn_local(run(worker, listener, Rc::clone(&config), stop.clone()));
        Ok(Self {
            address,
            config,
            stop,
            task,
        })
    }

    pub(super) fn address(&self) -> ListenAddress {
        self.address
    }

    /// New connections are served by these settings.
    pub(super) fn set_config(&self, config: Arc<ListenerConfig>) {
        *self.config.borrow_mut() = config;
    }

    /// Takes what the kernel has already promised a connection, then closes the socket.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, address = %self.address, "accepting had failed");
        }
    }
}

async fn run<E: Edge>(
    worker: Rc<Worker<E>>,
    listener: TcpListener,
    config: Rc<RefCell<Arc<ListenerConfig>>>,
    stop: CancellationToken,
) {
    let begin = |tcp: TcpStream, peer| {
        let config = Arc::clone(&config.borrow());
        tokio::task::spawn_local(serve::connection(Rc::clone(&worker), config, tcp, peer));
    };
    let mut said: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let mut next = Some(accepted);
        let mut count = 0;
        while let Some(accepted) = next.take() {
            match accepted {
                Ok((tcp, peer)) => begin(tcp, peer),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if said.is_none_or(|at| at.elapsed() >= SAY_AGAIN) {
                        said = Some(Instant::now());
                        tracing::warn!(
                            %error,
                            listener = %config.borrow().address,
                            "accepting connections fails (too many open files? see `ulimit -n`); \
                             trying again"
                        );
                    }
                    tokio::time::sleep(RETRY).await;
                    break;
                }
            }
            count += 1;
            if count < BATCH {
                next = listener.accept().now_or_never();
            }
        }
        if count >= BATCH {
            tokio::task::yield_now().await;
        }
    }
    while let Some(Ok((tcp, peer))) = listener.accept().now_or_never() {
        begin(tcp, peer);
    }
}
