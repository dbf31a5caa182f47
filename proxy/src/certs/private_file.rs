//! Files that their owner alone can read, written durably and replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::SystemTime;

/// Writes `text` to a file in place of an older one: on disk for certain before it is there.
/// `modified` is set as its time. Blocks.
pub(super) fn write(path: &Path, text: &[u8], modified: Option<SystemTime>) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    // A temporary file of this kind is readable by its owner alone.
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(folder)?;
    file.write_all(text)?;
    let open = file.as_file();
    open.set_permissions(fs::Permissions::from_mode(0o600))?;
    if let Some(modified) = modified {
        open.set_modified(modified)?;
    }
    open.sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync(folder)
}

/// Removes a file, if it is there. Blocks.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync(path.parent().unwrap_or_else(|| Path::new("."))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all())
}
