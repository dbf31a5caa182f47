//! What there is to import in a folder.
//!
//! Caddy's data folder, with or without `caddy/`; else certbot's (`live/NAME/`, with the authority
//! in `renewal/NAME.conf`); else any pairs of a certificate and a key.

mod caddy;
mod pairs;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use proto::certs::v1::ImportRequest;
use proto::certs::v1::import_request::Item;
use zeroize::Zeroizing;

use crate::store::is_sealed_pem;

/// Certificates and keys are smaller.
const LARGEST: u64 = 1024 * 1024;

/// Something that looks as if it could be imported.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Where it is, below the folder.
    source: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// A folder of Caddy's accounts; the directories are those that its certificates name.
    Account {
        registration: PathBuf,
        folder: String,
        directory_urls: Vec<String>,
    },
    Authority {
        folder: PathBuf,
    },
    /// A folder of Caddy's certificates.
    Caddy {
        folder: PathBuf,
        is_local: bool,
    },
    Pair(pairs::Pair),
    /// Cannot be used.
    Unusable(String),
}

/// Something that cannot be imported.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    /// Where it is, below the folder.
    pub(super) source: String,
    /// Why.
    pub(super) reason: String,
}

/// Everything in `folder` that looks as if it could be imported; an authority comes before what it
/// has signed.
///
/// # Errors
/// When the folder cannot be read, in words for an operator.
pub(super) fn find(folder: &Path) -> Result<Vec<Candidate>, String> {
    let candidates = match caddy::root(folder) {
        Some(root) => caddy::find(&root),
        None => pairs::find(folder),
    };
    candidates.map_err(|error| format!("cannot read {}: {error}", folder.display()))
}

impl Candidate {
    /// Reads it.
    pub(super) fn read(self, replace_authority: bool) -> Result<ImportRequest, Unusable> {
        let item = match self.kind {
            Kind::Account {
                registration,
                folder,
                directory_urls,
            } => caddy::account(&registration, folder, directory_urls).map(Item::Account),
            Kind::Authority { folder } => {
                caddy::authority(&folder, replace_authority).map(Item::Authority)
            }
            Kind::Caddy { folder, is_local } => {
                caddy::certificate(&folder, is_local).map(Item::Certificate)
            }
            Kind::Pair(pair) => pair.read().map(Item::Certificate),
            Kind::Unusable(reason) => Err(reason),
        };
        let source = self.source;
        match item {
            Ok(item) => Ok(ImportRequest {
                source,
                item: Some(item),
            }),
            Err(reason) => Err(Unusable { source, reason }),
        }
    }
}

/// Reads a file of text.
fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no {}", file_name(path)),
        _ => format!("{}: {error}", file_name(path)),
    };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > LARGEST {
        return Err(format!(
            "{} is larger than {LARGEST} bytes",
            file_name(path)
        ));
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(failed)
}

/// Reads a file with a private key.
fn read_key(path: &Path) -> Result<String, String> {
    let text = read(path)?;
    if is_sealed_pem(&text) {
        return Err(format!(
            "{} is sealed; run `cert-manager export` where its key file is, and import that",
            file_name(path)
        ));
    }
    Ok(text.to_string())
}

/// What is in a folder, sorted, without hidden files; nothing when it does not exist.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if !file_name(&path).starts_with('.') {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = entries(folder)?;
    found.retain(|path| path.is_dir());
    Ok(found)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// A path as it is said to an operator: below `root`.
fn below(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}
