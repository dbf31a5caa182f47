//! What responses are stored under: scheme, host and target as the client sent them.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

use quick_cache::Equivalent;

/// The URI of a stored response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    is_tls: bool,
    host: Box<str>,
    target: Box<str>,
}

/// A [`Key`] of parts that are elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct KeyRef<'a> {
    is_tls: bool,
    /// In lower case, with the port where it is not the scheme's own.
    host: Cow<'a, str>,
    /// Path and query.
    target: Cow<'a, str>,
}

/// Which responses are to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purge {
    /// All.
    Everything,
    /// Those of a host, with any port unless it names one.
    Host {
        /// The host.
        host: String,
        /// Which of its targets.
        target: Targets,
    },
}

/// Some of the targets of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Targets {
    /// Those that begin like this.
    Prefix(String),
    /// A path, with any query.
    Path(String),
    /// A path with this query.
    PathAndQuery(String),
}

impl<'a> KeyRef<'a> {
    /// The key of a request to `host`, which may have a port.
    pub(crate) fn new(is_tls: bool, host: &'a str, target: &'a str) -> Self {
        let own_port = if is_tls { ":443" } else { ":80" };
        let host = host.strip_suffix(own_port).unwrap_or(host);
        let host = match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(host.to_ascii_lowercase()),
            false => Cow::Borrowed(host),
        };
        Self {
            is_tls,
            host,
            target: Cow::Borrowed(target),
        }
    }

    /// The key of what a field such as `Location` in a response to this request refers to; `None`
    /// if that is of another origin or makes no sense (RFC 9111 section 4.4).
    pub(crate) fn resolve(&self, reference: &str) -> Option<KeyRef<'static>> {
        let scheme = if self.is_tls { "https" } else { "http" };
        let base = format!("{scheme}://{}{}", self.host, self.target);
        let base = url::Url::parse(&base).ok()?;
        let url = base.join(reference).ok()?;
        if url.origin() != base.origin() {
            return None;
        }
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Some(KeyRef {
            is_tls: self.is_tls,
            host: Cow::Owned(self.host.clone().into_owned()),
            target: Cow::Owned(target),
        })
    }

    /// A key that holds its parts.
    pub(crate) fn to_key(&self) -> Key {
        Key {
            is_tls: self.is_tls,
            host: self.host.as_ref().into(),
            target: self.target.as_ref().into(),
        }
    }
}

impl Key {
    /// The key, for looking others up by it.
    pub(crate) fn as_ref(&self) -> KeyRef<'_> {
        KeyRef {
            is_tls: self.is_tls,
            host: Cow::Borrowed(&self.host),
            target: Cow::Borrowed(&self.target),
        }
    }

    /// Bytes that it takes.
    pub(crate) fn weight(&self) -> usize {
        self.host.len() + self.target.len()
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.is_tls.hash(state);
        self.host.hash(state);
        self.target.hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.is_tls == key.is_tls && self.target == *key.target && self.host == *key.host
    }
}

impl Purge {
    /// What to remove of `host`: a path, with its query or any, or all that begins like it if a `*`
    /// is at its end.
    pub(crate) fn of(host: &str, path: &str) -> Self {
        let target = match path.strip_suffix('*') {
            Some(prefix) => Targets::Prefix(prefix.to_owned()),
            None if path.contains('?') => Targets::PathAndQuery(path.to_owned()),
            None => Targets::Path(path.to_owned()),
        };
        Self::Host {
            host: host.to_ascii_lowercase(),
            target,
        }
    }

    /// Whether a response is to be removed.
    pub(crate) fn includes(&self, key: &Key) -> bool {
        let Self::Host { host, target } = self else {
            return true;
        };
        let is_host = *key.host == **host
            || crate::exchange::split_host_port(&key.host).0 == host.trim_matches(['[', ']']);
        is_host
            && match target {
                Targets::Prefix(prefix) => key.target.starts_with(prefix),
                Targets::Path(path) => {
                    let end = key.target.find('?').unwrap_or(key.target.len());
                    key.target[..end] == **path
                }
                Targets::PathAndQuery(target) => *key.target == **target,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(is_tls: bool, host: &str, target: &str) -> Key {
        KeyRef::new(is_tls, host, target).to_key()
    }

    #[test]
    fn hosts_are_compared_as_hosts() {
        let same = key(true, "example.com", "/a?b");
        assert_eq!(key(true, "EXAMPLE.com:443", "/a?b"), same);
        for other in [
            key(false, "example.com", "/a?b"),
            key(true, "example.com:8443", "/a?b"),
            key(true, "example.com", "/A?b"),
            key(true, "example.com", "/a"),
            key(true, "example.org", "/a?b"),
        ] {
            assert_ne!(other, same);
        }
    }

    #[test]
    fn references_are_resolved_within_their_origin() {
        let base = KeyRef::new(true, "example.com", "/a/b?c");
        for (reference, target) in [
            ("/x?y", Some("/x?y")),
            ("d", Some("/a/d")),
            ("https://EXAMPLE.com/z", Some("/z")),
            ("https://example.com:443/z", Some("/z")),
            ("http://example.com/z", None),
            ("https://example.org/z", None),
            ("https://", None),
        ] {
            let expected = target.map(|target| key(true, "example.com", target));
            let found = base.resolve(reference).map(|key| key.to_key());
            assert_eq!(found, expected, "{reference}");
        }
    }

    #[test]
    fn what_is_purged_is_what_is_named() {
        let stored = [
            key(true, "example.com", "/a"),
            key(true, "example.com:8443", "/a?x=1"),
            key(false, "example.com", "/ab"),
            key(true, "other.org", "/a"),
        ];
        for (purge, expected) in [
            (Purge::Everything, [true; 4]),
            (Purge::of("Example.com", "/a"), [true, true, false, false]),
            (
                Purge::of("example.com", "/a?x=1"),
                [false, true, false, false],
            ),
            (Purge::of("example.com", "/*"), [true, true, true, false]),
            (
                Purge::of("example.com:8443", "/*"),
                [false, true, false, false],
            ),
        ] {
            assert_eq!(stored.each_ref().map(|key| purge.includes(key)), expected);
        }
    }
}
