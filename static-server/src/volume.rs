//! Volumes: the folders that may be served, and the only way to their files.
//!
//! A volume has a path that requests name (`/srv/static`) and a directory that is opened once; every
//! file is opened relative to that, by [`Root::open`], so that the kernel confines it. A directory
//! that is missing, or replaced by a mount, is noticed by [`Volume::refresh`].

mod beneath;
pub mod folder;
mod snapshot;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags};

pub use beneath::{Lookup, Opened, Purpose, Support};
pub use snapshot::{Kind, Snapshot};

use crate::config::{UntrustedArg, VolumeArg};
use crate::events::Feed;
use crate::serve::path::clean;

/// One volume.
#[derive(Debug)]
pub struct Volume {
    /// The path that requests name, clean and absolute, such as `/srv/static`.
    pub path: String,
    /// The folder that holds it.
    pub directory: PathBuf,
    /// Its changes.
    pub feed: Feed,
    current: ArcSwapOption<Directory>,
    problem: Mutex<String>,
}

/// Every volume, in the order of the command line.
#[derive(Clone, Debug)]
pub struct Volumes {
    all: Arc<[Arc<Volume>]>,
    untrusted: Arc<[UntrustedArg]>,
}

/// A site root: a volume, and a path below it.
#[derive(Debug)]
pub struct Root {
    volume: Arc<Volume>,
    below: Vec<u8>,
}

/// An opened directory, and what tells it from another at the same path.
#[derive(Debug)]
struct Directory {
    descriptor: OwnedFd,
    device: u64,
    inode: u64,
}

/// What [`Volume::refresh`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// The directory is the one that was known, or is still missing.
    Same,
    /// The directory is there for the first time, is another one, or is gone.
    Changed,
}

impl Volume {
    /// A volume that is not opened yet; call [`Volume::refresh`].
    pub fn new(arg: &VolumeArg, epoch: u64) -> Self {
        Self {
            path: arg.path.clone(),
            directory: arg.directory.clone(),
            feed: Feed::new(epoch),
            current: ArcSwapOption::empty(),
            problem: Mutex::new("not opened yet".to_owned()),
        }
    }

    /// Looks at the directory, and opens it if it is not the one that is open.
    pub fn refresh(&self) -> Refreshed {
        let known = self.current.load();
        match Directory::open(&self.directory) {
            Ok(found) => {
                if known.as_ref().is_some_and(|known| known.is(&found)) {
                    return Refreshed::Same;
                }
                self.problem.lock().clear();
                self.current.store(Some(Arc::new(found)));
                tracing::info!(volume = self.path, directory = %self.directory.display(), "serving");
                Refreshed::Changed
            }
            Err(error) => {
                let reason = error.to_string();
                if known.is_none() && *self.problem.lock() == reason {
                    return Refreshed::Same;
                }
                tracing::warn!(
                    volume = self.path,
                    directory = %self.directory.display(),
                    reason,
                    "the volume's folder cannot be opened; its files are not found until it is there"
                );
                *self.problem.lock() = reason;
                self.current.store(None);
                Refreshed::Changed
            }
        }
    }

    /// Why the directory is not open; `None` when it is.
    pub fn problem(&self) -> Option<String> {
        let problem = self.problem.lock();
        (!problem.is_empty()).then(|| problem.clone())
    }
}

impl Volumes {
    /// Volumes as configured, each looked at once.
    pub fn open(args: &[VolumeArg], epoch: u64) -> Self {
        let open = |arg| {
            let volume = Volume::new(arg, epoch);
            volume.refresh();
            Arc::new(volume)
        };
        Self {
            all: args.iter().map(open).collect(),
            untrusted: Arc::default(),
        }
    }

    /// The same volumes, of which anybody may have written the files below `paths`.
    #[must_use]
    pub fn distrusting(self, paths: &[UntrustedArg]) -> Self {
        Self {
            untrusted: paths.into(),
            ..self
        }
    }

    /// Whether anybody may have written the file at `path`, an absolute path as requests name it.
    pub fn is_untrusted(&self, path: &[u8]) -> bool {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let is_below = |arg: &UntrustedArg| strip(path, &arg.path.as_bytes()[1..]).is_some();
        self.untrusted.iter().any(is_below)
    }

    /// Every volume.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Volume>> {
        self.all.iter()
    }

    /// The site root `path` and the volume that it lies in: the innermost one, when several hold
    /// it.
    pub fn root(&self, path: &str) -> Option<Root> {
        if !path.starts_with('/') {
            return None;
        }
        let path = clean(path.as_bytes());
        let (volume, below) = self.innermost(&path)?;
        Some(Root {
            volume: Arc::clone(volume),
            below: below.to_vec(),
        })
    }

    /// The volume that holds `path` (clean, without its first slash), and the rest of the path.
    pub fn innermost<'a>(&self, path: &'a [u8]) -> Option<(&Arc<Volume>, &'a [u8])> {
        self.all
            .iter()
            .filter_map(|volume| Some((volume, strip(path, &volume.path.as_bytes()[1..])?)))
            .min_by_key(|(_, below)| below.len())
    }
}

impl Root {
    /// The root of a whole volume.
    pub fn of(volume: Arc<Volume>) -> Self {
        Self {
            volume,
            below: Vec::new(),
        }
    }

    /// Whether changes below the root are told as they happen.
    pub fn is_watched(&self) -> bool {
        self.volume.feed.is_watched()
    }

    /// The absolute path of a file below the root, as requests name it.
    pub fn absolute(&self, relative: &[u8]) -> Vec<u8> {
        let mut path = self.volume.path.as_bytes().to_vec();
        for part in [self.below.as_slice(), relative] {
            if !part.is_empty() {
                if !path.ends_with(b"/") {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
        path
    }

    /// Opens what is at `relative` (clean; empty for the root itself), confined to the root.
    ///
    /// Symbolic links are followed as long as they stay below the root.
    ///
    /// # Errors
    /// `NotFound` also when the volume is not there; `WouldBlock` with [`Lookup::Cached`] when the
    /// kernel would have to read from the disk; else what the kernel says.
    pub fn open(&self, relative: &[u8], purpose: Purpose, lookup: Lookup) -> io::Result<Opened> {
        let directory = self.volume.current.load();
        let Some(directory) = directory.as_ref() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        beneath::open(
            directory.descriptor.as_fd(),
            &self.below,
            relative,
            purpose,
            lookup,
        )
    }
}

impl Directory {
    fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(path, flags, Mode::empty())?;
        let stat = Snapshot::of(&descriptor)?;
        Ok(Self {
            descriptor,
            device: stat.device,
            inode: stat.inode,
        })
    }

    fn is(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// What is left of `path` below `prefix`, both clean and without a first slash.
fn strip<'a>(path: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    if prefix.is_empty() {
        return Some(path);
    }
    match path.strip_prefix(prefix)? {
        [] => Some(&[]),
        [b'/', rest @ ..] => Some(rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Volumes;
    use crate::config::VolumeArg;

    fn volumes(args: &[&str]) -> Volumes {
        let args: Vec<VolumeArg> = args.iter().map(|arg| arg.parse().unwrap()).collect();
        Volumes::open(&args, 1)
    }

    fn found(volumes: &Volumes, root: &str) -> Option<(String, String)> {
        let root = volumes.root(root)?;
        Some((
            root.volume.path.clone(),
            String::from_utf8(root.below).unwrap(),
        ))
    }

    #[test]
    fn a_root_lies_in_the_innermost_volume() {
        let volumes = volumes(&["/srv=/nowhere", "/srv/static=/nowhere"]);
        let expect = |volume: &str, below: &str| Some((volume.to_owned(), below.to_owned()));
        assert_eq!(found(&volumes, "/srv"), expect("/srv", ""));
        assert_eq!(found(&volumes, "/srv/static/"), expect("/srv/static", ""));
        assert_eq!(
            found(&volumes, "/srv/static/a//b"),
            expect("/srv/static", "a/b")
        );
        assert_eq!(
            found(&volumes, "/srv/staticfiles"),
            expect("/srv", "staticfiles")
        );
        assert_eq!(
            found(&volumes, "/srv/x/../static"),
            expect("/srv/static", "")
        );
    }

    #[test]
    fn roots_outside_every_volume_are_not_found() {
        let volumes = volumes(&["/srv=/nowhere"]);
        for root in ["/", "/etc", "/srvx", "srv", "", "/srv/../etc"] {
            assert!(volumes.root(root).is_none(), "{root}");
        }
    }

    #[test]
    fn what_is_not_trusted_begins_at_its_path() {
        let paths = ["/srv/media", "/up"].map(|path| path.parse().unwrap());
        let volumes = volumes(&["/srv=/nowhere", "/up=/nowhere"]).distrusting(&paths);
        for (path, expected) in [
            ("/srv/media/a.svg", true),
            ("/srv/media/deep/a.svg", true),
            ("/up/a", true),
            ("/srv/mediator/a.svg", false),
            ("/srv/static/a.svg", false),
        ] {
            assert_eq!(volumes.is_untrusted(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn a_volume_may_be_the_root_of_all_paths() {
        let volumes = volumes(&["/=/nowhere"]);
        assert_eq!(found(&volumes, "/a/b").unwrap().1, "a/b");
        assert_eq!(volumes.root("/a").unwrap().absolute(b"c"), b"/a/c");
    }
}
