//! Writing, replacing and removing so that a crash leaves the old or the new, never a mixture.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::Document;

/// Readable by its owner alone.
pub(in crate::store) const SECRET: u32 = 0o600;
/// Readable by everybody.
pub(in crate::store) const PUBLIC: u32 = 0o644;
/// Mode of a folder that others must not list.
pub(super) const SECRET_FOLDER: u32 = 0o700;
/// Mode of a folder in which others find public files.
pub(in crate::store) const PUBLIC_FOLDER: u32 = 0o755;

/// Writes a file durably, in place of an older one.
pub(crate) fn write_file(path: &Path, text: &[u8], mode: u32, folder_mode: u32) -> io::Result<()> {
    let folder = parent_of(path);
    create_folder(folder, folder_mode)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let written = write_new(&temporary, text, mode).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // A part of a file would take the room that a full disk lacks.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_folder(folder)
}

/// Replaces a folder by one with just `documents`, durably and as a whole.
pub(super) fn replace_folder(folder: &Path, documents: &[Document]) -> io::Result<()> {
    let parent = parent_of(folder);
    create_folder(parent, SECRET_FOLDER)?;
    let fresh = hidden(folder, "new");
    remove_all(&fresh)?;
    create_folder(&fresh, SECRET_FOLDER)?;
    let written = documents.iter().try_for_each(|document| {
        let file = document.path.file_name().unwrap_or_default();
        write_new(&fresh.join(file), document.text.as_bytes(), SECRET)
    });
    if let Err(error) = written.and_then(|()| sync_folder(&fresh)) {
        let _ = remove_all(&fresh);
        return Err(error);
    }
    if !folder.exists() {
        fs::rename(&fresh, folder)?;
        return sync_folder(parent);
    }
    match rustix::fs::renameat_with(CWD, &fresh, CWD, folder, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        // Not every file system exchanges folders: then file by file.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            for document in documents {
                let file = document.path.file_name().unwrap_or_default();
                fs::rename(fresh.join(file), folder.join(file))?;
            }
            sync_folder(folder)?;
        }
        Err(errno) => return Err(errno.into()),
    }
    sync_folder(parent)?;
    remove_all(&fresh)
}

/// Removes a folder: gone as a whole from the moment it is hidden.
pub(super) fn remove_folder(folder: &Path) -> io::Result<()> {
    let hidden = hidden(folder, "old");
    remove_all(&hidden)?;
    match fs::rename(folder, &hidden) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    }
    sync_folder(parent_of(folder))?;
    remove_all(&hidden)
}

pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(()) => sync_folder(parent_of(path)),
        Err(error) => Err(error),
    }
}

fn remove_all(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Moves a file or folder to where nothing is.
pub(super) fn move_to(path: &Path, target: &Path) -> io::Result<()> {
    create_folder(parent_of(target), SECRET_FOLDER)?;
    fs::rename(path, target)?;
    sync_folder(parent_of(target))?;
    sync_folder(parent_of(path))
}

/// Flushes every file and folder below `folder`, and itself.
pub(in crate::store) fn sync_all(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_all(&path)?;
        } else {
            File::open(&path)?.sync_all()?;
        }
    }
    sync_folder(folder)
}

/// A sibling that readers skip.
fn hidden(folder: &Path, extension: &str) -> PathBuf {
    let mut file = std::ffi::OsString::from(".");
    file.push(folder.file_name().unwrap_or_default());
    file.push(".");
    file.push(extension);
    folder.with_file_name(file)
}

fn write_new(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(mode)
        .open(path)?;
    // The mode above holds only for a file that was not there.
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    file.write_all(text)?;
    file.sync_all()
}

/// Makes a folder and those above it, each flushed into its parent.
fn create_folder(folder: &Path, mode: u32) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = parent_of(folder);
    create_folder(parent, PUBLIC_FOLDER)?;
    match fs::DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }?;
    sync_folder(parent)
}

/// The folder that holds `path`; of a relative path that may be the present one.
fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

pub(in crate::store) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
