//! Certificates in the database, each with a note of the files that hold it too.

use serde::{Deserialize, Serialize};

use super::recovery;
use crate::certificate::{Certificate, CertificateError, PrivateKey};
use crate::name::Name;
use crate::pem;
use crate::policy::IssuerId;
use crate::store::StoreError;
use crate::store::database::{Database, Table};
use crate::store::files::{Files, Listed, Stamp, Stored};

/// A certificate as the database has it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CertificateRow {
    pub(super) name: Name,
    pub(super) issuer: IssuerId,
    chain_pem: String,
    key: PrivateKey,
}

/// The files of a certificate that the database has too, or one that is older than another.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FilesRow {
    pub(super) stamp: Stamp,
    pub(super) stored: Stored,
}

/// The certificate of a name: from the files, where the database cannot give it.
pub(super) fn get(
    files: &Files,
    database: &Database,
    name: &Name,
) -> Result<Option<Certificate>, StoreError> {
    match in_database(database, name) {
        Ok(Some(found)) => Ok(Some(found)),
        Ok(None) => files.find_certificate(name),
        Err(error @ StoreError::Sealed(_)) => Err(error),
        Err(error) => {
            let reason = error.to_string();
            tracing::warn!(%name, reason, "the database cannot give a certificate; reading its files");
            files.find_certificate(name)
        }
    }
}

/// The certificate of a name in the database.
pub(super) fn in_database(
    database: &Database,
    name: &Name,
) -> Result<Option<Certificate>, StoreError> {
    // Certificates are not looked at when the database is opened, so damage shows here.
    let row: Option<CertificateRow> =
        recovery::guarded(|| database.get(Table::Certificates, name.as_str()))?;
    row.map(Certificate::try_from)
        .transpose()
        .map_err(|error| StoreError::Database(error.to_string()))
}

/// Puts a certificate that is in `files` into the database.
pub(super) fn put(
    database: &Database,
    certificate: &Certificate,
    files: &Listed,
) -> Result<(), StoreError> {
    let row = CertificateRow {
        name: certificate.name.clone(),
        issuer: certificate.facts.issuer.clone(),
        chain_pem: pem::encode_certificates(&certificate.chain),
        key: certificate.key.clone(),
    };
    database.put(Table::Certificates, &[(row.name.to_string(), &row)])?;
    // After the certificate: the note says that it is there.
    let stored = Stored {
        name: certificate.name.clone(),
        issuer: certificate.facts.issuer.clone(),
        serial: Some(certificate.facts.serial.clone()),
        not_before: certificate.facts.not_before,
    };
    note(database, files, stored)
}

/// Notes that nothing more is to be learnt from `files`, as they are.
pub(super) fn note(database: &Database, files: &Listed, stored: Stored) -> Result<(), StoreError> {
    let row = FilesRow {
        stamp: files.stamp,
        stored,
    };
    database.put(Table::Files, &[(files.key.clone(), &row)])
}

/// Removes a certificate. What was noted of its files is dropped at the next start.
pub(super) fn remove(database: &Database, name: &Name) -> Result<(), StoreError> {
    database.remove(Table::Certificates, &[name.to_string()])
}

impl TryFrom<CertificateRow> for Certificate {
    type Error = CertificateError;

    fn try_from(row: CertificateRow) -> Result<Self, Self::Error> {
        let chain = pem::decode_certificates(&row.chain_pem).map_err(Self::Error::Malformed)?;
        Self::new(row.name, row.issuer, chain, row.key)
    }
}
