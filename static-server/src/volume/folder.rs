//! Reading a folder that is open already.
//!
//! Entries are looked at by their own names in the open folder and links are not followed, so
//! nothing here can lead out of it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, readlinkat, statat};
use rustix::io::Errno;

/// Some entries of a folder.
#[derive(Debug, Default)]
pub struct FolderEntries {
    /// The entries, in the order of the file system.
    pub entries: Vec<FolderEntry>,
    /// Whether there are more.
    pub has_more: bool,
}

/// One entry of a folder: the file, folder or link itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderEntry {
    /// The name.
    pub name: Vec<u8>,
    /// What it is, and its permissions, as in `st_mode`.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// Last modification: seconds since 1970, and nanoseconds.
    pub modified: (i64, u32),
}

impl FolderEntry {
    /// What it is.
    pub fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }
}

/// Reads up to `limit` entries. Those that vanish meanwhile are left out.
///
/// # Errors
/// What the system says of the folder.
pub fn entries(folder: &OwnedFd, limit: usize) -> io::Result<FolderEntries> {
    let mut found = FolderEntries::default();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if found.entries.len() >= limit {
            found.has_more = true;
            break;
        }
        let stat = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            other => other?,
        };
        found.entries.push(FolderEntry {
            name: name.to_bytes().to_vec(),
            mode: stat.st_mode,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (
                stat.st_mtime,
                u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            ),
        });
    }
    Ok(found)
}

/// What the link `name` holds, if it is still there.
pub fn link_text(folder: &OwnedFd, name: &[u8]) -> Option<Vec<u8>> {
    Some(readlinkat(folder, name, Vec::new()).ok()?.into_bytes())
}
