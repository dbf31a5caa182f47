//! The files that a Caddyfile imports.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};

use caddyfile::parser::Loader;
use globset::GlobBuilder;
use sha2::{Digest as _, Sha256};

/// Reads imports from the file system, and remembers where it looked.
#[derive(Debug, Default)]
pub(super) struct Imports {
    files: RefCell<Vec<(PathBuf, String)>>,
    folders: RefCell<Vec<PathBuf>>,
}

impl Imports {
    /// The files that were read and the folders that were searched; the files' texts go into
    /// `digest`.
    pub(super) fn into_seen(self, digest: &mut Sha256) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let mut files = Vec::new();
        for (path, text) in self.files.into_inner() {
            digest.update(path.as_os_str().as_encoded_bytes());
            digest.update([0]);
            digest.update(text);
            files.push(path);
        }
        (files, self.folders.into_inner())
    }

    /// The entries of `folder` that `pattern`, one part of a path, matches.
    fn matching(&self, folder: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let glob = GlobBuilder::new(pattern)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?
            .compile_matcher();
        self.folders.borrow_mut().push(folder.to_owned());
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            // Caddy: a pattern that begins with `*` does not mean hidden files.
            let is_hidden = name.as_encoded_bytes().starts_with(b".") && pattern.starts_with('*');
            if !is_hidden && glob.is_match(&name) {
                found.push(folder.join(name));
            }
        }
        found.sort();
        Ok(found)
    }
}

impl Loader for Imports {
    fn glob(&self, importer: &str, pattern: &str) -> io::Result<Vec<String>> {
        let mut found = if pattern.starts_with('/') {
            vec![PathBuf::from("/")]
        } else {
            vec![folder_of(Path::new(importer)).to_owned()]
        };
        for part in pattern.split('/').filter(|part| !matches!(*part, "" | ".")) {
            let mut next = Vec::new();
            for folder in found {
                if part.contains(['*', '?', '[']) {
                    next.extend(self.matching(&folder, part)?);
                } else {
                    next.push(folder.join(part));
                }
            }
            found = next;
        }
        let mut names = Vec::new();
        for path in found {
            if path.symlink_metadata().is_err() {
                // It may appear later, so its folder is worth watching.
                self.folders.borrow_mut().push(folder_of(&path).to_owned());
                continue;
            }
            names.push(path.into_os_string().into_string().map_err(|path| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the name {} is not UTF-8", path.display()),
                )
            })?);
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<String> {
        let text = std::fs::read_to_string(name)?;
        self.files
            .borrow_mut()
            .push((PathBuf::from(name), text.clone()));
        Ok(text)
    }
}

/// The folder that `file` is in.
pub(super) fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => Path::new("/"),
    }
}

#[cfg(test)]
mod tests {
    use caddyfile::parser::Loader as _;

    use super::Imports;

    #[test]
    fn patterns_are_relative_to_the_importing_file() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("sites/a")).unwrap();
        std::fs::create_dir_all(root.join("sites/b")).unwrap();
        for name in [
            "sites/one.conf",
            "sites/two.conf",
            "sites/.hidden.conf",
            "sites/a/x",
            "sites/b/x",
        ] {
            std::fs::write(root.join(name), name).unwrap();
        }
        let importer = root.join("Caddyfile").display().to_string();
        let imports = Imports::default();
        let found = |pattern: &str| {
            let names = imports.glob(&importer, pattern).unwrap();
            let prefix = format!("{}/", root.display());
            names
                .iter()
                .map(|name| name.strip_prefix(&prefix).unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(found("sites/*.conf"), ["sites/one.conf", "sites/two.conf"]);
        assert_eq!(found("./sites/*/x"), ["sites/a/x", "sites/b/x"]);
        assert_eq!(found("sites/[o]ne.conf"), ["sites/one.conf"]);
        assert_eq!(found("sites/one.conf"), ["sites/one.conf"]);
        assert_eq!(found("missing/*"), Vec::<String>::new());
        assert_eq!(found("missing"), Vec::<String>::new());
        let absolute = imports
            .glob("elsewhere", &format!("{}/sites/o*", root.display()))
            .unwrap();
        assert_eq!(
            absolute,
            [root.join("sites/one.conf").display().to_string()]
        );
    }
}
