//! Opening a path so that the kernel keeps it beneath a folder (`openat2`).
//!
//! The check and the use are one system call, so there is nothing that a swap of a folder for a
//! link could slip between.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::snapshot::Snapshot;

/// How often an open is tried again when the kernel could not rule out that a rename, at the very
/// same time, moved it out of the folder.
const RACE_RETRIES: usize = 64;

/// An opened file.
#[derive(Debug)]
pub struct Opened {
    /// The file.
    pub file: OwnedFd,
    /// Its state when it was opened.
    pub snapshot: Snapshot,
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Learning what it is; needs no permission to read it.
    Probe,
    /// Reading it.
    Read,
}

/// Whether an open may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Only what the kernel has in memory; `WouldBlock` otherwise. For asynchronous code.
    Cached,
    /// Whatever it takes. For threads that may block.
    Full,
}

/// What the kernel can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support {
    /// Whether [`Lookup::Cached`] can be used (Linux 5.12).
    pub has_cached_lookup: bool,
}

impl Support {
    /// Asks the kernel.
    ///
    /// # Errors
    /// In words for an operator, when it has no `openat2`: files could not be confined.
    pub fn detect() -> Result<Self, String> {
        let probe = |resolve| openat2(CWD, ".", PROBE, Mode::empty(), resolve);
        match probe(ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS) {
            Ok(_) => {}
            Err(Errno::NOSYS) => {
                return Err(
                    "the kernel has no openat2, which keeps requests inside the volumes; \
                    run Linux 5.6 or newer"
                        .to_owned(),
                );
            }
            Err(Errno::PERM) => {
                return Err(
                    "the system call openat2, which keeps requests inside the volumes, is \
                    forbidden; update the container engine, or allow openat2 in its seccomp profile"
                        .to_owned(),
                );
            }
            Err(error) => {
                return Err(format!(
                    "the working directory cannot be opened by openat2: {error}"
                ));
            }
        }
        let cached = probe(ResolveFlags::CACHED);
        Ok(Self {
            has_cached_lookup: !matches!(cached, Err(Errno::INVAL)),
        })
    }
}

/// Opens `relative` beneath the folder `below` of `directory`. Both paths are clean; either may be
/// empty.
pub(super) fn open(
    directory: BorrowedFd<'_>,
    below: &[u8],
    relative: &[u8],
    purpose: Purpose,
    lookup: Lookup,
) -> io::Result<Opened> {
    let flags = match purpose {
        Purpose::Probe => PROBE,
        Purpose::Read => READ,
    };
    // Without any link on the way, a clean path below the root cannot leave it: one call does.
    let straight = openat(directory, &join(below, relative), flags, STRAIGHT, lookup);
    let file = match straight {
        Err(Errno::LOOP) => {
            let root = openat(
                directory,
                or_dot(below),
                PROBE | OFlags::DIRECTORY,
                CONFINED,
                lookup,
            )?;
            openat(&root, or_dot(relative), flags, CONFINED, lookup)?
        }
        other => other?,
    };
    let snapshot = Snapshot::of(&file)?;
    Ok(Opened { file, snapshot })
}

const PROBE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
/// Not blocking, so that a FIFO without a writer does not hold the open.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);
const CONFINED: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);
const STRAIGHT: ResolveFlags = CONFINED.union(ResolveFlags::NO_SYMLINKS);

fn openat(
    directory: impl std::os::fd::AsFd,
    path: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
    lookup: Lookup,
) -> Result<OwnedFd, Errno> {
    let once = |resolve| openat2(&directory, path, flags, Mode::empty(), resolve);
    if lookup == Lookup::Cached {
        return once(resolve | ResolveFlags::CACHED);
    }
    for _ in 0..RACE_RETRIES {
        match once(resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::XDEV)
}

fn join(below: &[u8], relative: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(below.len() + relative.len() + 2);
    path.extend_from_slice(below);
    if !below.is_empty() && !relative.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(relative);
    if path.is_empty() {
        path.push(b'.');
    }
    path
}

fn or_dot(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"." } else { path }
}
