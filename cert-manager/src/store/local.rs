//! The store of a single machine: the durable files, and the sled database beside them.
//!
//! Every write goes to the files first. Reads come from the database; what it cannot give comes
//! from the files. When it does not open, it is moved aside and rebuilt from the files; when it
//! holds less than they do, it is completed; when it fails in the middle of a run, it is opened
//! anew.

mod certificates;
mod handle;
mod migrate;
mod recovery;
mod repairs;
mod verify;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::database::Table;
use super::files::Files;
use super::seal::{self, Keyring, Preparation};
use super::{Account, Authority, AuthorityId, Order, Storage, StoreError, layout};
use crate::certificate::Certificate;
use crate::name::Name;
use crate::policy::IssuerId;
use crate::record::Record;
use crate::ticket_keys::TicketKey;

use handle::Handle;
pub use repairs::Rebuilds;
pub use verify::Verified;

/// Folder of the files in the data folder: where Caddy's image has them in its volume `/data`.
const FILES: &str = "caddy";
/// Folder of damaged and replaced files in the data folder.
const ASIDE: &str = "aside";

/// The one key of the table of session ticket keys.
const TICKET_KEYS: &str = "current";

/// The store of a single machine.
#[derive(Clone, Debug)]
pub struct LocalStorage {
    handle: Handle,
}

impl LocalStorage {
    /// Opens the store in `data`, whose [`super::FolderLock`] the caller must hold; private keys
    /// are not sealed.
    ///
    /// # Errors
    /// When the files cannot be read, the database cannot be opened nor made anew, or the private
    /// keys are sealed.
    pub async fn open(data: &Path, rebuilds: Rebuilds) -> Result<Self, StoreError> {
        Self::open_sealed(data, None, rebuilds).await
    }

    /// Opens the store in `data` as [`LocalStorage::open`] does; with a keyring, private keys and
    /// secrets are sealed, those that are there already as well.
    ///
    /// # Errors
    /// As [`LocalStorage::open`], and when the keyring is not the one that the keys were sealed
    /// with. Then nothing has been touched.
    pub async fn open_sealed(
        data: &Path,
        keyring: Option<Arc<Keyring>>,
        rebuilds: Rebuilds,
    ) -> Result<Self, StoreError> {
        let data = data.to_owned();
        let (files, opened) = handle::blocking({
            let rebuilds = rebuilds.clone();
            let data = data.clone();
            move || {
                let (seal, preparation) = seal::prepare(&data, keyring)?;
                let files = Files::new(data.join(FILES), data.join(ASIDE), seal.clone());
                migrate::finish_exchange(&data)?;
                if let Preparation::Reseal = preparation {
                    migrate::reseal(&data, &files, &rebuilds)?;
                    seal::finish(&data, &seal)?;
                }
                let opened = recovery::open(&data, &files, &rebuilds)?;
                Ok((files, opened))
            }
        })
        .await?;
        opened.database.flush().await?;
        Ok(Self {
            handle: Handle::new(data, files, opened, rebuilds),
        })
    }
}

#[async_trait]
impl Storage for LocalStorage {
    async fn records(&self) -> Result<Vec<Record>, StoreError> {
        if let Some(records) = self.handle.take_records() {
            return Ok(records);
        }
        self.handle
            .read(|_, database| database.scan(Table::Records))
            .await
    }

    async fn put_records(&self, records: &[Record]) -> Result<(), StoreError> {
        let records = records.to_vec();
        self.handle
            .write(move |_, database| {
                let entries: Vec<_> = records
                    .iter()
                    .map(|record| (record.name.to_string(), record))
                    .collect();
                database.put(Table::Records, &entries)
            })
            .await
    }

    async fn certificate(&self, name: &Name) -> Result<Option<Certificate>, StoreError> {
        let name = name.clone();
        self.handle
            .read(move |files, database| certificates::get(files, database, &name))
            .await
    }

    async fn put_certificate(&self, certificate: &Certificate) -> Result<(), StoreError> {
        let certificate = certificate.clone();
        self.handle
            .write(move |files, database| {
                let listed = files.write_certificate(&certificate)?;
                certificates::put(database, &certificate, &listed)
            })
            .await
    }

    async fn remove_name(&self, name: &Name) -> Result<(), StoreError> {
        let name = name.clone();
        self.handle
            .write(move |files, database| {
                files.remove_name(&name)?;
                certificates::remove(database, &name)?;
                let orders = database.keys(Table::Orders, &format!("{name} "))?;
                database.remove(Table::Orders, &orders)?;
                database.remove(Table::Records, &[name.to_string()])
            })
            .await
    }

    async fn order(&self, issuer: &IssuerId, name: &Name) -> Result<Option<Order>, StoreError> {
        let key = order_key(issuer, name);
        self.handle
            .read(move |_, database| database.get(Table::Orders, &key))
            .await
    }

    async fn put_order(&self, order: &Order) -> Result<(), StoreError> {
        let order = order.clone();
        self.handle
            .write(move |files, database| {
                files.write_order(&order)?;
                let key = order_key(&order.issuer, &order.name);
                database.put(Table::Orders, &[(key, &order)])
            })
            .await
    }

    async fn remove_order(&self, issuer: &IssuerId, name: &Name) -> Result<(), StoreError> {
        let (issuer, name) = (issuer.clone(), name.clone());
        self.handle
            .write(move |files, database| {
                files.remove_order(&issuer, &name)?;
                database.remove(Table::Orders, &[order_key(&issuer, &name)])
            })
            .await
    }

    async fn account(
        &self,
        issuer: &IssuerId,
        email: Option<&str>,
    ) -> Result<Option<Account>, StoreError> {
        let key = account_key(issuer, email);
        self.handle
            .read(move |_, database| database.get(Table::Accounts, &key))
            .await
    }

    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.handle
            .read(|_, database| database.scan(Table::Accounts))
            .await
    }

    async fn put_account(&self, account: &Account) -> Result<(), StoreError> {
        let account = account.clone();
        self.handle
            .write(move |files, database| {
                files.write_account(&account)?;
                let key = account_key(&account.issuer, account.email.as_deref());
                database.put(Table::Accounts, &[(key, &account)])
            })
            .await
    }

    async fn authority(&self, id: AuthorityId) -> Result<Option<Authority>, StoreError> {
        self.handle
            .read(move |_, database| database.get(Table::Authorities, id.as_str()))
            .await
    }

    async fn put_authority(&self, authority: &Authority) -> Result<(), StoreError> {
        let authority = authority.clone();
        self.handle
            .write(move |files, database| {
                files.write_authority(&authority)?;
                let key = authority.id.as_str().to_owned();
                database.put(Table::Authorities, &[(key, &authority)])
            })
            .await
    }

    async fn ticket_keys(&self) -> Result<Vec<TicketKey>, StoreError> {
        let stored = self
            .handle
            .read(|_, database| database.get(Table::TicketKeys, TICKET_KEYS))
            .await?;
        Ok(stored.unwrap_or_default())
    }

    async fn put_ticket_keys(&self, keys: &[TicketKey]) -> Result<(), StoreError> {
        let keys = keys.to_vec();
        self.handle
            .write(move |_, database| {
                database.put(Table::TicketKeys, &[(TICKET_KEYS.to_owned(), &keys)])
            })
            .await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.handle.flush().await
    }
}

/// Names have no spaces, so the orders of a name share a prefix that no other name has.
fn order_key(issuer: &IssuerId, name: &Name) -> String {
    format!("{name} {}", layout::issuer(issuer))
}

fn account_key(issuer: &IssuerId, email: Option<&str>) -> String {
    format!("{} {}", layout::issuer(issuer), email.unwrap_or_default())
}
