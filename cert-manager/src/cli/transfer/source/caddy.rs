//! Caddy's data folder (CertMagic's `KeyBuilder`).

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use proto::certs::v1::{ImportedAccount, ImportedAuthority, ImportedCertificate};
use serde_json::Value;

use super::{Candidate, Kind, below, entries, file_name, folders, read, read_key};

const AUTHORITIES: &str = "pki/authorities";
const CERTIFICATES: &str = "certificates";
const ACCOUNTS: &str = "acme";

/// The folder with Caddy's layout, if there is one at or in `folder`.
pub(super) fn root(folder: &Path) -> Option<PathBuf> {
    [folder.join("caddy"), folder.to_owned()]
        .into_iter()
        .find(|root| {
            [AUTHORITIES, CERTIFICATES, ACCOUNTS]
                .into_iter()
                .any(|part| root.join(part).is_dir())
        })
}

/// What there is in Caddy's data folder.
pub(super) fn find(root: &Path) -> io::Result<Vec<Candidate>> {
    let mut found = Vec::new();
    for folder in folders(&root.join(AUTHORITIES))? {
        let kind = match file_name(&folder).as_str() {
            "local" => Kind::Authority {
                folder: folder.clone(),
            },
            // Ours; it is nobody else's.
            "control" => continue,
            _ => Kind::Unusable("there is one internal authority, Caddy's `local`".to_owned()),
        };
        found.push(Candidate {
            source: below(root, &folder),
            kind,
        });
    }
    let certificates = certificates(root)?;
    let directory_urls = directory_urls(&certificates);
    for issuer in folders(&root.join(ACCOUNTS))? {
        for user in folders(&issuer.join("users"))? {
            for registration in entries(&user)? {
                if registration
                    .extension()
                    .is_some_and(|found| found == "json")
                {
                    found.push(Candidate {
                        source: below(root, &user),
                        kind: Kind::Account {
                            registration,
                            folder: file_name(&issuer),
                            directory_urls: directory_urls.iter().cloned().collect(),
                        },
                    });
                }
            }
        }
    }
    found.extend(certificates.into_iter().map(|folder| Candidate {
        source: below(root, &folder),
        kind: Kind::Caddy {
            is_local: folder.parent().map(file_name).as_deref() == Some("local"),
            folder,
        },
    }));
    Ok(found)
}

/// Reads an account. Its folder names the contact as well as the file does.
pub(super) fn account(
    registration: &Path,
    folder: String,
    mut directory_urls: Vec<String>,
) -> Result<ImportedAccount, String> {
    let json: Value = parse(registration)?;
    if let Some(ours) = json["portico"]["issuer"].as_str() {
        directory_urls = vec![ours.to_owned()];
    }
    let email = json["contact"][0]
        .as_str()
        .and_then(|contact| contact.strip_prefix("mailto:"));
    Ok(ImportedAccount {
        folder,
        directory_urls,
        email: email.unwrap_or_default().to_owned(),
        key_pem: read_key(&registration.with_extension("key"))?,
        url: json["location"].as_str().unwrap_or_default().to_owned(),
    })
}

/// Reads a root.
pub(super) fn authority(folder: &Path, replace: bool) -> Result<ImportedAuthority, String> {
    Ok(ImportedAuthority {
        certificate_pem: read(&folder.join("root.crt"))?.to_string(),
        key_pem: read_key(&folder.join("root.key"))?,
        replace,
    })
}

/// Reads a certificate.
pub(super) fn certificate(folder: &Path, is_local: bool) -> Result<ImportedCertificate, String> {
    let file = |extension: &str| folder.join(format!("{}.{extension}", file_name(folder)));
    // The metadata say no more than where it came from.
    let directory_url = parse(&file("json"))
        .ok()
        .and_then(|json| directory_url(&json));
    Ok(ImportedCertificate {
        chain_pem: read(&file("crt"))?.to_string(),
        key_pem: read_key(&file("key"))?,
        directory_url: directory_url.unwrap_or_default(),
        internal: is_local,
    })
}

fn certificates(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for issuer in folders(&root.join(CERTIFICATES))? {
        found.append(&mut folders(&issuer)?);
    }
    Ok(found)
}

/// The directories that certificates name: one of each issuer's is enough.
fn directory_urls(certificates: &[PathBuf]) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let mut urls = BTreeSet::new();
    for folder in certificates {
        let issuer = folder.parent().map(file_name).unwrap_or_default();
        if known.contains(&issuer) {
            continue;
        }
        let metadata = folder.join(format!("{}.json", file_name(folder)));
        if let Some(url) = parse(&metadata).ok().and_then(|json| directory_url(&json)) {
            known.insert(issuer);
            urls.insert(url);
        }
    }
    urls
}

fn directory_url(metadata: &Value) -> Option<String> {
    metadata["issuer_data"]["ca"].as_str().map(str::to_owned)
}

fn parse(path: &Path) -> Result<Value, String> {
    serde_json::from_str(&read(path)?).map_err(|error| format!("{}: {error}", file_name(path)))
}
