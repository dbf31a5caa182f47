//! Looks through all certificates for damage, at leisure: a start does not read them.

use std::time::Duration;

use proto::sidecar::error_chain::Chain;
use proto::sidecar::shutdown::Shutdown;

use super::certificates::{self, FilesRow};
use super::handle::Handle;
use super::{LocalStorage, layout};
use crate::certificate::Certificate;
use crate::store::StoreError;
use crate::store::database::{Database, Table};
use crate::store::files::{Files, Flaw, Listed, passed_over};

/// So many are looked at in one go.
const SHARE: usize = 64;
/// The pause between, so that others get to the disk.
const PAUSE: Duration = Duration::from_millis(100);
/// The first look comes this long after the start.
const FIRST: Duration = Duration::from_secs(60);
/// The time between looks.
const INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// What a look through all certificates found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Certificates whose files were damaged.
    pub damaged_files: usize,
    /// Certificates that the database did not have, or not whole.
    pub damaged_rows: usize,
}

impl LocalStorage {
    /// Looks through all certificates once a day until shutdown.
    pub async fn keep_verified(self, shutdown: Shutdown) {
        let mut pause = FIRST;
        loop {
            tokio::select! {
                () = shutdown.token.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = INTERVAL;
            tokio::select! {
                () = shutdown.token.cancelled() => return,
                verified = self.verify() => match verified {
                    Ok(verified) if verified == Verified::default() => {
                        tracing::debug!("all stored certificates are whole");
                    }
                    Ok(verified) => tracing::warn!(?verified, "stored certificates were damaged"),
                    Err(error) => tracing::error!(
                        error = %Chain(&error),
                        "the stored certificates cannot be looked through"
                    ),
                },
            }
        }
    }

    /// Looks through all certificates: the damaged files of one are moved aside and written again
    /// where the database has it, and the other way round. Cancel safe.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn verify(&self) -> Result<Verified, StoreError> {
        let listed = self.handle.read(|files, _| files.list()).await?;
        let mut verified = Verified::default();
        for share in listed.chunks(SHARE) {
            let share = share.to_vec();
            let handle = self.handle.clone();
            let found = self
                .handle
                .read(move |files, database| verify_all(&handle, files, database, &share))
                .await?;
            verified.damaged_files += found.damaged_files;
            verified.damaged_rows += found.damaged_rows;
            if listed.len() > SHARE {
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.handle.flush().await?;
        Ok(verified)
    }
}

fn verify_all(
    handle: &Handle,
    files: &Files,
    database: &Database,
    share: &[Listed],
) -> Result<Verified, StoreError> {
    let mut verified = Verified::default();
    for listed in share {
        let read = files
            .read_metadata(listed)
            .and_then(|stored| files.read_certificate(listed, &stored));
        match read {
            Ok(certificate) => {
                if is_missing(database, &certificate)? && is_newest(files, &certificate)? {
                    certificates::put(database, &certificate, listed)?;
                    handle.rebuilds.note();
                    verified.damaged_rows += 1;
                }
            }
            Err(Flaw::Damaged(_)) => {
                let replacement = replacement(database, listed)?;
                let Some(repair) = files.repair_certificate(listed, replacement.as_ref())? else {
                    continue;
                };
                handle.rebuilds.note_damaged_file();
                verified.damaged_files += 1;
                if let (Some(certificate), Some(written)) = (replacement, repair.written) {
                    certificates::put(database, &certificate, &written)?;
                }
            }
            Err(Flaw::Useless(reason)) => passed_over(&listed.folder, &reason),
            Err(Flaw::Store(error)) => return Err(error),
        }
    }
    Ok(verified)
}

/// Whether the database cannot give a certificate of the name.
fn is_missing(database: &Database, certificate: &Certificate) -> Result<bool, StoreError> {
    match certificates::in_database(database, &certificate.name) {
        Ok(found) => Ok(found.is_none()),
        Err(StoreError::Database(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

fn is_newest(files: &Files, certificate: &Certificate) -> Result<bool, StoreError> {
    let newest = files.find_certificate(&certificate.name)?;
    Ok(newest.is_some_and(|newest| newest.facts == certificate.facts))
}

/// The certificate that the files of `listed` should hold, if the database has it.
fn replacement(database: &Database, listed: &Listed) -> Result<Option<Certificate>, StoreError> {
    let row: Option<FilesRow> = database.get(Table::Files, &listed.key)?;
    let Some(row) = row else { return Ok(None) };
    let found = match certificates::in_database(database, &row.stored.name) {
        Ok(found) => found,
        Err(StoreError::Database(_)) => None,
        Err(error) => return Err(error),
    };
    // It may be a newer one of another issuer.
    Ok(found.filter(|found| {
        let issuer = layout::issuer(&found.facts.issuer);
        format!("{issuer}/{}", layout::name(&found.name)) == listed.key
    }))
}

#[cfg(test)]
impl LocalStorage {
    /// Drops a certificate from the database alone.
    pub(in crate::store) async fn lose_certificate(&self, name: &crate::name::Name) {
        let name = name.clone();
        self.handle
            .write(move |_, database| certificates::remove(database, &name))
            .await
            .unwrap();
    }
}
