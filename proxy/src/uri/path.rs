//! Paths: decoding, Go's escaping, cleaning.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, percent_decode_str, utf8_percent_encode};
use proto::file_request::PATH_ESCAPES;

/// Go's `encodePathSegment` but for the slashes in between.
const GO_SEGMENTS: &AsciiSet = &PATH_ESCAPES.add(b';').add(b',');

/// The decoded path. Octets that are no UTF-8 read as U+FFFD.
pub fn decode(path: &str) -> Cow<'_, str> {
    if path.contains('%') {
        percent_decode_str(path).decode_utf8_lossy()
    } else {
        path.into()
    }
}

/// The canonical percent-encoding of a decoded path (Go: `EscapedPath` without a `RawPath`).
pub fn encode(path: &str) -> Cow<'_, str> {
    utf8_percent_encode(path, PATH_ESCAPES).into()
}

/// The canonical percent-encoding of a path whose slashes separate segments, which escapes `;` and
/// `,` too (Go: `PathEscape` of each segment).
pub fn encode_segments(path: &str) -> Cow<'_, str> {
    utf8_percent_encode(path, GO_SEGMENTS).into()
}

/// Resolves `.` and `..` segments and, with `merges_slashes`, merges repeated slashes. A trailing
/// slash stays (Caddy: `CleanPath`).
pub fn clean(path: &str, merges_slashes: bool) -> Cow<'_, str> {
    if is_clean(path) {
        return path.into();
    }
    let is_rooted = path.starts_with('/');
    let mut segments: Vec<&str> = Vec::new();
    let body = if is_rooted { &path[1..] } else { path };
    let mut parts = body.split('/').peekable();
    while let Some(segment) = parts.next() {
        let is_last = parts.peek().is_none();
        match segment {
            "" if is_last || merges_slashes => {}
            "." => {}
            ".." => match segments.last() {
                Some(&last) if last != ".." => {
                    segments.pop();
                }
                _ if is_rooted => {}
                _ => segments.push(".."),
            },
            segment => segments.push(segment),
        }
    }
    let mut cleaned = String::with_capacity(path.len());
    if is_rooted {
        cleaned.push('/');
    }
    cleaned.push_str(&segments.join("/"));
    if cleaned.is_empty() {
        cleaned.push('.');
    }
    if path.ends_with('/') && cleaned != "/" {
        cleaned.push('/');
    }
    cleaned.into()
}

/// The last element, `/` for the root and `.` for nothing (Go: `path.Base`).
pub fn base(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        return "/";
    }
    trimmed.rsplit('/').next().unwrap_or(trimmed)
}

/// The extension of the last element with its dot, or nothing (Go: `path.Ext`).
pub fn extension(path: &str) -> &str {
    let file = &path[split(path).0.len()..];
    file.rfind('.').map_or("", |dot| &file[dot..])
}

/// The folder with its trailing slash, and the file (Go: `path.Split`).
pub fn split(path: &str) -> (&str, &str) {
    path.split_at(path.rfind('/').map_or(0, |slash| slash + 1))
}

/// Whether nothing is to be cleaned: there are no `//`, and no segment begins with a dot (which
/// may also be a hidden file; the slow way tells).
fn is_clean(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.first() == Some(&b'/')
        && bytes
            .windows(2)
            .all(|pair| pair[0] != b'/' || (pair[1] != b'/' && pair[1] != b'.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{base, clean, decode, encode, extension, split};

    #[test]
    fn paths_are_cleaned() {
        for (path, merged, kept) in [
            ("/", "/", "/"),
            ("/a/b", "/a/b", "/a/b"),
            ("/a//b", "/a/b", "/a//b"),
            ("//a", "/a", "//a"),
            ("/a/./b/", "/a/b/", "/a/b/"),
            ("/a/../b", "/b", "/b"),
            ("/../../b", "/b", "/b"),
            ("/a/..", "/", "/"),
            ("/.hidden", "/.hidden", "/.hidden"),
            ("/a/b//", "/a/b/", "/a/b//"),
            ("", ".", "."),
            ("a/../../b", "../b", "../b"),
        ] {
            assert_eq!(clean(path, true), merged, "{path}");
            assert_eq!(clean(path, false), kept, "{path}");
        }
    }

    #[test]
    fn parts_of_a_path() {
        assert_eq!(base("/a/b.c/"), "b.c");
        assert_eq!(base("/"), "/");
        assert_eq!(extension("/a.b/c.tar.gz"), ".gz");
        assert_eq!(extension("/a.b/c"), "");
        assert_eq!(split("/a/b"), ("/a/", "b"));
        assert_eq!(encode("/a b*:;"), "/a%20b%2A:;");
        assert_eq!(decode("/a%20b%ff"), "/a b\u{fffd}");
    }

    proptest! {
        #[test]
        fn cleaning_twice_changes_nothing(path in "/[a./]{0,12}") {
            let once = clean(&path, true).into_owned();
            prop_assert_eq!(clean(&once, true), once.as_str());
            prop_assert!(!once.contains("//") && !once.split('/').any(|part| part == ".."));
        }

        #[test]
        fn decoding_undoes_encoding(path in ".*") {
            let encoded = encode(&path).into_owned();
            prop_assert_eq!(decode(&encoded), path);
        }
    }
}
