//! Reading the durable files back. One bad file must not keep the others from being found.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::document::{MAC_KEY, Metadata, NEXT_KEY, what};
use super::list::entries;
use super::{Files, Listed, folders};
use crate::authority::Signer;
use crate::certificate::{Certificate, Facts, PrivateKey};
use crate::name::Name;
use crate::pem;
use crate::policy::{ExternalAccount, IssuerId, Secret};
use crate::store::seal::OpenError;
use crate::store::{Account, Authority, AuthorityId, Order, StoreError, layout};

/// A certificate in the files, by its metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Stored {
    /// The name it is for.
    pub(in crate::store) name: Name,
    /// Who issued it.
    pub(in crate::store) issuer: IssuerId,
    /// Serial number, if the metadata is ours.
    pub(in crate::store) serial: Option<String>,
    /// Begin of validity.
    pub(in crate::store) not_before: Timestamp,
}

/// Why files cannot be used.
#[derive(Debug)]
pub(in crate::store) enum Flaw {
    /// They are not what was written.
    Damaged(String),
    /// They may be as they should, but are of no use here.
    Useless(String),
    /// The store as a whole cannot be used.
    Store(StoreError),
}

/// Files that cannot be used.
#[derive(Debug)]
pub(in crate::store) struct Flawed {
    pub(in crate::store) path: PathBuf,
    pub(in crate::store) reason: String,
}

/// What was found, and which of it is damaged.
type Found<T> = (Vec<T>, Vec<Flawed>);

impl Files {
    /// What the metadata of a certificate say.
    pub(in crate::store) fn read_metadata(&self, listed: &Listed) -> Result<Stored, Flaw> {
        let folder = &listed.folder;
        let file = file_name(folder);
        let json: Value = parse(&read(&folder.join(format!("{file}.json")))?)?;
        if let Some(ours) = json.get("portico") {
            let ours: Metadata = serde_json::from_value(ours.clone()).map_err(damaged)?;
            return Ok(Stored {
                name: ours.name,
                issuer: ours.issuer,
                serial: Some(ours.serial),
                not_before: ours.not_before,
            });
        }
        // Caddy's own: the name and the directory are in its metadata, the rest in the certificate.
        let name = match json["sans"].as_array().map(Vec::as_slice) {
            Some([name]) => name.as_str().unwrap_or_default(),
            _ => return Err(Flaw::useless("the metadata names no single subject")),
        };
        let name = Name::parse(name).map_err(|error| Flaw::Useless(error.to_string()))?;
        let is_local = folder.parent().map(file_name).as_deref() == Some("local");
        let issuer = match json["issuer_data"]["ca"].as_str() {
            Some(directory_url) => IssuerId::Acme(directory_url.to_owned()),
            None if is_local => IssuerId::Internal,
            None => return Err(Flaw::useless("the metadata names no authority")),
        };
        let chain = pem::decode_certificates(&read(&folder.join(format!("{file}.crt")))?)
            .map_err(Flaw::Damaged)?;
        let facts = Facts::of_leaf(&chain[0], issuer.clone()).map_err(damaged)?;
        Ok(Stored {
            name,
            issuer,
            serial: None,
            not_before: facts.not_before,
        })
    }

    /// The certificate of `stored`.
    pub(in crate::store) fn read_certificate(
        &self,
        listed: &Listed,
        stored: &Stored,
    ) -> Result<Certificate, Flaw> {
        let file = file_name(&listed.folder);
        let chain = pem::decode_certificates(&read(&listed.folder.join(format!("{file}.crt")))?)
            .map_err(Flaw::Damaged)?;
        let key = self.read_key(&listed.folder.join(format!("{file}.key")))?;
        let (name, issuer) = (stored.name.clone(), stored.issuer.clone());
        Certificate::new(name, issuer, chain, key).map_err(damaged)
    }

    /// The newest certificate of a name.
    pub(in crate::store) fn find_certificate(
        &self,
        name: &Name,
    ) -> Result<Option<Certificate>, StoreError> {
        let mut found: Option<Certificate> = None;
        for issuer in folders(&self.root.join(layout::CERTIFICATES))? {
            let folder = issuer.join(layout::name(name));
            if !folder.is_dir() {
                continue;
            }
            let listed = Listed::of(&self.root, folder)?;
            let read = self.read_metadata(&listed).and_then(|stored| {
                if stored.name == *name {
                    self.read_certificate(&listed, &stored).map(Some)
                } else {
                    Ok(None)
                }
            });
            match read {
                Ok(Some(certificate)) => {
                    let newest = found.as_ref().map(|found| found.facts.not_before);
                    if newest < Some(certificate.facts.not_before) {
                        found = Some(certificate);
                    }
                }
                Ok(None) => {}
                Err(Flaw::Store(error)) => return Err(error),
                Err(Flaw::Damaged(reason) | Flaw::Useless(reason)) => {
                    passed_over(&listed.folder, &reason);
                }
            }
        }
        Ok(found)
    }

    /// Every open order.
    pub(in crate::store) fn orders(&self) -> Result<Found<Order>, StoreError> {
        let mut found = Found::default();
        for issuer in folders(&self.root.join(layout::ORDERS))? {
            for path in files(&issuer, "json")? {
                let order = self.read_order(&path).map(Some);
                take(&mut found, path, order)?;
            }
        }
        Ok(found)
    }

    /// Every account.
    pub(in crate::store) fn accounts(&self) -> Result<Found<Account>, StoreError> {
        let mut found = Found::default();
        for issuer in folders(&layout::accounts(&self.root))? {
            for user in folders(&issuer.join("users"))? {
                for path in files(&user, "json")? {
                    let account = self.read_account(&path);
                    take(&mut found, path, account)?;
                }
            }
        }
        Ok(found)
    }

    /// An authority of our own. An intermediate that is missing or damaged is left out.
    pub(in crate::store) fn authority(&self, id: AuthorityId) -> Result<Option<Authority>, Flaw> {
        let folder = self.authority_folder(id);
        if !folder.join("root.crt").exists() {
            return Ok(None);
        }
        let root = self.read_signer(&folder, "root")?;
        let intermediate = match self.read_signer(&folder, "intermediate") {
            Ok(signer) => Some(signer),
            Err(Flaw::Store(error)) => return Err(Flaw::Store(error)),
            Err(Flaw::Damaged(_) | Flaw::Useless(_)) => None,
        };
        Ok(Some(Authority {
            id,
            root,
            intermediate,
        }))
    }

    /// Where an authority is.
    pub(in crate::store) fn authority_folder(&self, id: AuthorityId) -> PathBuf {
        layout::authority(&self.root, id)
    }

    fn read_key(&self, path: &Path) -> Result<PrivateKey, Flaw> {
        let text = read(path)?;
        self.open_key(path, &text)
    }

    fn open_key(&self, path: &Path, text: &str) -> Result<PrivateKey, Flaw> {
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        self.seal
            .key_from_pem(text, &what(relative), path)
            .map_err(|error| flaw(path, error))
    }

    fn read_order(&self, path: &Path) -> Result<Order, Flaw> {
        let mut json: Value = parse(&read(path)?)?;
        if let Some(Value::String(text)) = json.get_mut("key") {
            let key = self.open_key(path, &Zeroizing::new(std::mem::take(text)))?;
            *text = key.to_pem().to_string();
        }
        // Takes the text of the key and wipes it.
        serde_json::from_value(json).map_err(damaged)
    }

    /// `None` for a registration that does not say which authority it is with: Caddy's own, whose
    /// folder names it only in part.
    fn read_account(&self, path: &Path) -> Result<Option<Account>, Flaw> {
        let json: Value = parse(&read(path)?)?;
        let Some(issuer) = json["portico"]["issuer"].as_str() else {
            return Ok(None);
        };
        let next = path.with_extension(NEXT_KEY);
        let next_key = next.exists().then(|| self.read_key(&next));
        Ok(Some(Account {
            issuer: IssuerId::from(issuer.to_owned()),
            email: json["contact"][0]
                .as_str()
                .and_then(|contact| contact.strip_prefix("mailto:"))
                .map(ToOwned::to_owned),
            key: self.read_key(&path.with_extension("key"))?,
            url: json["location"].as_str().map(ToOwned::to_owned),
            next_key: next_key.transpose()?,
            external_account: self.read_external_account(path, &json)?,
        }))
    }

    fn read_external_account(
        &self,
        path: &Path,
        registration: &Value,
    ) -> Result<Option<ExternalAccount>, Flaw> {
        let Some(text) = registration.pointer(MAC_KEY).and_then(Value::as_str) else {
            return Ok(None);
        };
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        let mac_key = self
            .seal
            .secret_from_text(text, &what(relative), path)
            .map_err(|error| flaw(path, error))?;
        let key_id = registration["portico"]["external_account"]["key_id"].as_str();
        Ok(Some(ExternalAccount {
            key_id: key_id.unwrap_or_default().to_owned(),
            mac_key: Secret::new(mac_key.as_str()),
        }))
    }

    fn read_signer(&self, folder: &Path, file: &str) -> Result<Signer, Flaw> {
        let certificate_pem = read(&folder.join(format!("{file}.crt")))?.to_string();
        let key = self.read_key(&folder.join(format!("{file}.key")))?;
        let signer = Signer {
            certificate_pem,
            key,
        };
        signer.check().map_err(damaged)?;
        Ok(signer)
    }
}

impl Flaw {
    fn useless(reason: &str) -> Self {
        Self::Useless(reason.to_owned())
    }
}

/// Says that files cannot be used and are left where they are.
pub(in crate::store) fn passed_over(path: &Path, reason: &str) {
    tracing::warn!(path = %path.display(), reason, "stored files cannot be used and are passed over");
}

fn take<T>(
    found: &mut Found<T>,
    path: PathBuf,
    read: Result<Option<T>, Flaw>,
) -> Result<(), StoreError> {
    match read {
        Ok(Some(item)) => found.0.push(item),
        Ok(None) => {}
        Err(Flaw::Store(error)) => return Err(error),
        Err(Flaw::Useless(reason)) => passed_over(&path, &reason),
        Err(Flaw::Damaged(reason)) => found.1.push(Flawed { path, reason }),
    }
    Ok(())
}

fn read(path: &Path) -> Result<Zeroizing<String>, Flaw> {
    fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|error| {
            let reason = format!("{}: {error}", file_name(path));
            match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::InvalidData => Flaw::Damaged(reason),
                _ => Flaw::Useless(reason),
            }
        })
}

fn flaw(path: &Path, error: OpenError) -> Flaw {
    match error {
        OpenError::Damaged(reason) => Flaw::Damaged(format!("{}: {reason}", file_name(path))),
        OpenError::Locked(error) => Flaw::Store(error.into()),
    }
}

fn parse(text: &str) -> Result<Value, Flaw> {
    serde_json::from_str(text).map_err(damaged)
}

#[expect(clippy::needless_pass_by_value, reason = "a parameter of map_err")]
fn damaged(error: impl ToString) -> Flaw {
    Flaw::Damaged(error.to_string())
}

fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, StoreError> {
    let mut found = entries(folder)?;
    found.retain(|path| path.extension().is_some_and(|found| found == extension));
    Ok(found)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
