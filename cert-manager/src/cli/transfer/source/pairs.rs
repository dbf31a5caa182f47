//! Pairs of a certificate and a key, as certbot and others leave them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use proto::certs::v1::ImportedCertificate;

use super::{Candidate, Kind, below, entries, file_name, folders, read, read_key};

/// How deep pairs are looked for below the folder.
const DEPTH: usize = 3;

/// Chains from the leaf on, with names that say so: certbot's and acme.sh's.
const FULL_CHAINS: [&str; 2] = ["fullchain.pem", "fullchain.cer"];
/// Files beside those that hold parts of the same.
const PARTS: [&str; 5] = ["cert", "chain", "ca", "privkey", "fullchain"];

/// A certificate and its key.
#[derive(Debug)]
pub(super) struct Pair {
    certificate: PathBuf,
    /// May be the same file.
    key: PathBuf,
    /// certbot's settings, which name the authority.
    settings: Option<PathBuf>,
}

/// The pairs in a folder.
pub(super) fn find(folder: &Path) -> io::Result<Vec<Candidate>> {
    // An error now, and not an empty list, if it cannot be read.
    fs::read_dir(folder)?;
    let live = folder.join("live");
    let root = if live.is_dir() {
        live
    } else {
        folder.to_owned()
    };
    let mut found = Vec::new();
    search(&root, &root, DEPTH, &mut found)?;
    Ok(found)
}

impl Pair {
    pub(super) fn read(&self) -> Result<ImportedCertificate, String> {
        let settings = self.settings.as_deref().and_then(|path| read(path).ok());
        let server = settings.as_ref().and_then(|text| {
            let lines = text.lines().filter_map(|line| line.split_once('='));
            lines
                .map(|(name, value)| (name.trim(), value.trim()))
                .find_map(|(name, value)| (name == "server").then(|| value.to_owned()))
        });
        Ok(ImportedCertificate {
            chain_pem: certificates_only(&read(&self.certificate)?),
            key_pem: read_key(&self.key)?,
            directory_url: server.unwrap_or_default(),
            internal: false,
        })
    }
}

fn search(root: &Path, folder: &Path, depth: usize, found: &mut Vec<Candidate>) -> io::Result<()> {
    take_pairs(root, folder, found)?;
    if depth > 0 {
        for folder in folders(folder)? {
            search(root, &folder, depth - 1, found)?;
        }
    }
    Ok(())
}

fn take_pairs(root: &Path, folder: &Path, found: &mut Vec<Candidate>) -> io::Result<()> {
    let mut files = entries(folder)?;
    files.retain(|path| path.is_file());
    let mut keys: BTreeSet<PathBuf> = files
        .iter()
        .filter(|path| has_extension(path, &["key"]))
        .cloned()
        .collect();
    let full_chain = files
        .iter()
        .find(|path| FULL_CHAINS.contains(&file_name(path).as_str()));
    if let Some(certificate) = full_chain.cloned() {
        let key = [folder.join("privkey.pem")]
            .into_iter()
            .chain(keys.iter().cloned())
            .find(|key| key.is_file());
        let kind = match key {
            Some(key) => {
                keys.clear();
                Kind::Pair(Pair {
                    settings: settings(folder),
                    certificate: certificate.clone(),
                    key,
                })
            }
            None => Kind::Unusable("there is no privkey.pem".to_owned()),
        };
        found.push(Candidate {
            source: below(root, &certificate),
            kind,
        });
        // acme.sh has the leaf alone beside it, under its own name.
        files.retain(|path| !PARTS.contains(&stem(path).as_str()));
        files.retain(|path| *file_name(path) != format!("{}.cer", file_name(folder)));
    }
    for certificate in files.iter().filter(|path| is_certificate(path)) {
        let key = certificate.with_extension("key");
        let kind = if keys.remove(&key) {
            Some(Kind::Pair(Pair {
                certificate: certificate.clone(),
                key,
                settings: None,
            }))
        } else {
            alone(certificate)
        };
        found.extend(kind.map(|kind| Candidate {
            source: below(root, certificate),
            kind,
        }));
    }
    found.extend(keys.into_iter().map(|key| Candidate {
        source: below(root, &key),
        kind: Kind::Unusable(format!(
            "there is no certificate for it: {}.crt or {}.pem",
            stem(&key),
            stem(&key)
        )),
    }));
    Ok(())
}

/// A file of certificates without a key beside it: the key is in it, or missing. `None` for a file
/// with neither.
fn alone(certificate: &Path) -> Option<Kind> {
    let text = match read(certificate) {
        Ok(text) => text,
        Err(reason) => return Some(Kind::Unusable(reason)),
    };
    if text.contains("PRIVATE KEY-----") && text.contains("CERTIFICATE-----") {
        return Some(Kind::Pair(Pair {
            certificate: certificate.to_owned(),
            key: certificate.to_owned(),
            settings: None,
        }));
    }
    let is_key = text.contains("PRIVATE KEY-----");
    (!is_key).then(|| Kind::Unusable(format!("there is no key for it: {}.key", stem(certificate))))
}

/// certbot's settings for the certificate in `live/NAME`.
fn settings(folder: &Path) -> Option<PathBuf> {
    let live = folder.parent()?;
    let file = format!("{}.conf", file_name(folder));
    Some(live.parent()?.join("renewal").join(file))
}

/// The text without keys, which may stand in the same file.
fn certificates_only(text: &str) -> String {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    if !text.contains("PRIVATE KEY-----") {
        return text.to_owned();
    }
    let blocks = text.split(BEGIN).skip(1);
    blocks
        .filter_map(|block| block.split_once(END))
        .map(|(block, _)| format!("{BEGIN}{block}{END}\n"))
        .collect()
}

fn is_certificate(path: &Path) -> bool {
    has_extension(path, &["cer", "crt", "pem"])
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    extensions.contains(&extension.as_ref())
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
