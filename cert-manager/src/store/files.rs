//! The durable files. Each is written to a temporary file, flushed to the disk, renamed, and its
//! folder flushed, so that after a crash it is the old one or the new one as a whole. The three
//! files of a certificate are replaced together, by exchanging their folder.

pub(super) mod document;
mod durable;
mod list;
mod read;
mod reseal;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::RwLock;

use super::seal::Seal;
use super::{Account, Authority, Order, StoreError, layout};
use crate::certificate::Certificate;
use crate::name::Name;
use crate::policy::IssuerId;

pub(super) use document::Document;
pub(crate) use durable::write_file;
pub(super) use durable::{PUBLIC, PUBLIC_FOLDER, SECRET, sync_all, sync_folder};
use durable::{SECRET_FOLDER, remove_file, remove_folder, replace_folder};
use list::folders;
pub(super) use list::{Listed, Stamp};
pub(super) use read::{Flaw, Flawed, Stored, passed_over};

/// The folder of the durable files.
#[derive(Clone, Debug)]
pub(super) struct Files {
    root: PathBuf,
    /// Where damaged and replaced files are kept.
    aside: PathBuf,
    seal: Seal,
    /// Held for writing by whoever moves what others may be replacing.
    moving: Arc<RwLock<()>>,
}

impl Files {
    /// The files below `root`, which need not exist; damaged ones are moved to below `aside`.
    pub(super) fn new(root: PathBuf, aside: PathBuf, seal: Seal) -> Self {
        Self {
            root,
            aside,
            seal,
            moving: Arc::default(),
        }
    }

    /// What seals the keys in them.
    pub(super) fn seal(&self) -> &Seal {
        &self.seal
    }

    /// Writes certificate, key and metadata. Returns how to tell that they are still those.
    pub(super) fn write_certificate(
        &self,
        certificate: &Certificate,
    ) -> Result<Listed, StoreError> {
        let _moving = self.moving.read();
        self.replace_certificate(certificate)
    }

    fn replace_certificate(&self, certificate: &Certificate) -> Result<Listed, StoreError> {
        let documents = document::certificate(certificate, &self.seal)?;
        let relative = document::certificate_folder(certificate);
        let folder = self.root.join(&relative);
        replace_folder(&folder, &documents).map_err(failed("writing", &folder))?;
        Listed::of(&self.root, folder)
    }

    /// Removes the certificates and open orders of a name, of every issuer.
    pub(super) fn remove_name(&self, name: &Name) -> Result<(), StoreError> {
        let _moving = self.moving.read();
        for issuer in folders(&self.root.join(layout::CERTIFICATES))? {
            let folder = issuer.join(layout::name(name));
            remove_folder(&folder).map_err(failed("removing", &folder))?;
        }
        for issuer in folders(&self.root.join(layout::ORDERS))? {
            let path = issuer.join(format!("{}.json", layout::name(name)));
            remove_file(&path).map_err(failed("removing", &path))?;
        }
        Ok(())
    }

    /// Writes an open order.
    pub(super) fn write_order(&self, order: &Order) -> Result<(), StoreError> {
        self.write(&[document::order(order, &self.seal)?], SECRET_FOLDER)
    }

    /// Removes an open order.
    pub(super) fn remove_order(&self, issuer: &IssuerId, name: &Name) -> Result<(), StoreError> {
        let path = layout::order(&self.root, issuer, name);
        remove_file(&path).map_err(failed("removing", &path))
    }

    /// Writes an account: its key before what names it, so that a crash leaves a key to go on with.
    pub(super) fn write_account(&self, account: &Account) -> Result<(), StoreError> {
        self.write(&document::account(account, &self.seal)?, SECRET_FOLDER)?;
        // Last, so that a crash never leaves fewer keys than the authority may have.
        if account.next_key.is_none() {
            let path = self.root.join(document::next_key(account));
            remove_file(&path).map_err(failed("removing", &path))?;
        }
        Ok(())
    }

    /// Writes an authority. Its certificates can be read by everybody, for they are what users
    /// trust.
    pub(super) fn write_authority(&self, authority: &Authority) -> Result<(), StoreError> {
        let folder = self.authority_folder(authority.id);
        let root = std::fs::read_to_string(folder.join("root.crt"));
        if root.is_ok_and(|root| root != authority.root.certificate_pem) {
            let target = self.keep_aside(&folder)?;
            tracing::warn!(
                authority = authority.id.as_str(),
                moved_to = %target.display(),
                "another authority takes the place of this one"
            );
        }
        self.write(&document::authority(authority, &self.seal)?, PUBLIC_FOLDER)
    }

    /// Keeps a damaged file or folder out of the way, for somebody to look at.
    pub(super) fn set_aside(&self, path: &Path, reason: &str) -> Result<(), StoreError> {
        let target = self.keep_aside(path)?;
        tracing::error!(
            path = %path.display(),
            reason,
            moved_to = %target.display(),
            "A STORED FILE IS DAMAGED and was moved aside"
        );
        Ok(())
    }

    fn keep_aside(&self, path: &Path) -> Result<PathBuf, StoreError> {
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        let time = Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ").to_string();
        let target = self.aside.join(time).join(relative);
        durable::move_to(path, &target).map_err(failed("moving aside", path))?;
        Ok(target)
    }

    /// Makes sure that a certificate's files are damaged, moves them aside and writes those of
    /// `replacement`, if there is one. `None` when others have replaced them in the meantime.
    pub(super) fn repair_certificate(
        &self,
        listed: &Listed,
        replacement: Option<&Certificate>,
    ) -> Result<Option<Repair>, StoreError> {
        let _moving = self.moving.write();
        let present = match Listed::of(&self.root, listed.folder.clone()) {
            Ok(present) if present.stamp == listed.stamp => present,
            _ => return Ok(None),
        };
        let read = self
            .read_metadata(&present)
            .and_then(|stored| self.read_certificate(&present, &stored));
        match read {
            Err(Flaw::Damaged(reason)) => self.set_aside(&listed.folder, &reason)?,
            Err(Flaw::Store(error)) => return Err(error),
            Ok(_) | Err(Flaw::Useless(_)) => return Ok(None),
        }
        let written = replacement.map(|found| self.replace_certificate(found));
        written.transpose().map(|written| Some(Repair { written }))
    }

    fn write(&self, documents: &[Document], folder_mode: u32) -> Result<(), StoreError> {
        for document in documents {
            let path = self.root.join(&document.path);
            write_file(
                &path,
                document.text.as_bytes(),
                document.mode(),
                folder_mode,
            )
            .map_err(failed("writing", &path))?;
        }
        Ok(())
    }
}

/// What was done about a certificate with damaged files.
#[derive(Debug)]
pub(super) struct Repair {
    /// Its new files.
    pub(super) written: Option<Listed>,
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::File {
        operation,
        path,
        source,
    }
}
