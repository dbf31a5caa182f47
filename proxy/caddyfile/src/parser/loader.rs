//! Where imported files come from.

use std::io;

/// Reads the files that are imported.
pub trait Loader {
    /// The names of the files that `pattern` names, sorted. It has `*`, `?` or `[..]` as in a
    /// shell, never matching `/`; without them it names one file. It is relative to the folder of
    /// the file `importer` unless it starts with `/`. Empty if there is no such file.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn glob(&self, importer: &str, pattern: &str) -> io::Result<Vec<String>>;

    /// The text of a file that [`glob`](Self::glob) named.
    ///
    /// # Errors
    /// It cannot be read, or is no UTF-8 text.
    fn read(&self, name: &str) -> io::Result<String>;
}

/// A loader for where there are no files: every import of one fails.
#[derive(Debug, Clone, Copy)]
pub struct NoFiles;

impl Loader for NoFiles {
    fn glob(&self, _importer: &str, _pattern: &str) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn read(&self, _name: &str) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}
