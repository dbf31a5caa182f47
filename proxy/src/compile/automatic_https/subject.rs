//! What kind of name a certificate would be for. Caddy: the `Subject...` functions of certmagic.

use std::net::IpAddr;

/// Characters that no name has; a name with one is a mistake or a placeholder.
const NEVER: &[char] = &[
    '(', ')', '[', ']', '{', '}', '<', '>', ' ', '\t', '\n', '"', '\\', '!', '@', '#', '$', '%',
    '^', '&', '|', ';', '\'', '+', '=',
];

/// Whether a certificate for `name` can be thought of at all.
pub fn qualifies(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && !name.ends_with('.')
        && (!name.contains('*') || name == "*" || name.starts_with("*."))
        && !name.contains(NEVER)
}

/// Whether `name` means this host or a private network, so that no public authority certifies it.
pub fn is_internal(name: &str) -> bool {
    if let Ok(ip) = name.parse::<IpAddr>() {
        return match ip.to_canonical() {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            IpAddr::V6(ip) => {
                ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
            }
        };
    }
    name == "localhost"
        || [".localhost", ".local", ".internal", ".home.arpa"]
            .iter()
            .any(|suffix| name.ends_with(suffix))
}

/// Whether a public authority may certify `name`. A wildcard must have two labels behind it.
pub fn is_public(name: &str) -> bool {
    qualifies(name)
        && !is_internal(name)
        && (!name.contains('*')
            || (name.starts_with("*.")
                && name.matches('*').count() == 1
                && name.matches('.').count() > 1))
}

/// Whether `pattern` is `name`, or a wildcard whose labels `*` stand for one of its labels each.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    if pattern == name {
        return true;
    }
    pattern.contains('*')
        && pattern.split('.').count() == name.split('.').count()
        && pattern
            .split('.')
            .zip(name.split('.'))
            .all(|(ours, theirs)| ours == "*" || ours == theirs)
}

/// A host in lower case and with A-labels (RFC 5890), an IP address in its canonical form and
/// without brackets; `None` when it cannot be one.
pub(super) fn to_ascii(host: &str) -> Option<String> {
    let host = host.trim_matches(['[', ']']);
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(ip.to_string());
    }
    if host.is_ascii() {
        return Some(host.to_ascii_lowercase());
    }
    idna::domain_to_ascii(host).ok()
}

#[cfg(test)]
mod tests {
    use super::{is_internal, is_public, matches, qualifies, to_ascii};

    #[test]
    fn names_that_no_authority_certifies() {
        for name in [
            "localhost",
            "a.localhost",
            "printer.local",
            "db.internal",
            "127.0.0.1",
            "::1",
            "10.0.0.1",
        ] {
            assert!(qualifies(name), "{name}");
            assert!(is_internal(name), "{name}");
            assert!(!is_public(name), "{name}");
        }
    }

    #[test]
    fn names_that_a_public_authority_may_certify() {
        for name in [
            "example.com",
            "*.example.com",
            "xn--bcher-kva.example",
            "203.0.113.7",
        ] {
            assert!(is_public(name), "{name}");
        }
        for name in ["*.com", "*", "*.*.example.com", ""] {
            assert!(!is_public(name), "{name}");
        }
    }

    #[test]
    fn names_that_are_none() {
        for name in [
            "",
            ".example.com",
            "example.com.",
            "a.*.example.com",
            "{host}",
            "a b",
        ] {
            assert!(!qualifies(name), "{name}");
        }
    }

    #[test]
    fn wildcard_stands_for_one_label() {
        assert!(matches("*.example.com", "www.example.com"));
        assert!(matches("*.*.com", "www.example.com"));
        assert!(!matches("*.example.com", "example.com"));
        assert!(!matches("*.example.com", "a.b.example.com"));
    }

    #[test]
    fn international_names_become_a_labels() {
        assert_eq!(
            to_ascii("B\u{fc}cher.example").as_deref(),
            Some("xn--bcher-kva.example")
        );
        assert_eq!(to_ascii("[::1]").as_deref(), Some("::1"));
        assert_eq!(to_ascii("EXAMPLE.com").as_deref(), Some("example.com"));
    }
}
