//! Which certificates there are, without reading any.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Files, StoreError, failed};
use crate::store::layout;
use crate::store::parallel::in_parallel;

/// The folder of a certificate.
#[derive(Clone, Debug)]
pub(in crate::store) struct Listed {
    /// `ISSUER/NAME`, as folders.
    pub(in crate::store) key: String,
    /// Where it is.
    pub(in crate::store) folder: PathBuf,
    /// Changes when the files in it are replaced.
    pub(in crate::store) stamp: Stamp,
}

/// Tells whether a folder is still the one it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Stamp {
    inode: u64,
    /// Seconds and nanoseconds since 1970.
    modified: (i64, i64),
}

impl Listed {
    /// The folder of a certificate below `root`.
    pub(super) fn of(root: &Path, folder: PathBuf) -> Result<Self, StoreError> {
        let metadata = fs::metadata(&folder).map_err(failed("reading", &folder))?;
        let relative = folder
            .strip_prefix(root.join(layout::CERTIFICATES))
            .unwrap_or(&folder);
        Ok(Self {
            key: relative.to_string_lossy().into_owned(),
            stamp: Stamp {
                inode: metadata.ino(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
            },
            folder,
        })
    }
}

impl Files {
    /// The folder of every certificate.
    pub(in crate::store) fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let mut found = Vec::new();
        for issuer in folders(&self.root.join(layout::CERTIFICATES))? {
            found.append(&mut entries(&issuer)?);
        }
        let listed = in_parallel(&found, |folder| match folder.is_dir() {
            true => Listed::of(&self.root, folder.clone()).map(Some),
            false => Ok(None),
        });
        listed.into_iter().filter_map(Result::transpose).collect()
    }
}

/// The folders in `folder`, without hidden ones; none when it does not exist.
pub(super) fn folders(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut found = entries(folder)?;
    found.retain(|path| path.is_dir());
    Ok(found)
}

/// The files and folders in `folder`, without hidden ones; none when it does not exist.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed("listing", folder))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("listing", folder))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            found.push(entry.path());
        }
    }
    Ok(found)
}
