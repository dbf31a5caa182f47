//! From a request to the file that answers it, with the rules of Caddy's `file_server` and
//! `try_files`.

use http::{HeaderMap, StatusCode};
use proto::file_request::{Browse, Coding, FileMatch, FileRequest};

use super::encoding::acceptable;
use super::error::ServeError;
use super::hide::is_hidden;
use super::listing::Listing;
use super::path::{RequestPath, clean, location};
use crate::volume::{Kind, Lookup, Opened, Purpose, Root, Snapshot};

/// A request for a file, and where to look for it.
#[derive(Debug)]
pub struct Search<'a> {
    /// The options.
    pub request: &'a FileRequest,
    /// The root, as [`FileRequest::root`] names it.
    pub root: Root,
    /// The path below the root.
    pub path: RequestPath,
    /// The query, for redirects.
    pub query: Option<&'a str>,
    /// For content negotiation.
    pub headers: &'a HeaderMap,
    /// Whether redirects depend on the last segment being the client's own: not so when nothing
    /// rewrote the path.
    pub is_rewritten: bool,
    /// Whether the disk may be waited for.
    pub lookup: Lookup,
}

/// What a search found.
#[derive(Debug)]
pub enum Found {
    /// What is in a folder without an index.
    Listing(Listing),
    /// The answer to a probe.
    Match(FileMatch),
    /// The location that the client should ask instead.
    Redirect(String),
    /// A file.
    Representation(Representation),
}

/// A file that can be sent.
#[derive(Debug)]
pub struct Representation {
    /// The file whose bytes are sent.
    pub sent: Opened,
    /// The state of the file that the request names: another one for a precompressed sibling.
    pub named: Snapshot,
    /// The coding of the bytes, for a precompressed sibling.
    pub coding: Option<Coding>,
    /// The absolute path of the named file, as requests name it.
    pub path: Vec<u8>,
    /// Whether changes of it are told as they happen.
    pub is_watched: bool,
}

impl Search<'_> {
    /// Finds the file.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub fn run(mut self) -> Result<Found, ServeError> {
        let candidate = self.candidate()?;
        if self.request.probe {
            return candidate.map(Found::Match).ok_or(ServeError::NotFound);
        }
        let mut relative = self.path.relative().to_vec();
        let mut opened = self.open(&relative)?;
        let is_directory = opened.snapshot.kind == Kind::Directory;
        if is_directory {
            match (self.index(&relative), self.request.browse) {
                (Ok(index), _) => (relative, opened) = index,
                (Err(error), Some(browse)) if error.is_absence() => {
                    return self.list(&relative, &opened, browse);
                }
                (Err(error), _) => return Err(error),
            }
        }
        if opened.snapshot.kind != Kind::File {
            return Err(ServeError::NotFound);
        }
        if !self.request.redirects_listings_only
            && let Some(location) = self.canonical(is_directory)
        {
            return Ok(Found::Redirect(location));
        }
        let named = opened.snapshot;
        let path = self.root.absolute(&relative);
        let (coding, sent) = match self.precompressed(&relative)? {
            Some((coding, sibling)) => (Some(coding), sibling),
            None => (None, opened),
        };
        Ok(Found::Representation(Representation {
            sent,
            named,
            coding,
            path,
            is_watched: self.root.is_watched(),
        }))
    }

    /// Takes the first of the files to try that is there as the path. Without one the request's own
    /// path stays, as in Caddy, where `try_files` then rewrites nothing.
    ///
    /// A candidate that ends in a slash must be a directory, any other must not be one.
    fn candidate(&mut self) -> Result<Option<FileMatch>, ServeError> {
        if self.request.try_files.is_empty() {
            if !self.request.probe {
                return Ok(None);
            }
            let path = self.path.clone();
            let name = format!(
                "/{}{}",
                String::from_utf8_lossy(path.relative()),
                if path.has_trailing_slash() && !path.relative().is_empty() {
                    "/"
                } else {
                    ""
                }
            );
            return self.try_one(&name, &path);
        }
        for name in &self.request.try_files {
            if let Some(status) = status(name) {
                return Err(ServeError::Status(status));
            }
            let Ok(path) = RequestPath::from_decoded(name.as_bytes()) else {
                continue;
            };
            if let Some(found) = self.try_one(name, &path)? {
                self.path = path;
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn try_one(&self, name: &str, path: &RequestPath) -> Result<Option<FileMatch>, ServeError> {
        if self.hides(path.relative()) {
            return Ok(None);
        }
        let snapshot = match self.root.open(path.relative(), Purpose::Probe, self.lookup) {
            Ok(opened) => opened.snapshot,
            Err(error) => {
                return match ServeError::from_io(error, name.as_bytes()) {
                    ServeError::WouldBlock => Err(ServeError::WouldBlock),
                    // Caddy: whatever cannot be looked at is not there.
                    _ => Ok(None),
                };
            }
        };
        let expected = if path.has_trailing_slash() {
            Kind::Directory
        } else {
            Kind::File
        };
        Ok((snapshot.kind == expected).then(|| FileMatch {
            path: name.to_owned(),
            is_directory: expected == Kind::Directory,
            size: snapshot.size,
            modified: milliseconds(snapshot.modified),
        }))
    }

    /// The index file of a directory.
    fn index(&self, directory: &[u8]) -> Result<(Vec<u8>, Opened), ServeError> {
        for name in &self.request.index {
            let relative = join(directory, &clean(name.as_bytes()));
            match self.open(&relative) {
                Ok(opened) if opened.snapshot.kind == Kind::File => return Ok((relative, opened)),
                Ok(_) => {}
                Err(error) if error.is_absence() => {}
                Err(error) => return Err(error),
            }
        }
        Err(ServeError::NotFound)
    }

    /// The listing of a directory, at a path that ends in a slash.
    fn list(&self, relative: &[u8], opened: &Opened, browse: Browse) -> Result<Found, ServeError> {
        let own = self.request.canonical_path.as_deref();
        // A prefix that was stripped away as a whole leaves no segment that could be compared.
        let location = match own {
            Some(own) if self.path.relative().is_empty() && !own.ends_with('/') => {
                Some(location(&format!("{own}/"), self.query))
            }
            _ => self.canonical(true),
        };
        if let Some(location) = location {
            return Ok(Found::Redirect(location));
        }
        if self.lookup == Lookup::Cached {
            return Err(ServeError::WouldBlock);
        }
        let folder = (&opened.file, &opened.snapshot);
        let paths = (relative, self.path.relative());
        Listing::read(&self.root, folder, paths, &self.request.hide, browse).map(Found::Listing)
    }

    /// Where to send the client when directories are to end in a slash and files are not.
    fn canonical(&self, is_directory: bool) -> Option<String> {
        let own = self.request.canonical_path.as_deref()?;
        // Caddy: a rewrite that changed the last segment is not to be undone by a redirect.
        if self.is_rewritten && RequestPath::parse(own).ok()?.base() != self.path.base() {
            return None;
        }
        match (is_directory, own.strip_suffix('/')) {
            (true, None) => Some(location(&format!("{own}/"), self.query)),
            (false, Some(file)) if !file.is_empty() => Some(location(file, self.query)),
            _ => None,
        }
    }

    /// The sibling that the client likes best, of those there are.
    fn precompressed(&self, relative: &[u8]) -> Result<Option<(Coding, Opened)>, ServeError> {
        for coding in acceptable(self.headers, &self.request.precompressed) {
            let mut sibling = relative.to_vec();
            sibling.extend_from_slice(coding.extension().as_bytes());
            match self.root.open(&sibling, Purpose::Read, self.lookup) {
                Ok(opened) if opened.snapshot.kind == Kind::File => {
                    return Ok(Some((coding, opened)));
                }
                Ok(_) => {}
                // The file itself is there, so any other trouble with a sibling costs nothing.
                Err(error) => {
                    let error = ServeError::from_io(error, &sibling);
                    if matches!(error, ServeError::WouldBlock) {
                        return Err(error);
                    }
                }
            }
        }
        Ok(None)
    }

    fn open(&self, relative: &[u8]) -> Result<Opened, ServeError> {
        if self.hides(relative) {
            return Err(ServeError::NotFound);
        }
        self.root
            .open(relative, Purpose::Read, self.lookup)
            .map_err(|error| ServeError::from_io(error, &self.root.absolute(relative)))
    }

    fn hides(&self, relative: &[u8]) -> bool {
        let hide = &self.request.hide;
        !hide.is_empty() && is_hidden(&self.root.absolute(relative), hide)
    }
}

/// The status that an entry such as `=404` stands for.
fn status(entry: &str) -> Option<StatusCode> {
    let code: u16 = entry.strip_prefix('=')?.parse().ok()?;
    // A response that is final needs 200 or more.
    StatusCode::from_u16(code)
        .ok()
        .filter(|status| !status.is_informational())
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if !path.is_empty() && !name.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Milliseconds since 1970 of seconds and nanoseconds; times before that are 0.
fn milliseconds((seconds, nanoseconds): (i64, u32)) -> u64 {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    seconds
        .saturating_mul(1000)
        .saturating_add(u64::from(nanoseconds / 1_000_000))
}
