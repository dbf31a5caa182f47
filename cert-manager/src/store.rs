//! What outlives a run: certificates, accounts, open orders, authorities, and a record per name.
//!
//! [`Storage`] is the seam; [`local::LocalStorage`] is the one for a single machine: plain files
//! in Caddy's layout, written first and durable, and a sled database beside them. Where a key file
//! is given, private keys are sealed in both.

mod database;
mod files;
mod layout;
pub mod local;
mod lock;
mod parallel;
mod seal;
#[cfg(test)]
mod tests;
pub mod transfer;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::authority::Signer;
use crate::certificate::{Certificate, PrivateKey};
use crate::dns::TxtRecord;
use crate::name::Name;
use crate::policy::{ExternalAccount, IssuerId, KeyType};
use crate::record::Record;
use crate::ticket_keys::TicketKey;

pub(crate) use files::write_file;
pub use lock::FolderLock;
pub(crate) use seal::is_sealed_pem;
pub use seal::{Keyring, SealError};

/// Keeps what must outlive a run. Every write is durable when it returns.
#[async_trait]
pub trait Storage: fmt::Debug + Send + Sync {
    /// Every record, in no order.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn records(&self) -> Result<Vec<Record>, StoreError>;

    /// Writes records, each in place of the one of the same name.
    ///
    /// # Errors
    /// When they are not durable.
    async fn put_records(&self, records: &[Record]) -> Result<(), StoreError>;

    /// The certificate of a name.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn certificate(&self, name: &Name) -> Result<Option<Certificate>, StoreError>;

    /// Writes a certificate, in place of the one of the same name.
    ///
    /// # Errors
    /// When it is not durable.
    async fn put_certificate(&self, certificate: &Certificate) -> Result<(), StoreError>;

    /// Removes all that is kept of a name: record, certificates and open orders.
    ///
    /// # Errors
    /// When a part may be left.
    async fn remove_name(&self, name: &Name) -> Result<(), StoreError>;

    /// The open order of a name at an issuer.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn order(&self, issuer: &IssuerId, name: &Name) -> Result<Option<Order>, StoreError>;

    /// Writes an open order, in place of the one of the same name and issuer.
    ///
    /// # Errors
    /// When it is not durable.
    async fn put_order(&self, order: &Order) -> Result<(), StoreError>;

    /// Removes the open order of a name at an issuer, if there is one.
    ///
    /// # Errors
    /// When it may be left.
    async fn remove_order(&self, issuer: &IssuerId, name: &Name) -> Result<(), StoreError>;

    /// The account at an issuer for a contact.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn account(
        &self,
        issuer: &IssuerId,
        email: Option<&str>,
    ) -> Result<Option<Account>, StoreError>;

    /// Every account, in no order.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn accounts(&self) -> Result<Vec<Account>, StoreError>;

    /// Writes an account, in place of the one of the same issuer and contact.
    ///
    /// # Errors
    /// When it is not durable.
    async fn put_account(&self, account: &Account) -> Result<(), StoreError>;

    /// An authority of our own.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn authority(&self, id: AuthorityId) -> Result<Option<Authority>, StoreError>;

    /// Writes an authority.
    ///
    /// # Errors
    /// When it is not durable.
    async fn put_authority(&self, authority: &Authority) -> Result<(), StoreError>;

    /// The keys of session tickets, newest first; empty when there are none.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn ticket_keys(&self) -> Result<Vec<TicketKey>, StoreError>;

    /// Writes the keys of session tickets, in place of those before. They are in no file: without
    /// them clients begin new sessions, and that is all.
    ///
    /// # Errors
    /// When they are not durable.
    async fn put_ticket_keys(&self, keys: &[TicketKey]) -> Result<(), StoreError>;

    /// Waits until everything is durable, at the end of a run.
    ///
    /// # Errors
    /// When it is not.
    async fn flush(&self) -> Result<(), StoreError>;
}

/// An order that an authority has been or is about to be asked for. Kept from before the request
/// until its certificate is stored, so that a restart goes on with the same order and key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// What the certificate is for.
    pub name: Name,
    /// The authority.
    pub issuer: IssuerId,
    /// Where the authority keeps the order; `None` until it has answered.
    pub url: Option<String>,
    /// The key that the certificate will be for.
    pub key: PrivateKey,
    /// When the order was begun.
    pub created_at: Timestamp,
    /// Serial number of the certificate that was stored then.
    pub replaces: Option<String>,
    /// TXT records that were or are about to be written, and must be removed.
    #[serde(default)]
    pub txt_records: Vec<TxtRecord>,
    /// What the policy asked for then.
    #[serde(default)]
    pub terms: OrderTerms,
}

/// What a policy asks of an order, beside the name. An order is not gone on with on other terms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderTerms {
    /// The kind of private key.
    pub key_type: KeyType,
    /// The profile of the certificate.
    pub profile: Option<String>,
    /// The lifetime that was asked for.
    pub lifetime: Option<Duration>,
}

/// An account at an ACME authority.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// The authority.
    pub issuer: IssuerId,
    /// Contact, without `mailto:`.
    pub email: Option<String>,
    /// The account key.
    pub key: PrivateKey,
    /// The account's URL; `None` until the authority has answered.
    pub url: Option<String>,
    /// The key that is to take the place of `key`: kept from before the authority is told until it
    /// is known which of the two it has.
    #[serde(default)]
    pub next_key: Option<PrivateKey>,
    /// The account elsewhere that this one is bound to, where it was not the policy's.
    #[serde(default)]
    pub external_account: Option<ExternalAccount>,
}

/// An authority of our own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Authority {
    /// Which one.
    pub id: AuthorityId,
    /// What is trusted.
    pub root: Signer,
    /// What signs leaves, where that is not the root.
    pub intermediate: Option<Signer>,
}

/// The authorities of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorityId {
    /// Identities of the control plane.
    Control,
    /// Certificates for names that no public authority certifies.
    Local,
}

impl AuthorityId {
    /// The name of its folder and key.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Local => "local",
        }
    }
}

/// Why the store cannot do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read or written.
    #[error("{operation} {}", path.display())]
    File {
        /// What was being done, such as `writing`.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The database refuses.
    #[error("the database failed: {0}")]
    Database(String),
    /// The disk does not take or give what the database writes or reads.
    #[error("the database cannot use its disk; is there room on it, and may this user write?")]
    DatabaseFile(#[source] std::io::Error),
    /// Somebody else has the database open.
    #[error("the database in {} is in use; end the other cert-manager on this folder first", .0.display())]
    InUse(PathBuf),
    /// A record was written by a newer version of the program.
    #[error(
        "the database was written by a newer cert-manager (record version {found}, this one knows \
         {known}); run that version, or restore a backup"
    )]
    Newer {
        /// The record's version.
        found: u32,
        /// The latest version this program knows.
        known: u32,
    },
    /// What is sealed cannot be opened.
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// The program is ending.
    #[error("the store is being closed")]
    Closing,
}
