//! The keys that an operator gives in a file.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{NONCE, SealError};

/// Length of a key of AES-256.
const KEY: usize = 32;
/// Length of a salt.
pub(super) const SALT: usize = 16;
/// Length of a key's identifier.
pub(super) const KEY_ID: usize = 8;

/// Makes the keys of the same passphrase differ between installations.
pub(super) type Salt = [u8; SALT];
/// Tells keys apart without giving them away.
pub(super) type KeyId = [u8; KEY_ID];

/// A passphrase of fewer characters is refused, for whoever has the files can guess at leisure.
const SHORTEST_PASSPHRASE: usize = 16;

/// Memory that making a key of a passphrase takes, in kibibytes: what OWASP recommends for
/// Argon2id, and little enough for a small container.
const ARGON2_MEMORY: u32 = 19 * 1024;
/// Passes over that memory.
const ARGON2_PASSES: u32 = 4;

/// The keys of a key file. The first one seals; all of them open, which is how a key is changed:
/// the new one goes before the old one, and the old one goes once everything is sealed anew.
///
/// A line is either a key, base64 of 32 octets, or a passphrase of which a key is made by Argon2id
/// (RFC 9106).
pub struct Keyring {
    path: PathBuf,
    lines: Vec<Line>,
    /// By line and salt: making a key of a passphrase is slow on purpose.
    made: Mutex<HashMap<(usize, Salt), Arc<Key>>>,
}

enum Line {
    Key(Zeroizing<[u8; KEY]>),
    Passphrase(Zeroizing<String>),
}

/// A key, ready for use.
pub(super) struct Key {
    pub(super) id: KeyId,
    key: RandomizedNonceKey,
}

impl Keyring {
    /// Reads a key file. Blocks.
    ///
    /// # Errors
    /// What is wrong with it, in words for an operator.
    pub fn load(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path)
            .map(Zeroizing::new)
            .map_err(|error| format!("cannot read keys from {}: {error}", path.display()))?;
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let decoded = STANDARD.decode(line).map(Zeroizing::new);
            let key = decoded
                .ok()
                .and_then(|decoded| <[u8; KEY]>::try_from(decoded.as_slice()).ok());
            lines.push(match key {
                Some(key) => Line::Key(Zeroizing::new(key)),
                None if line.chars().count() < SHORTEST_PASSPHRASE => {
                    return Err(format!(
                        "line {number} of {} is neither base64 of 32 octets nor a passphrase of at \
                         least {SHORTEST_PASSPHRASE} characters; `openssl rand -base64 32` makes a \
                         key",
                        path.display()
                    ));
                }
                None => Line::Passphrase(Zeroizing::new(line.to_owned())),
            });
        }
        if lines.is_empty() {
            return Err(format!(
                "{} holds no key; `openssl rand -base64 32` makes one",
                path.display()
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            lines,
            made: Mutex::default(),
        })
    }

    /// The key file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The key that seals.
    pub(super) fn first(&self, salt: &Salt) -> Result<Arc<Key>, SealError> {
        self.key(0, salt)
    }

    /// The key with `id`, if the file holds it.
    pub(super) fn find(&self, salt: &Salt, id: KeyId) -> Result<Option<Arc<Key>>, SealError> {
        for line in 0..self.lines.len() {
            let key = self.key(line, salt)?;
            if key.id == id {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    fn key(&self, line: usize, salt: &Salt) -> Result<Arc<Key>, SealError> {
        let mut made = self.made.lock();
        if let Some(key) = made.get(&(line, *salt)) {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(match &self.lines[line] {
            Line::Key(key) => Key::new(key)?,
            Line::Passphrase(text) => Key::new(&*stretch(text, salt)?)?,
        });
        made.insert((line, *salt), Arc::clone(&key));
        Ok(key)
    }
}

impl Key {
    fn new(key: &[u8; KEY]) -> Result<Self, SealError> {
        let digest = Sha256::new()
            .chain_update(b"portico key id")
            .chain_update(key)
            .finalize();
        let mut id = KeyId::default();
        id.copy_from_slice(&digest[..KEY_ID]);
        let key =
            RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| SealError::Cryptography)?;
        Ok(Self { id, key })
    }

    /// Seals `text` in place and returns the nonce.
    pub(super) fn seal(&self, what: &str, text: &mut Vec<u8>) -> Result<[u8; NONCE], SealError> {
        self.key
            .seal_in_place_append_tag(Aad::from(what.as_bytes()), text)
            .map(|nonce| *nonce.as_ref())
            .map_err(|_| SealError::Cryptography)
    }

    /// Opens `sealed`; `None` when it was not sealed so.
    pub(super) fn open(
        &self,
        what: &str,
        nonce: [u8; NONCE],
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let mut text = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let length = self
            .key
            .open_in_place(nonce, Aad::from(what.as_bytes()), &mut text)
            .ok()?
            .len();
        text.truncate(length);
        Some(text)
    }
}

fn stretch(passphrase: &str, salt: &Salt) -> Result<Zeroizing<[u8; KEY]>, SealError> {
    let params = Params::new(ARGON2_MEMORY, ARGON2_PASSES, 1, Some(KEY))
        .map_err(|_| SealError::Cryptography)?;
    let mut key = Zeroizing::new([0; KEY]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice())
        .map_err(|_| SealError::Cryptography)?;
    Ok(key)
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("path", &self.path)
            .field("keys", &self.lines.len())
            .finish_non_exhaustive()
    }
}
