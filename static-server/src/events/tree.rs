//! inotify watches on every folder of a volume.
//!
//! Watches are put straight on the kernel's interface: the usual crate also asks for the opening of
//! files, so that every file served would wake its thread, and it reports a new folder before it
//! watches it, so that what is written in between goes unseen.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{Access, access};
use rustix::io::Errno;

/// Room for some hundred events at a time.
const BUFFER: usize = 64 * 1024;

/// Watches on a folder and all folders below it. Links are not followed.
#[derive(Debug)]
pub(super) struct Tree {
    inotify: OwnedFd,
    base: PathBuf,
    folders: HashMap<i32, PathBuf>,
    has_links: bool,
}

/// What a reading of the watches found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Paths that changed, relative to the base; a directory stands for everything below it.
    pub(super) paths: HashSet<Vec<u8>>,
    /// Whether events were lost, or cannot be told as paths.
    pub(super) is_everything: bool,
    /// Whether the base itself was moved or removed, as far as the kernel says so.
    pub(super) is_base_gone: bool,
}

impl Tree {
    /// Watches `base` and everything below it.
    ///
    /// # Errors
    /// When a watch cannot be had, in words for an operator.
    pub(super) fn new(base: &Path) -> Result<Self, String> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|error| describe(base, error))?;
        let mut tree = Self {
            inotify,
            base: base.to_owned(),
            folders: HashMap::new(),
            has_links: false,
        };
        tree.add(Path::new(""))?;
        Ok(tree)
    }

    /// Reads every event that is there, without waiting.
    ///
    /// # Errors
    /// When the watches have become incomplete, in words for an operator.
    pub(super) fn read(&mut self) -> Result<Findings, String> {
        let mut findings = Findings::default();
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        loop {
            let events = self.next_events(&mut buffer)?;
            if events.is_empty() {
                break;
            }
            for event in events {
                self.apply(&event, &mut findings)?;
            }
        }
        // A file that is reached through a link has paths that no event names.
        findings.is_everything |= self.has_links && !findings.paths.is_empty();
        Ok(findings)
    }

    fn next_events(&self, buffer: &mut [MaybeUninit<u8>]) -> Result<Vec<Event>, String> {
        let mut reader = inotify::Reader::new(&self.inotify, buffer);
        let mut events = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => events.push(Event {
                    watch: event.wd(),
                    what: event.events(),
                    name: event
                        .file_name()
                        .map(|name| OsStr::from_bytes(name.to_bytes()).to_owned()),
                }),
                Err(Errno::AGAIN) => return Ok(events),
                Err(Errno::INTR) => {}
                Err(error) => return Err(describe(&self.base, error)),
            }
            if reader.is_buffer_empty() {
                return Ok(events);
            }
        }
    }

    fn apply(&mut self, event: &Event, findings: &mut Findings) -> Result<(), String> {
        if event.what.contains(ReadFlags::QUEUE_OVERFLOW) {
            findings.is_everything = true;
            return Ok(());
        }
        if event.what.contains(ReadFlags::IGNORED) {
            self.folders.remove(&event.watch);
            return Ok(());
        }
        let Some(folder) = self.folders.get(&event.watch) else {
            return Ok(());
        };
        let Some(name) = &event.name else {
            // A removal is told only once nobody has the folder open; the volume has.
            let own = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF;
            findings.is_base_gone |= event.what.intersects(own) && folder.as_os_str().is_empty();
            return Ok(());
        };
        let path = folder.join(name);
        let is_arrival = event
            .what
            .intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
        if event.what.contains(ReadFlags::ISDIR) {
            if event.what.contains(ReadFlags::MOVED_FROM) {
                self.forget(&path);
            }
            // Other permissions may have opened it.
            if is_arrival || event.what.contains(ReadFlags::ATTRIB) {
                self.add(&path)?;
            }
        } else if is_arrival {
            let found = fs::symlink_metadata(self.base.join(&path));
            self.has_links |= found.is_ok_and(|found| found.is_symlink());
        }
        // Another program's names need not be UTF-8; the folder then stands for the file.
        let told = if path.to_str().is_some() {
            &path
        } else {
            folder_in_utf8(&path)
        };
        findings.is_everything |= told.as_os_str().is_empty();
        findings
            .paths
            .insert(told.as_os_str().to_owned().into_vec());
        Ok(())
    }

    /// Watches a folder and those below it. Each is watched before it is read, so that a folder
    /// that appears meanwhile is in the events or in the reading, or both.
    fn add(&mut self, folder: &Path) -> Result<(), String> {
        let mut waiting = vec![folder.to_owned()];
        while let Some(folder) = waiting.pop() {
            let path = self.base.join(&folder);
            match inotify::add_watch(&self.inotify, path.as_path(), WATCHED) {
                Ok(watch) => {
                    self.folders.insert(watch, folder.clone());
                }
                Err(error) if is_gone(error) && !folder.as_os_str().is_empty() => continue,
                // Nothing below is ever served either, as with `lost+found`.
                Err(Errno::ACCESS) if access(path.as_path(), Access::EXEC_OK).is_err() => continue,
                Err(error) => return Err(describe(&path, error)),
            }
            let unreadable = |error: io::Error| format!("cannot read {}: {error}", path.display());
            let entries = match fs::read_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(unreadable)?,
            };
            for entry in entries {
                let entry = entry.map_err(unreadable)?;
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => waiting.push(folder.join(entry.file_name())),
                    Ok(kind) => self.has_links |= kind.is_symlink(),
                    // Gone already; its removal is in the events.
                    Err(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Ends the watches of a folder that was moved away: their paths are no longer true.
    fn forget(&mut self, moved: &Path) {
        let inotify = &self.inotify;
        self.folders.retain(|watch, folder| {
            let stays = !folder.starts_with(moved);
            if !stays {
                // It fails only when the folder is gone, and the watch with it.
                let _ = inotify::remove_watch(inotify, *watch);
            }
            stays
        });
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// One event, free of the buffer that it was read into.
struct Event {
    watch: i32,
    what: ReadFlags,
    name: Option<OsString>,
}

const WATCHED: WatchFlags = WatchFlags::ATTRIB
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DONT_FOLLOW)
    .union(WatchFlags::EXCL_UNLINK)
    .union(WatchFlags::ONLYDIR);

fn is_gone(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NOTDIR)
}

/// The closest folder of `path` whose whole path is UTF-8.
fn folder_in_utf8(path: &Path) -> &Path {
    path.ancestors()
        .find(|ancestor| ancestor.to_str().is_some())
        .unwrap_or_else(|| Path::new(""))
}

fn describe(path: &Path, error: Errno) -> String {
    let path = path.display();
    match error {
        Errno::NOSPC => format!(
            "no inotify watch is left for {path}; raise it on the host with \
             `sysctl fs.inotify.max_user_watches=524288`"
        ),
        Errno::MFILE | Errno::NFILE => format!(
            "no inotify instance is left for {path}; raise it on the host with \
             `sysctl fs.inotify.max_user_instances=1024`"
        ),
        Errno::ACCESS => format!(
            "{path} may be entered but not read; give the user of static-server permission to read it"
        ),
        error => format!("cannot watch {path}: {error}"),
    }
}
