//! Which static-servers there are on this host: the sockets in the folder.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use proto::handoff::EXTENSION;
use tokio::time::{MissedTickBehavior, interval};

/// How often the folder is looked at. A new replica has to wait for it, a gone one is noticed when it
/// is asked.
const INTERVAL: Duration = Duration::from_secs(1);
/// Sockets that are used at most.
const MOST: usize = 64;

/// The sockets of the static-servers on this host, shared by all workers.
#[derive(Debug, Default)]
pub struct Replicas {
    sockets: ArcSwap<Vec<Box<Path>>>,
    version: AtomicU64,
}

impl Replicas {
    /// Looks at the folder once.
    ///
    /// # Errors
    /// When it cannot be read; one that is not there is like an empty one.
    pub fn look(&self, folder: &Path) -> io::Result<()> {
        let found = match sockets(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        if found != **self.sockets.load() {
            tracing::info!(
                folder = %folder.display(),
                replicas = found.len(),
                "static-servers that hand over open files"
            );
            self.sockets.store(Arc::new(found));
            self.version.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    /// Looks at the folder again and again, without end.
    pub async fn follow(self: Arc<Self>, folder: PathBuf) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut problem = None;
        loop {
            ticks.tick().await;
            let (replicas, looked_at) = (Arc::clone(&self), folder.clone());
            let looked = tokio::task::spawn_blocking(move || replicas.look(&looked_at)).await;
            let now = looked
                .unwrap_or_else(|error| Err(io::Error::other(error)))
                .err()
                .map(|error| error.to_string());
            if now != problem {
                if let Some(error) = &now {
                    tracing::warn!(
                        folder = %folder.display(),
                        error,
                        "files go over HTTP, which costs more: the folder of the hand-off \
                         (--static-handoff) cannot be read"
                    );
                }
                problem = now;
            }
        }
    }

    /// Changes whenever the list does.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn sockets(&self) -> Arc<Vec<Box<Path>>> {
        self.sockets.load_full()
    }
}

fn sockets(folder: &Path) -> io::Result<Vec<Box<Path>>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|name| name == EXTENSION) {
            found.push(path.into_boxed_path());
        }
    }
    found.sort();
    found.truncate(MOST);
    Ok(found)
}
