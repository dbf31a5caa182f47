//! Sealing what is there already.
//!
//! Files are sealed one after the other, each replaced as a whole. The database is copied, because
//! sled keeps what was overwritten for an unknown time, and the copy then takes its place:
//!
//! ```text
//! db, db.new  -->  db.old, db.new  -->  db.old, db  -->  db
//! ```
//!
//! A crash at any point leaves data that open with the same key file, and the next start goes on.

use std::fs;
use std::io;
use std::path::Path;

use super::Rebuilds;
use super::recovery::{self, DATABASE};
use crate::store::StoreError;
use crate::store::files::{Files, sync_folder};

/// The copy, until it is whole.
const NEW: &str = "db.new";
/// The database that the copy takes the place of.
const OLD: &str = "db.old";

/// Seals everything with the first key. Blocks.
pub(super) fn reseal(data: &Path, files: &Files, rebuilds: &Rebuilds) -> Result<(), StoreError> {
    let sealed = files.reseal()?;
    let (database, _) = recovery::open_database(data, files.seal(), rebuilds)?;
    let copied = recovery::guarded(|| database.copy_to(&data.join(NEW)));
    recovery::close(database);
    match copied {
        Ok(()) => exchange(data)?,
        Err(StoreError::Database(reason)) => {
            remove(&data.join(NEW))?;
            recovery::set_aside(data, &reason, rebuilds)?;
        }
        Err(error) => return Err(error),
    }
    tracing::info!(keys = sealed, "sealed the stored private keys");
    warn_about_old_databases(data)
}

/// Brings the folders of the database into order after a crash. Blocks.
pub(super) fn finish_exchange(data: &Path) -> Result<(), StoreError> {
    let (new, old) = (data.join(NEW), data.join(OLD));
    if old.exists() && !data.join(DATABASE).exists() {
        rename(&old, &data.join(DATABASE))?;
    }
    remove(&old)?;
    remove(&new)
}

fn exchange(data: &Path) -> Result<(), StoreError> {
    let (database, new, old) = (data.join(DATABASE), data.join(NEW), data.join(OLD));
    rename(&database, &old)?;
    rename(&new, &database)?;
    sync_folder(data).map_err(failed("flushing", data))?;
    remove(&old)
}

fn warn_about_old_databases(data: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(data).map_err(failed("listing", data))? {
        let path = entry.map_err(failed("listing", data))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(&format!("{DATABASE}.corrupt-")) {
            tracing::warn!(
                path = %path.display(),
                "a database that was set aside earlier may hold private keys that are not sealed; \
                 remove it if nobody needs it"
            );
        }
    }
    Ok(())
}

fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(failed("moving", from))
}

fn remove(folder: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(failed("removing", folder)),
    }
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::File {
        operation,
        path,
        source,
    }
}
