//! Sealing files that are not sealed, or with another key than the first.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use zeroize::Zeroizing;

use super::document::{MAC_KEY, what};
use super::{Files, SECRET, SECRET_FOLDER, failed, write_file};
use crate::certificate::PrivateKey;
use crate::store::StoreError;
use crate::store::layout::ORDERS;
use crate::store::seal::OpenError;

impl Files {
    /// Seals every private key in the files with the first key, also in those that were set aside.
    /// Returns how many were sealed. A file that is damaged stays as it is and is said.
    pub(in crate::store) fn reseal(&self) -> Result<usize, StoreError> {
        let mut sealed = self.reseal_below(&self.root, &self.root)?;
        if self.aside.is_dir() {
            let times = fs::read_dir(&self.aside).map_err(failed("listing", &self.aside))?;
            for time in times {
                let time = time.map_err(failed("listing", &self.aside))?.path();
                sealed += self.reseal_below(&time, &time)?;
            }
        }
        Ok(sealed)
    }

    fn reseal_below(&self, folder: &Path, root: &Path) -> Result<usize, StoreError> {
        if !folder.is_dir() {
            return Ok(0);
        }
        let mut sealed = 0;
        for entry in fs::read_dir(folder).map_err(failed("listing", folder))? {
            let path = entry.map_err(failed("listing", folder))?.path();
            let is_order = path.starts_with(root.join(ORDERS));
            let extension = path.extension().unwrap_or_default().to_string_lossy();
            if is_left_over(&path) {
                // Of a run that was killed while it wrote; holds a key perhaps.
                remove(&path).map_err(failed("removing", &path))?;
            } else if path.is_dir() {
                sealed += self.reseal_below(&path, root)?;
            } else if extension == "key" {
                sealed += usize::from(self.reseal_key(&path, root)?);
            } else if is_order && extension == "json" {
                sealed += usize::from(self.reseal_order(&path, root)?);
            } else if extension == "json" {
                sealed += usize::from(self.reseal_mac_key(&path, root)?);
            }
        }
        Ok(sealed)
    }

    fn reseal_key(&self, path: &Path, root: &Path) -> Result<bool, StoreError> {
        let text = read(path)?;
        match self.resealed(&text, path, root)? {
            Some(text) => rewrite(path, &text).map(|()| true),
            None => Ok(false),
        }
    }

    fn reseal_order(&self, path: &Path, root: &Path) -> Result<bool, StoreError> {
        let text = read(path)?;
        let Ok(mut order) = serde_json::from_str::<Value>(&text) else {
            cannot(path, "it is no JSON");
            return Ok(false);
        };
        let Some(Value::String(key)) = order.get_mut("key") else {
            cannot(path, "it holds no key");
            return Ok(false);
        };
        match self.resealed(key, path, root)? {
            Some(sealed) => {
                drop(Zeroizing::new(std::mem::replace(key, sealed.to_string())));
                rewrite(path, &format!("{order:#}")).map(|()| true)
            }
            None => Ok(false),
        }
    }

    /// Of the registration of an account; other files have none.
    fn reseal_mac_key(&self, path: &Path, root: &Path) -> Result<bool, StoreError> {
        let text = read(path)?;
        let Ok(mut registration) = serde_json::from_str::<Value>(&text) else {
            cannot(path, "it is no JSON");
            return Ok(false);
        };
        let Some(Value::String(mac_key)) = registration.pointer_mut(MAC_KEY) else {
            return Ok(false);
        };
        if self.seal.is_current_pem(mac_key)? {
            return Ok(false);
        }
        let what = what(path.strip_prefix(root).unwrap_or(path));
        let secret = match self.seal.secret_from_text(mac_key, &what, path) {
            Ok(secret) => secret,
            Err(OpenError::Locked(error)) => return Err(error.into()),
            Err(OpenError::Damaged(reason)) => {
                cannot(path, &reason);
                return Ok(false);
            }
        };
        let sealed = self.seal.secret_to_text(&secret, &what)?;
        drop(Zeroizing::new(std::mem::replace(
            mac_key,
            sealed.to_string(),
        )));
        rewrite(path, &format!("{registration:#}\n")).map(|()| true)
    }

    /// The PEM text of a key sealed anew; `None` when it may stay.
    fn resealed(
        &self,
        text: &str,
        path: &Path,
        root: &Path,
    ) -> Result<Option<Zeroizing<String>>, StoreError> {
        if self.seal.is_current_pem(text)? {
            return Ok(None);
        }
        let what = what(path.strip_prefix(root).unwrap_or(path));
        let key: PrivateKey = match self.seal.key_from_pem(text, &what, path) {
            Ok(key) => key,
            Err(OpenError::Locked(error)) => return Err(error.into()),
            Err(OpenError::Damaged(reason)) => {
                cannot(path, &reason);
                return Ok(None);
            }
        };
        Ok(Some(self.seal.key_to_pem(&key, &what)?))
    }
}

fn cannot(path: &Path, reason: &str) {
    tracing::warn!(
        path = %path.display(),
        reason,
        "a damaged file cannot be sealed and is left as it is; remove it if nobody needs it"
    );
}

/// Whether this is what `write_file` or `replace_folder` leave when they are killed.
fn is_left_over(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_hidden_folder =
        name.starts_with('.') && (name.ends_with(".new") || name.ends_with(".old"));
    name.ends_with(".tmp") || is_hidden_folder
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>, StoreError> {
    let bytes = Zeroizing::new(fs::read(path).map_err(failed("reading", path))?);
    // What is no text is damaged, and found to be so.
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}

fn rewrite(path: &Path, text: &str) -> Result<(), StoreError> {
    let path: PathBuf = path.to_owned();
    write_file(&path, text.as_bytes(), SECRET, SECRET_FOLDER).map_err(failed("writing", &path))
}
