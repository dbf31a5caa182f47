//! Reading an open file that others may write to.

use std::io::{self, IoSliceMut};
use std::os::fd::AsFd;

use rustix::fs::FileType;
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use crate::files::v1::HandoffFile;

/// What tells one content of an open file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileState {
    /// Bytes.
    pub size: u64,
    /// Last modification: seconds since 1970, and nanoseconds.
    pub modified: (i64, u32),
}

impl FileState {
    /// The present state of a regular file; `None` for anything else.
    ///
    /// # Errors
    /// When the file system cannot say.
    pub fn of(file: impl AsFd) -> io::Result<Option<Self>> {
        let stat = rustix::fs::fstat(file)?;
        let is_regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        Ok(is_regular.then(|| Self {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (
                stat.st_mtime,
                u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            ),
        }))
    }
}

impl From<&HandoffFile> for FileState {
    fn from(file: &HandoffFile) -> Self {
        Self {
            size: file.size,
            modified: (file.modified_seconds, file.modified_nanoseconds),
        }
    }
}

/// Reads what the kernel has in memory, and at most as much as one call gives; 0 is the end of the
/// file.
///
/// # Errors
/// `WouldBlock` when the disk is needed, or the file system cannot say; else what the system says.
pub fn read_cached(file: impl AsFd, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut slices = [IoSliceMut::new(buffer)];
    match preadv2(file, &mut slices, offset, ReadWriteFlags::NOWAIT) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => Err(Errno::AGAIN.into()),
        other => Ok(other?),
    }
}

/// Reads until the buffer is full or the file ends, however long it takes; gives the bytes read.
///
/// # Errors
/// What the system says.
pub fn read_full(file: impl AsFd, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match pread(&file, &mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(filled)
}
