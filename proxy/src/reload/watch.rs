//! `--watch`: a reload when the configuration file, or one that it imports, changes.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::Reloader;
use crate::config_file::Inputs;

/// How long it must be quiet before the files are read: editors write in several steps.
const SETTLE: Duration = Duration::from_millis(200);
/// How often the files are looked at anyway. A file that is mounted by itself into a container, or
/// lies on a network, may change without a notice.
const LOOK: Duration = Duration::from_secs(5);

/// Reloads on changes. Never ends.
pub async fn watch(reloader: Arc<Reloader>) {
    let (changed, mut changes) = mpsc::channel(1);
    let mut watcher = Watched::new(changed);
    let mut seen = fingerprint(&reloader.state().inputs);
    loop {
        watcher.follow(&reloader.state().inputs);
        tokio::select! {
            _ = changes.recv() => {
                while tokio::time::timeout(SETTLE, changes.recv()).await.is_ok() {}
            }
            () = tokio::time::sleep(LOOK) => {
                let now = fingerprint(&reloader.state().inputs);
                if now == seen {
                    continue;
                }
            }
        }
        let file = reloader.file().clone();
        let read = tokio::task::spawn_blocking(move || match file.load() {
            Ok(loaded) => loaded.inputs,
            Err(error) => *error.inputs,
        });
        match read.await {
            // Something else in the folder changed, or the file is being replaced right now.
            Ok(inputs) if inputs.files.is_empty() => {}
            Ok(inputs) if inputs.fingerprint == reloader.state().inputs.fingerprint => {}
            Ok(_) => {
                reloader.reload("a file changed").await;
            }
            Err(error) => tracing::error!(%error, "reading the configuration failed"),
        }
        seen = fingerprint(&reloader.state().inputs);
    }
}

/// The folders and files that the system tells changes of.
///
/// Folders, because an editor that replaces a file leaves a watch of the file on nothing; files as
/// well, because one that is mounted by itself is not seen through its folder.
struct Watched {
    watcher: Option<RecommendedWatcher>,
    paths: BTreeSet<PathBuf>,
}

impl Watched {
    fn new(changed: mpsc::Sender<()>) -> Self {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                // A notice that is already waiting says the same.
                let _ = changed.try_send(());
            }
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!(%error, "no notices of changes; looking every {LOOK:?} instead");
            })
            .ok();
        Self {
            watcher,
            paths: BTreeSet::new(),
        }
    }

    fn follow(&mut self, inputs: &Inputs) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let wanted: BTreeSet<PathBuf> = inputs
            .folders
            .iter()
            .chain(&inputs.files)
            .cloned()
            .collect();
        for gone in self.paths.difference(&wanted) {
            // It may be gone from the file system too, and with it the watch.
            let _ = watcher.unwatch(gone);
        }
        let mut followed = BTreeSet::new();
        for path in wanted {
            // A file that was replaced is another one now, so its watch is set anew each time.
            let is_known = self.paths.contains(&path) && !inputs.files.contains(&path);
            if is_known || watch_one(watcher, &path) {
                followed.insert(path);
            }
        }
        self.paths = followed;
    }
}

fn watch_one(watcher: &mut RecommendedWatcher, path: &Path) -> bool {
    let _ = watcher.unwatch(path);
    match watcher.watch(path, RecursiveMode::NonRecursive) {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(%error, path = %path.display(), "cannot be watched");
            false
        }
    }
}

/// What tells one state of the files from another without reading them.
fn fingerprint(inputs: &Inputs) -> Vec<Option<(u64, u64, Option<SystemTime>)>> {
    inputs
        .files
        .iter()
        .map(|file| {
            let metadata = std::fs::metadata(file).ok()?;
            Some((metadata.ino(), metadata.len(), metadata.modified().ok()))
        })
        .collect()
}
