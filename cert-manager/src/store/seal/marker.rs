//! The file that says with which keys the data are sealed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::keyring::{KeyId, Salt};
use super::{SealError, StoreError};
use crate::store::files::{PUBLIC_FOLDER, SECRET, write_file};

/// Its name in the data folder.
const FILE: &str = "sealed.json";

/// Version of the file.
const VERSION: u32 = 1;

/// With which keys the data are sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    /// Goes into the keys that are made of passphrases.
    pub(super) salt: Salt,
    /// The keys that something may be sealed with.
    pub(super) key_ids: Vec<KeyId>,
    /// Everything is sealed with the only one of them.
    pub(super) complete: bool,
}

#[derive(Serialize, Deserialize)]
struct Text {
    version: u32,
    salt: String,
    key_ids: Vec<String>,
    complete: bool,
}

impl Marker {
    /// Reads the marker of a data folder; `None` when nothing there is sealed.
    pub(super) fn read(data: &Path) -> Result<Option<Self>, SealError> {
        let path = data.join(FILE);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error.to_string()),
            Ok(text) => serde_json::from_str::<Text>(&text).map_err(|error| error.to_string()),
        };
        match text {
            Ok(text) if text.version > VERSION => Err(SealError::Newer {
                path,
                found: text.version,
            }),
            text => text
                .and_then(|text| parse(&text))
                .map(Some)
                .map_err(|reason| SealError::Marker { path, reason }),
        }
    }

    /// Writes the marker durably.
    pub(super) fn write(&self, data: &Path) -> Result<(), StoreError> {
        let path: PathBuf = data.join(FILE);
        let text = Text {
            version: VERSION,
            salt: STANDARD.encode(self.salt),
            key_ids: self.key_ids.iter().map(|id| STANDARD.encode(id)).collect(),
            complete: self.complete,
        };
        let text = serde_json::to_string_pretty(&text)
            .map_err(|error| StoreError::Database(error.to_string()))?;
        write_file(&path, text.as_bytes(), SECRET, PUBLIC_FOLDER).map_err(|source| {
            StoreError::File {
                operation: "writing",
                path,
                source,
            }
        })
    }
}

fn parse(text: &Text) -> Result<Marker, String> {
    let key_ids = text.key_ids.iter().map(|id| octets(id));
    Ok(Marker {
        salt: octets(&text.salt)?,
        key_ids: key_ids.collect::<Result<_, _>>()?,
        complete: text.complete,
    })
}

fn octets<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let octets = STANDARD.decode(text).map_err(|error| error.to_string())?;
    octets
        .try_into()
        .map_err(|_| "a value of another length than it must have".to_owned())
}
