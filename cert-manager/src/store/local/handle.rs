//! The files and the database for whoever works with them, and a database that fails in the middle
//! of a run.
//!
//! sled gives up for good on its first failed write, for example on a full disk. It is then opened
//! anew for the next write, so that the program recovers as soon as the disk does.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use proto::sidecar::error_chain::Chain;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::Rebuilds;
use super::recovery::{self, Opened};
use crate::record::Record;
use crate::store::StoreError;
use crate::store::database::Database;
use crate::store::files::Files;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    data: Arc<PathBuf>,
    pub(super) files: Files,
    state: Arc<RwLock<State>>,
    /// Every record, until somebody takes them or anything is written: a start reads them once.
    records: Arc<Mutex<Option<Vec<Record>>>>,
    pub(super) rebuilds: Rebuilds,
}

#[derive(Debug)]
struct State {
    /// `None` when it failed and could not be opened anew.
    database: Option<Database>,
    /// How often it was opened, so that those who saw the same failure open it once.
    generation: u64,
}

/// A database in use.
type InUse = OwnedRwLockReadGuard<State, Database>;

impl Handle {
    pub(super) fn new(data: PathBuf, files: Files, opened: Opened, rebuilds: Rebuilds) -> Self {
        let state = State {
            database: Some(opened.database),
            generation: 0,
        };
        Self {
            data: Arc::new(data),
            files,
            state: Arc::new(RwLock::new(state)),
            records: Arc::new(Mutex::new(opened.records)),
            rebuilds,
        }
    }

    /// Does blocking work on the files and the database, then flushes the database. The work is
    /// done again with a new database where the first one fails.
    pub(super) async fn write(
        &self,
        work: impl Fn(&Files, &Database) -> Result<(), StoreError> + Send + Sync + 'static,
    ) -> Result<(), StoreError> {
        drop(self.take_records());
        let work = Arc::new(work);
        let mut remedies = [Remedy::Reopen, Remedy::Rebuild].into_iter();
        loop {
            let (database, generation) = self.database().await?;
            let error = match self.attempt(database, Arc::clone(&work)).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let remedy = match (&error, remedies.next()) {
                (StoreError::Database(_), Some(remedy)) => remedy,
                // The disk may have room again, but nothing is gained by a new database.
                (StoreError::DatabaseFile(_), Some(Remedy::Reopen)) => Remedy::Reopen,
                _ => return Err(error),
            };
            let reason = Chain(&error).to_string();
            tracing::warn!(reason, ?remedy, "the database failed");
            self.remedy(remedy, &reason, generation).await?;
        }
    }

    /// Every record as it was when the database was opened, the first time this is asked for and as
    /// long as nothing has been written.
    pub(super) fn take_records(&self) -> Option<Vec<Record>> {
        self.records.lock().take()
    }

    /// Does blocking work that changes nothing.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files, &Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (database, _) = self.database().await?;
        let files = self.files.clone();
        blocking(move || work(&files, &database)).await
    }

    /// Waits until all writes so far are on their way to the disk.
    pub(super) async fn flush(&self) -> Result<(), StoreError> {
        self.database().await?.0.flush().await
    }

    async fn attempt(
        &self,
        database: InUse,
        work: Arc<impl Fn(&Files, &Database) -> Result<(), StoreError> + Send + Sync + 'static>,
    ) -> Result<(), StoreError> {
        let files = self.files.clone();
        let database = blocking(move || work(&files, &database).map(|()| database)).await?;
        database.flush().await
    }

    /// The database, opened anew if it failed before, and its generation.
    async fn database(&self) -> Result<(InUse, u64), StoreError> {
        let state = Arc::clone(&self.state).read_owned().await;
        let generation = state.generation;
        let state = match OwnedRwLockReadGuard::try_map(state, |state| state.database.as_ref()) {
            Ok(database) => return Ok((database, generation)),
            Err(state) => state,
        };
        drop(state);
        self.remedy(Remedy::Reopen, "", generation).await?;
        let state = Arc::clone(&self.state).read_owned().await;
        let generation = state.generation;
        OwnedRwLockReadGuard::try_map(state, |state| state.database.as_ref())
            .map(|database| (database, generation))
            .map_err(|_| StoreError::Database("it failed and cannot be opened".to_owned()))
    }

    /// Opens the database anew, unless somebody has since `generation`.
    async fn remedy(
        &self,
        remedy: Remedy,
        reason: &str,
        generation: u64,
    ) -> Result<(), StoreError> {
        let mut state = Arc::clone(&self.state).write_owned().await;
        if state.generation != generation {
            return Ok(());
        }
        state.generation += 1;
        let before = state.database.take();
        let this = self.clone();
        let reason = reason.to_owned();
        let opened = blocking(move || {
            if let Some(before) = before {
                recovery::close(before);
            }
            if let Remedy::Rebuild = remedy {
                recovery::set_aside(&this.data, &reason, &this.rebuilds)?;
            }
            recovery::open(&this.data, &this.files, &this.rebuilds)
        })
        .await?;
        state.database = Some(opened.database);
        Ok(())
    }
}

/// What is done about a database that fails.
#[derive(Clone, Copy, Debug)]
enum Remedy {
    /// It is opened anew.
    Reopen,
    /// It is moved aside and rebuilt from the files.
    Rebuild,
}

/// Does blocking work where it keeps nobody waiting.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => {
            Err(StoreError::Database("a panic in the database".to_owned()))
        }
        Err(_) => Err(StoreError::Closing),
    }
}
