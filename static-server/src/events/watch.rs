//! The thread that looks after one volume: it opens the folder when it appears or is replaced, and
//! tells of changes.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio_util::sync::CancellationToken;

use super::feed::Change;
use super::tree::{Findings, Tree};
use crate::volume::{Refreshed, Volume};

/// How often the folder is looked at. While changes cannot be noticed, subscribers are told this
/// often that everything may have changed.
const REFRESH: Duration = Duration::from_secs(1);
/// How often watches are tried again that could not be had.
const RETRY: Duration = Duration::from_secs(30);
/// Pause after changes, in which writes to one file add up to one change.
const SETTLE: Duration = Duration::from_millis(10);

/// Looks after a volume until `stop`, on a thread of its own.
///
/// # Errors
/// When no thread can be started.
pub fn start(volume: Arc<Volume>, stop: CancellationToken) -> io::Result<()> {
    let name = format!("watch {}", volume.path);
    let keeper = Keeper {
        tree: None,
        tried: None,
        said: String::new(),
        volume,
    };
    std::thread::Builder::new()
        .name(name)
        .spawn(move || keeper.run(&stop))
        .map(drop)
}

struct Keeper {
    volume: Arc<Volume>,
    tree: Option<Tree>,
    tried: Option<Instant>,
    said: String,
}

impl Keeper {
    fn run(mut self, stop: &CancellationToken) {
        self.rebuild();
        let mut looked = Instant::now();
        while !stop.is_cancelled() {
            let is_waking = self.wait(REFRESH.saturating_sub(looked.elapsed()));
            let is_base_gone = is_waking && self.tell();
            if is_base_gone || looked.elapsed() >= REFRESH {
                looked = Instant::now();
                self.look();
            }
            if is_waking {
                std::thread::sleep(SETTLE);
            }
        }
    }

    /// Waits for a change; false when there was none in time.
    fn wait(&self, timeout: Duration) -> bool {
        let Some(tree) = &self.tree else {
            std::thread::sleep(timeout);
            return false;
        };
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(1),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        // An interrupted wait is like one without a change.
        poll(&mut [PollFd::new(tree, PollFlags::IN)], Some(&timeout)).is_ok_and(|ready| ready > 0)
    }

    /// Tells of the changes there are; true when the folder itself went away.
    fn tell(&mut self) -> bool {
        let Some(tree) = &mut self.tree else {
            return false;
        };
        match tree.read() {
            Ok(findings) => {
                self.publish(&findings);
                findings.is_base_gone
            }
            Err(problem) => {
                self.tree = None;
                self.is_unwatched(problem);
                false
            }
        }
    }

    fn publish(&self, findings: &Findings) {
        if findings.is_everything {
            self.volume.feed.publish(Change::Everything);
            return;
        }
        for path in &findings.paths {
            let path = String::from_utf8_lossy(path);
            self.volume.feed.publish(Change::Path(path.as_ref().into()));
        }
    }

    fn look(&mut self) {
        if self.volume.refresh() == Refreshed::Changed {
            self.rebuild();
        } else if self.tree.is_none() && self.volume.problem().is_none() {
            if self.tried.is_none_or(|tried| tried.elapsed() >= RETRY) {
                self.rebuild();
            } else {
                self.volume.feed.publish(Change::Everything);
            }
        }
    }

    /// Puts new watches on the folder, and only then says that everything changed.
    fn rebuild(&mut self) {
        self.tree = None;
        self.tried = Some(Instant::now());
        if self.volume.problem().is_some() {
            self.volume.feed.set_watched(false);
        } else {
            match Tree::new(&self.volume.directory) {
                Ok(tree) => {
                    self.tree = Some(tree);
                    self.said.clear();
                    self.volume.feed.set_watched(true);
                }
                Err(problem) => self.is_unwatched(problem),
            }
        }
        self.volume.feed.publish(Change::Everything);
    }

    fn is_unwatched(&mut self, problem: String) {
        self.volume.feed.set_watched(false);
        if problem != self.said {
            tracing::warn!(
                volume = self.volume.path,
                problem,
                "changes of files are not noticed, so proxies keep none of this volume's files in \
                 memory"
            );
            self.said = problem;
        }
        // What was kept so far may change unnoticed from now on.
        self.volume.feed.publish(Change::Everything);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::{Change, Keeper};
    use crate::volume::Volume;

    fn keeper(folder: &std::path::Path) -> Keeper {
        let arg = format!("/srv={}", folder.display()).parse().unwrap();
        let volume = Arc::new(Volume::new(&arg, 1));
        volume.refresh();
        Keeper {
            tree: None,
            tried: None,
            said: String::new(),
            volume,
        }
    }

    #[test]
    fn without_watches_everything_changes_all_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = keeper(folder.path());
        let mut subscription = keeper.volume.feed.subscribe();
        keeper.is_unwatched("no watch is left".to_owned());
        keeper.tried = Some(Instant::now());
        for round in 0..3 {
            if round > 0 {
                keeper.look();
            }
            let told = subscription.changes.try_recv().unwrap();
            assert_eq!(told.change, Change::Everything);
        }
        assert!(!keeper.volume.feed.is_watched());
        // Once watches can be had again, they are.
        keeper.tried = None;
        keeper.look();
        assert!(keeper.volume.feed.is_watched() && keeper.tree.is_some());
    }

    #[test]
    fn a_folder_that_goes_away_is_no_longer_watched() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, away) = (parent.path().join("volume"), parent.path().join("away"));
        std::fs::create_dir(&folder).unwrap();
        let mut keeper = keeper(&folder);
        keeper.rebuild();
        assert!(keeper.volume.feed.is_watched());
        std::fs::rename(&folder, &away).unwrap();
        assert!(
            keeper.tell(),
            "a folder that is moved is an event of its own"
        );
        keeper.look();
        assert!(!keeper.volume.feed.is_watched() && keeper.volume.problem().is_some());
        std::fs::rename(&away, &folder).unwrap();
        keeper.look();
        assert!(keeper.volume.feed.is_watched() && keeper.volume.problem().is_none());
        std::fs::remove_dir(&folder).unwrap();
        keeper.look();
        assert!(!keeper.volume.feed.is_watched() && keeper.volume.problem().is_some());
    }
}
