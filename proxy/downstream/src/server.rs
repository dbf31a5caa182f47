//! The workers as a whole: started, given listeners, drained.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use parking_lot::Mutex;
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, oneshot};

use crate::Edge;
use crate::activity::{Counters, Figures};
use crate::listener::{Bound, ListenAddress, ListenError, ListenerConfig};
use crate::worker::{Command, WorkerListener, run};

/// A running set of workers.
///
/// Dropping it without [`Self::drain`] closes every connection at once.
#[derive(Debug)]
pub struct Server {
    workers: Vec<WorkerHandle>,
    bound: Mutex<Vec<(ListenAddress, SocketAddr)>>,
}

#[derive(Debug)]
struct WorkerHandle {
    commands: mpsc::UnboundedSender<Command>,
    counters: Arc<Counters>,
    /// Taken by the drain that joins it.
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// A set of listeners whose sockets are all bound.
#[derive(Debug)]
pub struct Prepared {
    configs: Vec<Arc<ListenerConfig>>,
    bound: Vec<Bound>,
}

impl Server {
    /// Starts workers without listeners. `make` is called with 0, 1, 2 and so on, each on the thread
    /// of that worker.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub fn start<E: Edge>(
        workers: NonZeroUsize,
        make: impl Fn(usize) -> Rc<E> + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let workers = (0..workers.get())
            .map(|index| {
                let (commands, received) = mpsc::unbounded_channel();
                let (built, is_built) = std::sync::mpsc::sync_channel(1);
                let counters = Arc::<Counters>::default();
                let make = make.clone();
                let worker_counters = Arc::clone(&counters);
                let thread = thread::Builder::new()
                    .name(format!("worker-{index}"))
                    .spawn(move || {
                        let mut builder = tokio::runtime::Builder::new_current_thread();
                        let runtime = builder.enable_all().build_local(LocalOptions::default());
                        // What is sent is waited for, so it arrives.
                        let _ = match runtime {
                            Ok(runtime) => {
                                let sent = built.send(Ok(()));
                                run(&runtime, || make(index), received, worker_counters);
                                sent
                            }
                            Err(error) => built.send(Err(error)),
                        };
                    })?;
                is_built.recv().map_err(io::Error::other)??;
                Ok(WorkerHandle {
                    commands,
                    counters,
                    thread: Mutex::new(Some(thread)),
                })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self {
            workers,
            bound: Mutex::default(),
        })
    }

    /// Replaces the set of listeners: [`Self::prepare`] and [`Self::commit`] in one.
    ///
    /// # Errors
    /// When an address cannot be had; then nothing has changed.
    pub async fn apply(&self, configs: Vec<ListenerConfig>) -> Result<(), ListenError> {
        let prepared = self.prepare(configs)?;
        self.commit(prepared).await
    }

    /// Binds what is new in `configs`, without listening yet.
    ///
    /// # Errors
    /// When an address cannot be had.
    pub fn prepare(&self, configs: Vec<ListenerConfig>) -> Result<Prepared, ListenError> {
        let present = self.bound.lock().clone();
        let bound = configs
            .iter()
            .filter(|config| {
                !present
                    .iter()
                    .any(|(address, _)| *address == config.address)
            })
            .map(|config| Bound::bind(config.address, self.workers.len()))
            .collect::<Result<_, _>>()?;
        Ok(Prepared {
            configs: configs.into_iter().map(Arc::new).collect(),
            bound,
        })
    }

    /// Puts a prepared set in force, and returns when every worker has.
    ///
    /// An address that stays keeps its socket and its queue; connections keep the settings that they
    /// were accepted with. The connections of an address that goes are closed when idle.
    ///
    /// # Errors
    /// When a bound address refuses to listen after all, because another program was quicker; then
    /// nothing has changed.
    pub async fn commit(&self, prepared: Prepared) -> Result<(), ListenError> {
        let mut listening = Vec::with_capacity(prepared.bound.len());
        for bound in prepared.bound {
            listening.push((bound.address(), bound.listen()?));
        }
        {
            let mut present = self.bound.lock();
            present.retain(|(address, _)| {
                prepared
                    .configs
                    .iter()
                    .any(|config| config.address == *address)
            });
            present.extend(
                listening
                    .iter()
                    .map(|(address, (local, _))| (*address, *local)),
            );
        }
        let mut done = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            let listeners = prepared
                .configs
                .iter()
                .map(|config| WorkerListener {
                    config: Arc::clone(config),
                    socket: listening
                        .iter_mut()
                        .find(|(address, _)| *address == config.address)
                        .and_then(|(_, (_, sockets))| sockets.pop()),
                })
                .collect();
            let (sender, receiver) = oneshot::channel();
            // A worker that is gone has panicked, which its thread has said; the others go on.
            let _ = worker.commands.send(Command::Listen {
                listeners,
                done: sender,
            });
            done.push(receiver);
        }
        for receiver in done {
            let _ = receiver.await;
        }
        Ok(())
    }

    /// The address that each listener really has, which tells the port where 0 was asked for.
    pub fn local_addresses(&self) -> Vec<(ListenAddress, SocketAddr)> {
        self.bound.lock().clone()
    }

    /// What all workers do and have done.
    pub fn figures(&self) -> Figures {
        self.workers
            .iter()
            .map(|worker| worker.counters.figures())
            .fold(Figures::default(), |a, b| a + b)
    }

    /// Stops accepting, closes idle connections, lets requests and tunnels finish for at most
    /// `grace`, drops the rest, and ends the workers. Returns how many connections were dropped.
    pub async fn drain(&self, grace: Duration) -> u64 {
        let waiting: Vec<_> = self
            .workers
            .iter()
            .map(|worker| {
                let (sender, receiver) = oneshot::channel();
                let _ = worker.commands.send(Command::Drain {
                    grace,
                    done: sender,
                });
                receiver
            })
            .collect();
        let mut dropped = 0;
        for receiver in waiting {
            dropped += receiver.await.unwrap_or(0);
        }
        let threads: Vec<_> = self
            .workers
            .iter()
            .filter_map(|worker| worker.thread.lock().take())
            .collect();
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a worker thread had panicked");
                }
            }
        });
        if let Err(error) = joined.await {
            tracing::error!(%error, "joining the workers failed");
        }
        dropped
    }
}
