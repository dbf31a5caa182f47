//! The sled database: one tree per record type, each value a versioned JSON document, sealed where
//! a key file is given.
//!
//! sled's flush is no fsync, it has lost databases that were stopped hard, and it has no repair
//! (sled #1452, #1509, #1527, #1533). So nothing here is the only copy of what must not be lost,
//! and whoever opens it must be ready to rebuild it.

mod open;
mod row;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;
use super::parallel::in_parallel;
use super::seal::Seal;

pub(super) use open::{Contents, OpenError};

/// A key and a value, as sled gives them.
type Entry = (sled::IVec, sled::IVec);

/// A flush that takes longer has failed: sled does not always say so when it cannot write.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// The record types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Accounts,
    Authorities,
    Certificates,
    /// What the files hold, as far as the database has it too.
    Files,
    Orders,
    Records,
    TicketKeys,
}

impl Table {
    const ALL: [Self; 7] = [
        Self::Accounts,
        Self::Authorities,
        Self::Certificates,
        Self::Files,
        Self::Orders,
        Self::Records,
        Self::TicketKeys,
    ];

    fn tree(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Authorities => "authorities",
            Self::Certificates => "certificates",
            Self::Files => "files",
            Self::Orders => "orders",
            Self::Records => "records",
            Self::TicketKeys => "ticket_keys",
        }
    }

    fn holds_secrets(self) -> bool {
        self != Self::Files
    }

    /// Whether opening the database reads all of it. Certificates are most of what there is, and
    /// each of them can be had from its files when the database cannot give it.
    fn is_checked(self) -> bool {
        self != Self::Certificates
    }

    /// Whether all of it is decoded right after the database is opened.
    fn is_decoded_next(self) -> bool {
        matches!(self, Self::Files | Self::Records)
    }
}

/// An open database. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Database {
    db: sled::Db,
    trees: [sled::Tree; Table::ALL.len()],
    flushing: Arc<Flushing>,
    seal: Seal,
    folder: PathBuf,
}

/// Flushes one at a time, each for all the writes before it. sled does its input and output in the
/// same small pool of threads that waits for flushes, so a handful of flushes at once can leave no
/// thread for what they wait for.
#[derive(Debug, Default)]
struct Flushing {
    writes: AtomicU64,
    flushed: tokio::sync::Mutex<u64>,
}

impl Database {
    /// Every value of a table. Blocks.
    pub(super) fn scan<T: DeserializeOwned + Send>(
        &self,
        table: Table,
    ) -> Result<Vec<T>, StoreError> {
        let entries = read(self.tree(table))?;
        in_parallel(&entries, |(key, value)| self.decode(table, key, value))
            .into_iter()
            .collect()
    }

    /// One value. Blocks.
    pub(super) fn get<T: DeserializeOwned>(
        &self,
        table: Table,
        key: &str,
    ) -> Result<Option<T>, StoreError> {
        let value = self.tree(table).get(key).map_err(failed)?;
        value
            .map(|value| self.decode(table, key.as_bytes(), &value))
            .transpose()
    }

    /// Whether there is a value. Blocks.
    pub(super) fn contains(&self, table: Table, key: &str) -> Result<bool, StoreError> {
        self.tree(table).contains_key(key).map_err(failed)
    }

    /// Writes values, without waiting for the disk. Blocks.
    pub(super) fn put<T: Serialize>(
        &self,
        table: Table,
        entries: &[(String, &T)],
    ) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, record) in entries {
            let value = self.encode(table, key.as_bytes(), record)?;
            batch.insert(key.as_bytes(), value.as_slice());
        }
        self.apply(table, batch)
    }

    /// Removes values, without waiting for the disk. Blocks.
    pub(super) fn remove(&self, table: Table, keys: &[String]) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for key in keys {
            batch.remove(key.as_bytes());
        }
        self.apply(table, batch)
    }

    /// The keys of a table that begin with `prefix`. Blocks.
    pub(super) fn keys(&self, table: Table, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.tree(table)
            .scan_prefix(prefix)
            .keys()
            .map(|key| {
                String::from_utf8(key.map_err(failed)?.to_vec())
                    .map_err(|error| StoreError::Database(error.to_string()))
            })
            .collect()
    }

    /// Waits until all writes so far are on their way to the disk.
    pub(super) async fn flush(&self) -> Result<(), StoreError> {
        let wanted = self.flushing.writes.load(Ordering::SeqCst);
        let mut flushed = self.flushing.flushed.lock().await;
        if *flushed >= wanted {
            return Ok(());
        }
        let covered = self.flushing.writes.load(Ordering::SeqCst);
        tokio::time::timeout(FLUSH_TIMEOUT, self.db.flush_async())
            .await
            .map_err(|_| {
                StoreError::Database(format!("it was not flushed within {FLUSH_TIMEOUT:?}"))
            })?
            .map_err(failed)?;
        *flushed = covered;
        Ok(())
    }

    /// Copies every record into a new database in `folder`, sealed as records are now. What only
    /// says where the files stand is left behind. Blocks until it is on the disk.
    pub(super) fn copy_to(&self, folder: &Path) -> Result<(), StoreError> {
        let (copy, _) = Self::open(folder, &self.seal)?;
        for table in Table::ALL.into_iter().filter(|table| table.holds_secrets()) {
            for entry in self.tree(table) {
                let (key, value) = entry.map_err(failed)?;
                let value = match copy.close_anew(self, table, &key, &value) {
                    Ok(value) => value,
                    // It can be had from the files.
                    Err(error @ StoreError::Database(_)) => {
                        tracing::warn!(%error, "a damaged record is left behind");
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                let tree = copy.tree(table);
                tree.insert(key, value.as_slice()).map_err(failed)?;
            }
        }
        copy.db.flush().map_err(failed)?;
        drop(copy);
        super::files::sync_all(folder).map_err(|source| StoreError::File {
            operation: "flushing",
            path: folder.to_owned(),
            source,
        })
    }

    fn decode_all<T: DeserializeOwned + Send>(
        &self,
        table: Table,
        entries: &[Entry],
    ) -> Result<Vec<(String, T)>, StoreError> {
        let decoded = in_parallel(entries, |(key, value)| {
            let record = self.decode(table, key, value)?;
            let key = String::from_utf8(key.to_vec()).map_err(malformed)?;
            Ok((key, record))
        });
        decoded.into_iter().collect()
    }

    fn apply(&self, table: Table, batch: sled::Batch) -> Result<(), StoreError> {
        self.tree(table).apply_batch(batch).map_err(failed)?;
        self.flushing.writes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn tree(&self, table: Table) -> &sled::Tree {
        &self.trees[table as usize]
    }
}

/// Every key and value of a tree.
fn read(tree: &sled::Tree) -> Result<Vec<Entry>, StoreError> {
    tree.iter().map(|entry| entry.map_err(failed)).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "a parameter of map_err")]
fn malformed(error: impl ToString) -> StoreError {
    StoreError::Database(format!("a malformed record: {}", error.to_string()))
}

/// Tells a disk that is full or read-only from a database that is damaged.
fn failed(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(source) if is_of_the_disk(&source) => StoreError::DatabaseFile(source),
        other => StoreError::Database(other.to_string()),
    }
}

fn is_of_the_disk(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::FileTooLarge
            | io::ErrorKind::OutOfMemory
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::StorageFull
    )
}
