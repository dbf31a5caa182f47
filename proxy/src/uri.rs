//! Request targets as Caddy sees them: Go's `net/url` rules for escaping, cleaning and queries.
//!
//! A target is kept percent-encoded, as it came; [`path`] and [`query`] decode it for whoever
//! compares, and [`set_path`] and [`set_query`] write it back so that it stays a valid target.

pub mod glob;
pub mod path;
pub mod query;

use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What may stand in a target as it is; anything else is percent-encoded.
const NOT_IN_TARGET: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'\\')
    .add(b'^')
    .add(b'#');

/// The same within a path.
const NOT_IN_PATH: &AsciiSet = &NOT_IN_TARGET.add(b'?');

/// Replaces the path, given percent-encoded; the query stays.
pub fn set_path(uri: &mut Uri, path: &str) {
    let query = uri.query().map(str::to_owned);
    replace(uri, path, query.as_deref());
}

/// Replaces the query, without its `?`; an empty one takes the `?` away too.
pub fn set_query(uri: &mut Uri, query: &str) {
    let path = uri.path().to_owned();
    replace(uri, &path, (!query.is_empty()).then_some(query));
}

/// Replaces path and query. An empty path becomes `/`.
pub fn replace(uri: &mut Uri, path: &str, query: Option<&str>) {
    let mut target = String::with_capacity(path.len() + query.map_or(0, |query| query.len() + 1));
    if !path.starts_with('/') && path != "*" {
        target.push('/');
    }
    target.extend(utf8_percent_encode(path, NOT_IN_PATH));
    if let Some(query) = query {
        target.push('?');
        target.extend(utf8_percent_encode(query, NOT_IN_TARGET));
    }
    // Everything that a target cannot hold was encoded, and a target of more than 64 KiB is the
    // only other thing that is refused: such a request keeps its old target.
    if let Ok(target) = PathAndQuery::try_from(target) {
        *uri = Uri::from(target);
    }
}

/// Whether every `%` begins an escape of two hexadecimal digits.
pub fn has_valid_escapes(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'%', bytes).all(|at| {
        bytes
            .get(at + 1..at + 3)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::{has_valid_escapes, replace, set_path, set_query};

    #[test]
    fn targets_stay_valid() {
        for (path, query, expected) in [
            ("/a b", None, "/a%20b"),
            ("", Some("x=1"), "/?x=1"),
            ("/a?b", Some("c=<d>"), "/a%3Fb?c=%3Cd%3E"),
            ("/ä%20", None, "/%C3%A4%20"),
            ("a", None, "/a"),
        ] {
            let mut uri = Uri::from_static("/");
            replace(&mut uri, path, query);
            assert_eq!(uri.to_string(), expected);
        }
    }

    #[test]
    fn one_part_is_replaced_at_a_time() {
        let mut uri = Uri::from_static("/a?b=c");
        set_path(&mut uri, "/d");
        assert_eq!(uri, "/d?b=c");
        set_query(&mut uri, "");
        assert_eq!(uri, "/d");
    }

    #[test]
    fn escapes_are_checked() {
        assert!(has_valid_escapes("/a%2Fb"));
        for text in ["%", "/a%2", "/%zz", "%%20"] {
            assert!(!has_valid_escapes(text), "{text}");
        }
    }
}
