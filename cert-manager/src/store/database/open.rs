//! Opening a database that may be damaged.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::row::verify_version;
use super::{Database, Entry, Table, failed, read};
use crate::store::StoreError;
use crate::store::seal::Seal;

/// Names and certificates are few and small; sled's own default is a gibibyte.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// A database that takes longer to open is taken for broken: recovery of a torn log can loop.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a database may be in use by whoever is about to close it.
const CLOSING: Duration = Duration::from_secs(2);
const CLOSING_POLL: Duration = Duration::from_millis(20);

/// Why a database does not open.
#[derive(Debug)]
pub(in crate::store) enum OpenError {
    /// It is damaged, or sled fails on it for another reason.
    Broken(String),
    /// It is whole, but this program must not use it.
    Refused(StoreError),
}

/// What the tables that are read when a database is opened held then, so that nobody has to read
/// them again.
#[derive(Debug)]
pub(in crate::store) struct Contents(Vec<(Table, Vec<Entry>)>);

impl Contents {
    /// The keys and records of a table, which is one that is checked. Blocks.
    pub(in crate::store) fn decode<T: DeserializeOwned + Send>(
        &self,
        database: &Database,
        table: Table,
    ) -> Result<Vec<(String, T)>, StoreError> {
        let entries = self.0.iter().find(|(of, _)| *of == table);
        let entries = entries.map_or(&[][..], |(_, entries)| entries);
        database.decode_all(table, entries)
    }
}

impl Database {
    /// Opens the database in `folder` and reads all but the certificates once, so that damage shows
    /// now. Blocks.
    pub(in crate::store) fn open(
        folder: &Path,
        seal: &Seal,
    ) -> Result<(Self, Contents), OpenError> {
        let (done, opened) = mpsc::sync_channel(1);
        let folder = folder.to_owned();
        let seal = seal.clone();
        // A thread of its own, so that a recovery that never ends can be left behind.
        thread::spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| open_and_read(&folder, seal)))
                .unwrap_or_else(|_| Err(OpenError::Broken("sled panicked".to_owned())));
            // Nobody listens after the timeout.
            let _ = done.send(result);
        });
        opened.recv_timeout(OPEN_TIMEOUT).unwrap_or_else(|_| {
            Err(OpenError::Broken(format!(
                "it did not open within {OPEN_TIMEOUT:?}"
            )))
        })
    }

    /// Reads and verifies every value of a table.
    fn check(&self, table: Table) -> Result<Vec<Entry>, StoreError> {
        let entries = read(self.tree(table))?;
        for (key, value) in &entries {
            // What is decoded next shows then whether it is whole.
            if table.is_decoded_next() {
                verify_version(value)?;
            } else {
                self.verify(table, key, value)?;
            }
        }
        Ok(entries)
    }
}

fn open_and_read(folder: &Path, seal: Seal) -> Result<(Database, Contents), OpenError> {
    // sled makes its files readable by everybody, and they hold private keys.
    fs::create_dir_all(folder)
        .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o700)))
        .map_err(|source| {
            OpenError::Refused(StoreError::File {
                operation: "making",
                path: folder.to_owned(),
                source,
            })
        })?;
    let db = open_unused(folder)?;
    let mut trees = Vec::with_capacity(Table::ALL.len());
    for table in Table::ALL {
        trees.push(db.open_tree(table.tree()).map_err(failed)?);
    }
    let trees = trees
        .try_into()
        .map_err(|_| OpenError::Broken("trees are missing".to_owned()))?;
    let database = Database {
        db,
        trees,
        flushing: Arc::default(),
        seal,
        folder: folder.to_owned(),
    };
    let checked: Vec<_> = Table::ALL
        .into_iter()
        .filter(|table| table.is_checked())
        .collect();
    let contents = thread::scope(|scope| {
        let database = &database;
        let reading: Vec<_> = checked
            .into_iter()
            .map(|table| (table, scope.spawn(move || database.check(table))))
            .collect();
        reading
            .into_iter()
            .map(|(table, reading)| {
                let entries = reading
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                Ok((table, entries))
            })
            .collect::<Result<_, StoreError>>()
    })?;
    Ok((database, Contents(contents)))
}

/// Opens a database that nobody else has open.
fn open_unused(folder: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new()
        .path(folder)
        .mode(sled::Mode::LowSpace)
        .cache_capacity(CACHE_BYTES);
    let begin = Instant::now();
    loop {
        match config.open() {
            Err(error) if is_in_use(&error) => {
                if begin.elapsed() > CLOSING {
                    return Err(StoreError::InUse(folder.to_owned()));
                }
                thread::sleep(CLOSING_POLL);
            }
            opened => return opened.map_err(failed),
        }
    }
}

/// sled has no kind of its own for this error.
fn is_in_use(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(source) if source.to_string().contains("could not acquire lock"))
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(reason) => Self::Broken(reason),
            other => Self::Refused(other),
        }
    }
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Broken(reason) => Self::Database(reason),
            OpenError::Refused(error) => error,
        }
    }
}
