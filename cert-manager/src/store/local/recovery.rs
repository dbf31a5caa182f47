//! Opens a database that may be damaged, and brings it and the files up to what the other holds.

mod certificates;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::{Rebuilds, account_key, order_key};
use crate::authority::Signer;
use crate::record::Record;
use crate::store::database::{Contents, Database, OpenError, Table};
use crate::store::files::{Files, Flaw, Flawed};
use crate::store::seal::Seal;
use crate::store::{Account, Authority, AuthorityId, Order, StoreError};

/// Folder of the database in the data folder.
pub(super) const DATABASE: &str = "db";
/// Exists while the database is being opened. Found at a start, it says that the one before died
/// at that, which a damaged database can cause beyond what can be caught.
const OPENING: &str = "db.opening";

/// A database that is open and complete.
pub(super) struct Opened {
    pub(super) database: Database,
    /// Every record in it, where they are known without reading them again.
    pub(super) records: Option<Vec<Record>>,
}

/// Opens the database in `data` and brings it and the files up to one another; one that does not
/// open, or fails at that, is set aside and rebuilt. Blocks.
pub(super) fn open(data: &Path, files: &Files, rebuilds: &Rebuilds) -> Result<Opened, StoreError> {
    let (database, contents) = open_database(data, files.seal(), rebuilds)?;
    match guarded(|| complete(&database, contents, files, rebuilds)) {
        Ok(records) => Ok(Opened { database, records }),
        Err(StoreError::Database(reason)) => {
            close(database);
            set_aside(data, &reason, rebuilds)?;
            let (database, contents) = open_database(data, files.seal(), rebuilds)?;
            let records = complete(&database, contents, files, rebuilds)?;
            Ok(Opened { database, records })
        }
        Err(error) => Err(error),
    }
}

/// Does work on a database that may be damaged beyond what sled says by an error.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(StoreError::Database("a panic in the database".to_owned())))
}

/// Closes a database that may have failed: what sled does at its end fails then as well, and may
/// panic.
pub(super) fn close(database: Database) {
    let closed = guarded(|| {
        drop(database);
        Ok(())
    });
    if let Err(error) = closed {
        tracing::debug!(%error, "closing the database");
    }
}

/// Opens the database in `data`; one that does not open is set aside. Blocks.
pub(super) fn open_database(
    data: &Path,
    seal: &Seal,
    rebuilds: &Rebuilds,
) -> Result<(Database, Contents), StoreError> {
    let folder = data.join(DATABASE);
    let marker = data.join(OPENING);
    if marker.exists() && folder.exists() {
        set_aside(data, "an earlier start died while opening it", rebuilds)?;
    }
    fs::write(&marker, b"").map_err(failed("writing", &marker))?;
    let opened = match Database::open(&folder, seal) {
        Err(OpenError::Broken(reason)) => {
            set_aside(data, &reason, rebuilds)?;
            Database::open(&folder, seal)
        }
        other => other,
    };
    fs::remove_file(&marker).map_err(failed("removing", &marker))?;
    opened.map_err(StoreError::from)
}

/// Moves the database in `data` out of the way. Blocks.
pub(super) fn set_aside(data: &Path, reason: &str, rebuilds: &Rebuilds) -> Result<(), StoreError> {
    let folder = data.join(DATABASE);
    let aside: PathBuf = folder.with_file_name(format!(
        "{DATABASE}.corrupt-{}",
        Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ")
    ));
    tracing::error!(
        reason,
        moved_to = %aside.display(),
        "THE DATABASE DOES NOT OPEN and is rebuilt from the certificate files; nothing that was \
         announced is lost, but past problems and waiting times are"
    );
    rebuilds.note();
    fs::rename(&folder, &aside).map_err(failed("moving aside", &folder))
}

/// Brings the database up to what the files hold, and writes files that are damaged or gone again
/// where the database has them. Returns all records, where they are known. Blocks.
fn complete(
    database: &Database,
    contents: Contents,
    files: &Files,
    rebuilds: &Rebuilds,
) -> Result<Option<Vec<Record>>, StoreError> {
    let repair = Repair {
        database,
        files,
        rebuilds,
    };
    let certificates = certificates::complete(&repair, contents)?;
    let completed = certificates.taken
        + repair.orders()?
        + repair.accounts()?
        + repair.authority(AuthorityId::Control)?
        + repair.authority(AuthorityId::Local)?;
    if completed > 0 {
        rebuilds.note();
        tracing::warn!(
            records = completed,
            "the database held less than the certificate files and was completed from them"
        );
    }
    Ok(certificates.records)
}

/// What a repair works with.
struct Repair<'a> {
    database: &'a Database,
    files: &'a Files,
    rebuilds: &'a Rebuilds,
}

impl Repair<'_> {
    fn orders(&self) -> Result<usize, StoreError> {
        let (orders, damaged) = self.files.orders()?;
        self.set_aside(&damaged)?;
        let key = |order: &Order| order_key(&order.issuer, &order.name);
        let known: Vec<Order> = self.database.scan(Table::Orders)?;
        for order in &known {
            if !orders.iter().any(|found| key(found) == key(order)) {
                self.rewritten(&format!("the open order of {}", order.name));
                self.files.write_order(order)?;
            }
        }
        self.take(Table::Orders, &orders, &known, key)
    }

    fn accounts(&self) -> Result<usize, StoreError> {
        let (accounts, damaged) = self.files.accounts()?;
        self.set_aside(&damaged)?;
        for flawed in &damaged {
            let key = flawed.path.with_extension("key");
            if key.exists() {
                self.files.set_aside(&key, &flawed.reason)?;
            }
        }
        let key = |account: &Account| account_key(&account.issuer, account.email.as_deref());
        let known: Vec<Account> = self.database.scan(Table::Accounts)?;
        for account in &known {
            if !accounts.iter().any(|found| key(found) == key(account)) {
                self.rewritten(&format!("the account at {}", account.issuer));
                self.files.write_account(account)?;
            }
        }
        self.take(Table::Accounts, &accounts, &known, key)
    }

    fn authority(&self, id: AuthorityId) -> Result<usize, StoreError> {
        let known: Option<Authority> = self.database.get(Table::Authorities, id.as_str())?;
        let found = match self.files.authority(id) {
            Ok(found) => found,
            Err(Flaw::Store(error)) => return Err(error),
            Err(Flaw::Damaged(reason) | Flaw::Useless(reason)) => {
                self.files
                    .set_aside(&self.files.authority_folder(id), &reason)?;
                if known.is_none() {
                    tracing::error!(
                        authority = id.as_str(),
                        "an authority's files cannot be used; a new authority will be made, which \
                         must be trusted anew"
                    );
                }
                None
            }
        };
        match (known, found) {
            (None, None) => Ok(0),
            (Some(known), Some(found)) if is_same(&known.root, &found.root) => {
                match (&known.intermediate, &found.intermediate) {
                    (Some(_), None) => self.write_authority(&known).map(|()| 0),
                    (None, None) => Ok(0),
                    (Some(known), Some(found)) if is_same(known, found) => Ok(0),
                    (_, Some(_)) => self.take_authority(&found),
                }
            }
            (_, Some(found)) => self.take_authority(&found),
            (Some(known), None) => self.write_authority(&known).map(|()| 0),
        }
    }

    fn write_authority(&self, authority: &Authority) -> Result<(), StoreError> {
        self.rewritten(&format!("the authority {}", authority.id.as_str()));
        self.files.write_authority(authority)
    }

    fn take_authority(&self, authority: &Authority) -> Result<usize, StoreError> {
        let key = authority.id.as_str().to_owned();
        self.database
            .put(Table::Authorities, &[(key, authority)])
            .map(|()| 1)
    }

    /// Puts into the database what the files have otherwise: they are written first, so they are
    /// the newer ones.
    fn take<T: Serialize>(
        &self,
        table: Table,
        found: &[T],
        known: &[T],
        key: impl Fn(&T) -> String,
    ) -> Result<usize, StoreError> {
        let mut taken = 0;
        for item in found {
            let before = known.iter().find(|known| key(known) == key(item));
            if before.is_some_and(|before| is_equal(before, item)) {
                continue;
            }
            self.database.put(table, &[(key(item), item)])?;
            taken += 1;
        }
        Ok(taken)
    }

    fn set_aside(&self, damaged: &[Flawed]) -> Result<(), StoreError> {
        for flawed in damaged {
            self.files.set_aside(&flawed.path, &flawed.reason)?;
        }
        Ok(())
    }

    /// Files are written again from what the database has.
    fn rewritten(&self, what: &str) {
        self.rebuilds.note_damaged_file();
        tracing::warn!(
            what,
            "stored files were gone or damaged and are written again from the database"
        );
    }
}

fn is_same(a: &Signer, b: &Signer) -> bool {
    a.certificate_pem == b.certificate_pem && a.key.secret_der() == b.key.secret_der()
}

fn is_equal<T: Serialize>(a: &T, b: &T) -> bool {
    let text = |item| serde_json::to_vec(item).map(zeroize::Zeroizing::new).ok();
    text(a).is_some_and(|a| Some(a) == text(b))
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::File {
        operation,
        path,
        source,
    }
}
