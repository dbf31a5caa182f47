//! The path of a file request: percent-decoded once and cleaned lexically, before the kernel ever
//! sees it.
//!
//! Cleaning follows Go's `path.Clean`, as Caddy does: an encoded slash separates segments like a
//! plain one, and `..` never climbs above the root. It is no confinement: that is the kernel's
//! work ([`crate::volume`]), which also sees symbolic links.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode, percent_encode};

/// Octets that a path in a `Location` field must not hold as they are. `%` stays: the path is
/// encoded already. A backslash does not: browsers take it for a slash.
const NOT_IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A clean path below a root: no empty, `.` or `..` segments, no NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPath {
    relative: Vec<u8>,
    has_trailing_slash: bool,
}

/// Why a path cannot name a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A `%` that two hexadecimal digits do not follow.
    #[error("the path has a broken percent-encoding")]
    Encoding,
    /// An octet that no file name can hold.
    #[error("the path holds a NUL")]
    Nul,
}

impl RequestPath {
    /// Decodes and cleans the path of a request target.
    ///
    /// # Errors
    /// When it cannot name a file.
    pub fn parse(encoded: &str) -> Result<Self, PathError> {
        let bytes = encoded.as_bytes();
        if !bytes.contains(&b'%') {
            return Self::from_decoded(bytes);
        }
        if !is_well_encoded(bytes) {
            return Err(PathError::Encoding);
        }
        Self::from_decoded(&percent_decode(bytes).collect::<Vec<u8>>())
    }

    /// Cleans a path that is decoded already.
    ///
    /// # Errors
    /// When it holds a NUL.
    pub fn from_decoded(path: &[u8]) -> Result<Self, PathError> {
        if path.contains(&0) {
            return Err(PathError::Nul);
        }
        Ok(Self {
            relative: clean(path),
            has_trailing_slash: path.ends_with(b"/"),
        })
    }

    /// The same request below a folder: `relative` is what is left of the path there.
    #[must_use]
    pub fn with_relative(self, relative: Vec<u8>) -> Self {
        Self { relative, ..self }
    }

    /// The path relative to the root, without slashes at its ends; empty for the root itself.
    pub fn relative(&self) -> &[u8] {
        &self.relative
    }

    /// Whether the path, as it was given, ends in a slash.
    pub fn has_trailing_slash(&self) -> bool {
        self.has_trailing_slash
    }

    /// The last segment; empty for the root itself.
    pub fn base(&self) -> &[u8] {
        let start = self.relative.iter().rposition(|octet| *octet == b'/');
        &self.relative[start.map_or(0, |slash| slash + 1)..]
    }
}

/// Cleans a slash-separated path into segments joined by single slashes, with no slash at either
/// end.
pub fn clean(path: &[u8]) -> Vec<u8> {
    let mut cleaned = Vec::with_capacity(path.len());
    for segment in path.split(|octet| *octet == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                let parent = cleaned.iter().rposition(|octet| *octet == b'/');
                cleaned.truncate(parent.unwrap_or(0));
            }
            _ => {
                if !cleaned.is_empty() {
                    cleaned.push(b'/');
                }
                cleaned.extend_from_slice(segment);
            }
        }
    }
    cleaned
}

/// The value of `Location` that sends a client to `path` (already percent-encoded) on this host.
///
/// Several slashes at the start become one, since `//host/` would lead to another host.
pub fn location(path: &str, query: Option<&str>) -> String {
    let path = path.trim_start_matches('/').as_bytes();
    let mut location = format!("/{}", percent_encode(path, NOT_IN_PATH));
    if let Some(query) = query {
        location.push('?');
        location.push_str(query);
    }
    location
}

fn is_well_encoded(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(at, octet)| {
        *octet != b'%'
            || matches!(
                bytes.get(at + 1..at + 3),
                Some([high, low]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()
            )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{PathError, RequestPath, location};

    fn relative(encoded: &str) -> String {
        let path = RequestPath::parse(encoded).unwrap();
        String::from_utf8(path.relative().to_vec()).unwrap()
    }

    #[test]
    fn paths_are_decoded_once_and_cleaned() {
        for (encoded, expected) in [
            ("/", ""),
            ("", ""),
            ("/app.css", "app.css"),
            ("//a///b/", "a/b"),
            ("/a/./b/../c", "a/c"),
            ("/../../etc/passwd", "etc/passwd"),
            ("/..%2f..%2Fetc/passwd", "etc/passwd"),
            ("/%2e%2e/%2e%2e/etc/passwd", "etc/passwd"),
            ("/%252e%252e/x", "%2e%2e/x"),
            ("/a%20b", "a b"),
            ("/..../x", "..../x"),
            ("/..\\x", "..\\x"),
        ] {
            assert_eq!(relative(encoded), expected, "{encoded}");
        }
    }

    #[test]
    fn nul_and_broken_encoding_are_refused() {
        assert_eq!(RequestPath::parse("/a%00b"), Err(PathError::Nul));
        for broken in ["/%", "/%2", "/%zz", "/a%2gb"] {
            assert_eq!(
                RequestPath::parse(broken),
                Err(PathError::Encoding),
                "{broken}"
            );
        }
    }

    #[test]
    fn base_is_the_last_segment() {
        for (path, base) in [("/", ""), ("/a", "a"), ("/a/b/", "b"), ("/a/..", "")] {
            assert_eq!(RequestPath::parse(path).unwrap().base(), base.as_bytes());
        }
    }

    #[test]
    fn location_stays_on_the_host() {
        assert_eq!(location("/dir/", None), "/dir/");
        assert_eq!(location("//evil.example/", None), "/evil.example/");
        assert_eq!(location("/\\evil.example/", None), "/%5Cevil.example/");
        assert_eq!(location("/sp%20ace/", Some("q=1")), "/sp%20ace/?q=1");
        assert_eq!(location("/sp ace/", None), "/sp%20ace/");
    }

    proptest! {
        #[test]
        fn path_never_leaves_the_root(path in "(/|\\.|%2e|%2F|%5c|a|%|\\\\|\u{e9}|%c0%ae){0,40}") {
            if let Ok(path) = RequestPath::parse(&path) {
                prop_assert!(!path.relative().contains(&0));
                prop_assert!(!path.relative().starts_with(b"/"));
                for segment in path.relative().split(|octet| *octet == b'/') {
                    prop_assert!(segment != b".." && segment != b".");
                }
            }
        }

        #[test]
        fn cleaning_twice_changes_nothing(path in proptest::collection::vec(any::<u8>(), 0..60)) {
            let once = super::clean(&path);
            prop_assert_eq!(super::clean(&once), once);
        }
    }
}
