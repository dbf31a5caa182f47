//! Sealing of private keys and secrets at rest.
//!
//! Sealed is what AES-256-GCM makes of a text with a random nonce. What the text is (its kind, name
//! and issuer) is authenticated with it, so that sealed texts cannot be exchanged for one another.
//!
//! ```text
//! version (1)  salt (16)  key id (8)  nonce (12)  ciphertext and tag
//! ```
//!
//! `DATA/sealed.json` says which keys are needed to open what is there, so that a wrong key is
//! noticed before anything is touched.

mod keyring;
mod marker;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::StoreError;
use crate::certificate::PrivateKey;
use crate::pem;

pub use keyring::Keyring;
use keyring::{KEY_ID, KeyId, SALT, Salt};
use marker::Marker;

/// Version of the sealed form.
const VERSION: u8 = 1;
/// What comes before the nonce.
const HEAD: usize = 1 + SALT + KEY_ID;
/// Length of a nonce of AES-GCM.
const NONCE: usize = 12;

/// Label of a sealed key's PEM block, in place of `PRIVATE KEY`.
const LABEL: &str = "PORTICO SEALED KEY";

/// Seals what is written and opens what is read; without keys it leaves all as it is. Cheap to
/// clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Seal(Option<Arc<Sealing>>);

#[derive(Debug)]
struct Sealing {
    keyring: Arc<Keyring>,
    salt: Salt,
}

/// Why sealed data cannot be used as they are.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// They are sealed and no key was given.
    #[error(
        "the private keys in {} are sealed; give the file that holds their key with --key-file \
         (PORTICO_KEY_FILE)",
        data.display()
    )]
    NoKey {
        /// The data folder.
        data: PathBuf,
    },
    /// They are sealed with a key that was not given.
    #[error(
        "the private keys in {} are sealed with a key that {} (--key-file) does not hold; add that \
         key as a line of the file, after the first one if they are to be sealed anew",
        data.display(),
        key_file.display()
    )]
    WrongKey {
        /// The data folder, or the sealed file.
        data: PathBuf,
        /// The key file.
        key_file: PathBuf,
    },
    /// What says how they are sealed is damaged.
    #[error(
        "{} cannot be used: {reason}; restore it from a backup, or give the key file with \
         --key-file to have it written anew",
        path.display()
    )]
    Marker {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A newer version of the program has sealed them.
    #[error(
        "the private keys were sealed by a newer cert-manager ({} has version {found}); run that \
         version, or restore a backup",
        path.display()
    )]
    Newer {
        /// What says so.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The cryptography library refuses.
    #[error("sealing a private key failed")]
    Cryptography,
}

/// Why a sealed text does not open.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The text is not as it was when it was sealed, or was sealed as something else.
    Damaged(String),
    /// The key for it is missing.
    Locked(SealError),
}

/// What must be done before the data can be used.
#[derive(Debug)]
pub(super) enum Preparation {
    /// Nothing.
    Ready,
    /// Everything must be sealed with the first key; [`finish`] says that it is.
    Reseal,
}

/// Checks that what is in `data` can be opened, before anything is touched. Blocks.
pub(super) fn prepare(
    data: &Path,
    keyring: Option<Arc<Keyring>>,
) -> Result<(Seal, Preparation), StoreError> {
    let marker = Marker::read(data);
    let Some(keyring) = keyring else {
        return match marker? {
            None => Ok((Seal::default(), Preparation::Ready)),
            Some(_) => Err(SealError::NoKey {
                data: data.to_owned(),
            }
            .into()),
        };
    };
    let marker = match marker {
        // Every sealed text says itself how it was sealed.
        Err(SealError::Marker { path, reason }) => {
            tracing::warn!(path = %path.display(), reason, "a damaged file is written anew");
            None
        }
        other => other?,
    };
    let salt = match &marker {
        Some(marker) => marker.salt,
        None => rand::random(),
    };
    let first = keyring.first(&salt)?.id;
    if let Some(marker) = &marker {
        for id in &marker.key_ids {
            if keyring.find(&salt, *id)?.is_none() {
                return Err(SealError::WrongKey {
                    data: data.to_owned(),
                    key_file: keyring.path().to_owned(),
                }
                .into());
            }
        }
    }
    let seal = Seal(Some(Arc::new(Sealing { keyring, salt })));
    if marker
        .as_ref()
        .is_some_and(|marker| marker.complete && marker.key_ids == [first])
    {
        return Ok((seal, Preparation::Ready));
    }
    // Written before the first text is sealed: a start without the keys must be refused from now
    // on, also when this one is killed halfway.
    let mut key_ids = marker.map(|marker| marker.key_ids).unwrap_or_default();
    if !key_ids.contains(&first) {
        key_ids.push(first);
    }
    Marker {
        salt,
        key_ids,
        complete: false,
    }
    .write(data)?;
    Ok((seal, Preparation::Reseal))
}

/// Everything in `data` is sealed with the first key. Blocks.
pub(super) fn finish(data: &Path, seal: &Seal) -> Result<(), StoreError> {
    let Some(sealing) = &seal.0 else {
        return Ok(());
    };
    Marker {
        salt: sealing.salt,
        key_ids: vec![sealing.keyring.first(&sealing.salt)?.id],
        complete: true,
    }
    .write(data)
}

impl Seal {
    /// Whether texts are sealed.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Seals `text`, which is `what`; `None` where texts stay as they are.
    pub(super) fn seal(&self, text: &[u8], what: &str) -> Result<Option<Vec<u8>>, SealError> {
        let Some(sealing) = &self.0 else {
            return Ok(None);
        };
        let key = sealing.keyring.first(&sealing.salt)?;
        let mut sealed = Zeroizing::new(Vec::with_capacity(text.len() + 16));
        sealed.extend_from_slice(text);
        let nonce = key.seal(what, &mut sealed)?;
        let mut out = Vec::with_capacity(HEAD + NONCE + sealed.len());
        out.push(VERSION);
        out.extend_from_slice(&sealing.salt);
        out.extend_from_slice(&key.id);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(Some(out))
    }

    /// Opens what was sealed as `what`; `place` is where it lies, for the error.
    pub(super) fn open(
        &self,
        sealed: &[u8],
        what: &str,
        place: &Path,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let parts = Parts::of(sealed)
            .ok_or_else(|| OpenError::Damaged("what is sealed is cut short".to_owned()))?;
        let Some(sealing) = &self.0 else {
            return Err(OpenError::Locked(SealError::NoKey {
                data: place.to_owned(),
            }));
        };
        let key = sealing
            .keyring
            .find(&parts.salt, parts.key_id)
            .map_err(OpenError::Locked)?;
        let Some(key) = key else {
            return Err(OpenError::Locked(SealError::WrongKey {
                data: place.to_owned(),
                key_file: sealing.keyring.path().to_owned(),
            }));
        };
        key.open(what, parts.nonce, parts.ciphertext)
            .ok_or_else(|| OpenError::Damaged(format!("it does not open as {what}")))
    }

    /// Whether `sealed` need not be sealed anew.
    pub(super) fn is_current(&self, sealed: &[u8]) -> Result<bool, SealError> {
        let (Some(sealing), Some(parts)) = (&self.0, Parts::of(sealed)) else {
            return Ok(false);
        };
        Ok(parts.key_id == sealing.keyring.first(&sealing.salt)?.id)
    }

    /// A private key, which is `what`, as PEM text.
    pub(super) fn key_to_pem(
        &self,
        key: &PrivateKey,
        what: &str,
    ) -> Result<Zeroizing<String>, SealError> {
        Ok(match self.seal(key.secret_der(), what)? {
            Some(sealed) => pem::encode(LABEL, &sealed),
            None => key.to_pem(),
        })
    }

    /// Reads a private key, sealed as `what` or not sealed.
    pub(super) fn key_from_pem(
        &self,
        text: &str,
        what: &str,
        place: &Path,
    ) -> Result<PrivateKey, OpenError> {
        if !is_sealed_pem(text) {
            return PrivateKey::from_pem(text)
                .map_err(|error| OpenError::Damaged(error.to_string()));
        }
        let sealed = pem::decode(LABEL, text).map_err(OpenError::Damaged)?;
        let der = self.open(&sealed, what, place)?;
        Ok(PrivateKey::from_der(&der.as_slice().into()))
    }

    /// A secret, which is `what`, as it is written down: sealed in PEM, or as it is.
    pub(super) fn secret_to_text(
        &self,
        secret: &str,
        what: &str,
    ) -> Result<Zeroizing<String>, SealError> {
        Ok(match self.seal(secret.as_bytes(), what)? {
            Some(sealed) => pem::encode(LABEL, &sealed),
            None => Zeroizing::new(secret.to_owned()),
        })
    }

    /// Reads a secret, sealed as `what` or not sealed.
    pub(super) fn secret_from_text(
        &self,
        text: &str,
        what: &str,
        place: &Path,
    ) -> Result<Zeroizing<String>, OpenError> {
        if !is_sealed_pem(text) {
            return Ok(Zeroizing::new(text.to_owned()));
        }
        let sealed = pem::decode(LABEL, text).map_err(OpenError::Damaged)?;
        let secret = self.open(&sealed, what, place)?;
        let secret = std::str::from_utf8(&secret)
            .map_err(|_| OpenError::Damaged("what is sealed is no text".to_owned()))?;
        Ok(Zeroizing::new(secret.to_owned()))
    }

    /// Whether the PEM text of a key need not be sealed anew.
    pub(super) fn is_current_pem(&self, text: &str) -> Result<bool, SealError> {
        if !is_sealed_pem(text) {
            return Ok(!self.is_on());
        }
        match pem::decode(LABEL, text) {
            Ok(sealed) => self.is_current(&sealed),
            Err(_) => Ok(false),
        }
    }
}

/// Whether PEM text holds a sealed key.
pub(crate) fn is_sealed_pem(text: &str) -> bool {
    text.contains(LABEL)
}

/// The parts of a sealed text.
struct Parts<'a> {
    salt: Salt,
    key_id: KeyId,
    nonce: [u8; NONCE],
    ciphertext: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(sealed: &'a [u8]) -> Option<Self> {
        let (version, rest) = sealed.split_first()?;
        let (salt, rest) = rest.split_first_chunk::<SALT>()?;
        let (key_id, rest) = rest.split_first_chunk::<KEY_ID>()?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE>()?;
        (*version == VERSION).then_some(Self {
            salt: *salt,
            key_id: *key_id,
            nonce: *nonce,
            ciphertext,
        })
    }
}
