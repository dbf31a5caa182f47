//! How a record is written: a versioned JSON document, sealed where a key file is given.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Database, Table, malformed};
use crate::store::StoreError;
use crate::store::seal::OpenError as SealedError;

/// Version of records that are written as they are.
const PLAIN: u32 = 1;
/// Version of records that are sealed.
const SEALED: u32 = 2;
/// How records that are written as they are begin.
const PLAIN_BEGIN: &[u8] = b"{\"version\":1,";
/// How records that are sealed begin.
const SEALED_BEGIN: &[u8] = b"{\"version\":2,";

#[derive(Serialize)]
struct PlainRef<'a, T> {
    version: u32,
    record: &'a T,
}

#[derive(Deserialize)]
struct Plain<T> {
    record: T,
}

/// A record that is sealed.
#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    version: u32,
    /// Base64 of the document that would be there otherwise.
    sealed: &'a str,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Database {
    /// A record as it is written.
    pub(super) fn encode<T: Serialize>(
        &self,
        table: Table,
        key: &[u8],
        record: &T,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let document = serde_json::to_vec(&PlainRef {
            version: PLAIN,
            record,
        })
        .map(Zeroizing::new)
        .map_err(|error| StoreError::Database(error.to_string()))?;
        self.close(table, key, document)
    }

    /// A record as it was before it was written.
    pub(super) fn decode<T: DeserializeOwned>(
        &self,
        table: Table,
        key: &[u8],
        value: &[u8],
    ) -> Result<T, StoreError> {
        let document = self.reveal(table, key, value)?;
        let document = document.as_ref().map_or(value, |document| document);
        serde_json::from_slice::<Plain<T>>(document)
            .map(|plain| plain.record)
            .map_err(malformed)
    }

    /// The record in `value` as this database writes it.
    pub(super) fn close_anew(
        &self,
        from: &Self,
        table: Table,
        key: &[u8],
        value: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let document = from.reveal(table, key, value)?;
        self.close(
            table,
            key,
            document.unwrap_or_else(|| Zeroizing::new(value.to_vec())),
        )
    }

    /// Whether a record is whole, and of a version that is known.
    pub(super) fn verify(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        verify_version(value)?;
        let Version { .. } = serde_json::from_slice(value).map_err(malformed)?;
        self.reveal(table, key, value).map(drop)
    }

    fn close(
        &self,
        table: Table,
        key: &[u8],
        document: Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        if !table.holds_secrets() {
            return Ok(document);
        }
        let Some(sealed) = self.seal.seal(&document, &what(table, key))? else {
            return Ok(document);
        };
        serde_json::to_vec(&Sealed {
            version: SEALED,
            sealed: &STANDARD.encode(sealed),
        })
        .map(Zeroizing::new)
        .map_err(|error| StoreError::Database(error.to_string()))
    }

    /// The document of a record that is sealed; `None` for one that is not.
    fn reveal(
        &self,
        table: Table,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        if !value.starts_with(SEALED_BEGIN) {
            return Ok(None);
        }
        let Sealed { sealed, .. } = serde_json::from_slice(value).map_err(malformed)?;
        let sealed = STANDARD.decode(sealed).map_err(malformed)?;
        self.seal
            .open(&sealed, &what(table, key), &self.folder)
            .map(Some)
            .map_err(|error| match error {
                SealedError::Damaged(reason) => malformed(reason),
                SealedError::Locked(error) => error.into(),
            })
    }
}

/// Whether a record is of a version that is known.
pub(super) fn verify_version(value: &[u8]) -> Result<(), StoreError> {
    if value.starts_with(PLAIN_BEGIN) || value.starts_with(SEALED_BEGIN) {
        return Ok(());
    }
    let Version { version } = serde_json::from_slice(value).map_err(malformed)?;
    if version > SEALED {
        return Err(StoreError::Newer {
            found: version,
            known: SEALED,
        });
    }
    Ok(())
}

/// What a record is sealed as.
fn what(table: Table, key: &[u8]) -> String {
    format!("{}/{}", table.tree(), String::from_utf8_lossy(key))
}
