//! What is stored as files in Caddy's layout, never sealed: for `export`.

use zeroize::Zeroizing;

use super::files::{Document, document};
use super::seal::Seal;
use super::{Account, Authority, StoreError, layout};
use crate::certificate::Certificate;
use crate::policy::IssuerId;

/// A file of Caddy's layout.
#[derive(Clone)]
pub struct ExportedFile {
    /// Where it goes, below the folder of all files.
    pub path: String,
    /// What stands in it. May be secret.
    pub text: Zeroizing<String>,
    /// Everybody may read it.
    pub is_public: bool,
}

/// The files of a certificate.
///
/// # Errors
/// When they cannot be written down.
pub fn certificate(certificate: &Certificate) -> Result<Vec<ExportedFile>, StoreError> {
    exported(document::certificate(certificate, &Seal::default()))
}

/// The files of an account.
///
/// # Errors
/// When they cannot be written down.
pub fn account(account: &Account) -> Result<Vec<ExportedFile>, StoreError> {
    exported(document::account(account, &Seal::default()))
}

/// The files of an authority.
///
/// # Errors
/// When they cannot be written down.
pub fn authority(authority: &Authority) -> Result<Vec<ExportedFile>, StoreError> {
    exported(document::authority(authority, &Seal::default()))
}

/// The folder that Caddy has for an issuer's certificates and accounts.
pub fn issuer_folder(issuer: &IssuerId) -> String {
    layout::issuer(issuer)
}

fn exported(documents: Result<Vec<Document>, StoreError>) -> Result<Vec<ExportedFile>, StoreError> {
    let documents = documents?.into_iter().map(|document| ExportedFile {
        path: document.path.to_string_lossy().into_owned(),
        text: document.text,
        is_public: document.is_public,
    });
    Ok(documents.collect())
}

impl std::fmt::Debug for ExportedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExportedFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
