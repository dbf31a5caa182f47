//! What stands in the durable files.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{PUBLIC, SECRET};
use crate::certificate::{Certificate, PrivateKey};
use crate::name::Name;
use crate::pem;
use crate::policy::IssuerId;
use crate::store::seal::Seal;
use crate::store::{Account, Authority, Order, StoreError, layout};

/// Version of what we add to Caddy's files.
const METADATA_VERSION: u32 = 1;

/// A file: where it goes, below the folder of all files, and what stands in it.
#[derive(Clone)]
pub(in crate::store) struct Document {
    pub(in crate::store) path: PathBuf,
    pub(in crate::store) text: Zeroizing<String>,
    /// Everybody may read it.
    pub(in crate::store) is_public: bool,
}

/// What we add to the metadata of a certificate, under `portico`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Metadata {
    version: u32,
    pub(super) name: Name,
    pub(super) issuer: IssuerId,
    pub(super) serial: String,
    pub(super) not_before: jiff::Timestamp,
}

/// Where the MAC key of the account elsewhere is in an account's registration.
pub(super) const MAC_KEY: &str = "/portico/external_account/mac_key";

/// Extension of the key that is to take the place of an account's present one.
pub(super) const NEXT_KEY: &str = "next.key";

impl Document {
    /// Its mode.
    pub(in crate::store) fn mode(&self) -> u32 {
        if self.is_public { PUBLIC } else { SECRET }
    }

    fn secret(path: PathBuf, text: impl Into<Zeroizing<String>>) -> Self {
        Self {
            path,
            text: text.into(),
            is_public: false,
        }
    }

    fn key(path: PathBuf, key: &PrivateKey, seal: &Seal) -> Result<Self, StoreError> {
        let text = seal.key_to_pem(key, &what(&path))?;
        Ok(Self::secret(path, text))
    }
}

/// What a key in the file at `path` is sealed as. The path below the folder of all files names
/// kind, issuer and name, and stays the same when the data are moved elsewhere.
pub(super) fn what(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The folder of a certificate, below the folder of all files.
pub(super) fn certificate_folder(certificate: &Certificate) -> PathBuf {
    let issuer = &certificate.facts.issuer;
    layout::certificate(Path::new(""), issuer, &certificate.name)
}

/// Key, certificate and metadata.
pub(in crate::store) fn certificate(
    certificate: &Certificate,
    seal: &Seal,
) -> Result<Vec<Document>, StoreError> {
    let issuer = &certificate.facts.issuer;
    let metadata = json!({
        "sans": [certificate.name],
        "issuer_data": match issuer {
            IssuerId::Acme(directory_url) => json!({ "ca": directory_url }),
            IssuerId::Imported | IssuerId::Internal => json!(null),
        },
        "portico": Metadata {
            version: METADATA_VERSION,
            name: certificate.name.clone(),
            issuer: issuer.clone(),
            serial: certificate.facts.serial.clone(),
            not_before: certificate.facts.not_before,
        },
    });
    let folder = certificate_folder(certificate);
    let file = layout::name(&certificate.name);
    let path = |extension: &str| folder.join(format!("{file}.{extension}"));
    Ok(vec![
        Document::key(path("key"), &certificate.key, seal)?,
        Document::secret(path("crt"), pem::encode_certificates(&certificate.chain)),
        Document::secret(path("json"), format!("{metadata:#}\n")),
    ])
}

/// An open order.
pub(super) fn order(order: &Order, seal: &Seal) -> Result<Document, StoreError> {
    let path = layout::order(Path::new(""), &order.issuer, &order.name);
    let malformed = |error: serde_json::Error| StoreError::Database(error.to_string());
    if !seal.is_on() {
        let text = serde_json::to_string_pretty(order).map_err(malformed)?;
        return Ok(Document::secret(path, text));
    }
    let sealed = seal.key_to_pem(&order.key, &what(&path))?;
    let mut value = serde_json::to_value(order).map_err(malformed)?;
    if let Some(Value::String(text)) = value.get_mut("key") {
        // Wipes what was there.
        drop(Zeroizing::new(std::mem::replace(text, sealed.to_string())));
    }
    Ok(Document::secret(path, format!("{value:#}")))
}

/// Keys and registration of an account.
pub(in crate::store) fn account(
    account: &Account,
    seal: &Seal,
) -> Result<Vec<Document>, StoreError> {
    let (folder, file) = layout::account(Path::new(""), &account.issuer, account.email.as_deref());
    let contact: Vec<_> = account
        .email
        .iter()
        .map(|email| format!("mailto:{email}"))
        .collect();
    let path = |extension: &str| folder.join(format!("{file}.{extension}"));
    let mut portico = json!({ "version": METADATA_VERSION, "issuer": account.issuer });
    if let Some(bound) = &account.external_account {
        let mac_key = seal.secret_to_text(bound.mac_key.reveal(), &what(&path("json")))?;
        portico["external_account"] = json!({ "key_id": bound.key_id, "mac_key": *mac_key });
    }
    let registration = json!({
        "status": if account.url.is_some() { "valid" } else { "" },
        "contact": contact,
        "termsOfServiceAgreed": true,
        "location": account.url,
        "portico": portico,
    });
    let mut documents = Vec::new();
    if let Some(key) = &account.next_key {
        documents.push(Document::key(path(NEXT_KEY), key, seal)?);
    }
    documents.push(Document::key(path("key"), &account.key, seal)?);
    documents.push(Document::secret(
        path("json"),
        format!("{registration:#}\n"),
    ));
    Ok(documents)
}

/// Where the key is that is to take the place of an account's present one.
pub(super) fn next_key(account: &Account) -> PathBuf {
    let (folder, file) = layout::account(Path::new(""), &account.issuer, account.email.as_deref());
    folder.join(format!("{file}.{NEXT_KEY}"))
}

/// Keys and certificates of an authority.
pub(in crate::store) fn authority(
    authority: &Authority,
    seal: &Seal,
) -> Result<Vec<Document>, StoreError> {
    let folder = layout::authority(Path::new(""), authority.id);
    let signers = [
        ("root", Some(&authority.root)),
        ("intermediate", authority.intermediate.as_ref()),
    ];
    let mut documents = Vec::new();
    for (file, signer) in signers {
        let Some(signer) = signer else { continue };
        let path = |extension: &str| folder.join(format!("{file}.{extension}"));
        documents.push(Document::key(path("key"), &signer.key, seal)?);
        documents.push(Document {
            path: path("crt"),
            text: signer.certificate_pem.clone().into(),
            is_public: true,
        });
    }
    Ok(documents)
}
