//! One active cert-manager per data folder.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::fs::FlockOperation;

use super::StoreError;

/// How often a standby looks whether the lock is free.
const POLL: Duration = Duration::from_millis(500);

/// The exclusive right to a data folder, for as long as it lives; the kernel ends it with the
/// process, however that ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the lock of `folder`, if it is free.
    ///
    /// # Errors
    /// When the folder cannot be written or its file system has no locks.
    pub fn try_take(folder: &Path) -> Result<Option<Self>, StoreError> {
        let path = folder.join("lock");
        let error = |source| StoreError::File {
            operation: "locking",
            path: path.clone(),
            source,
        };
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(error)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(error(io::Error::from(errno))),
        }
    }

    /// Waits for the lock; `on_wait` is called once if it is not free at first. Cancel safe.
    ///
    /// # Errors
    /// As [`FolderLock::try_take`].
    pub async fn take(folder: &Path, on_wait: impl FnOnce()) -> Result<Self, StoreError> {
        if let Some(lock) = Self::try_take(folder)? {
            return Ok(lock);
        }
        on_wait();
        loop {
            tokio::time::sleep(POLL).await;
            if let Some(lock) = Self::try_take(folder)? {
                return Ok(lock);
            }
        }
    }
}
