//! Values that mean the same in several directives.

use std::net::IpAddr;

use ipnet::IpNet;

/// What `private_ranges` stands for. Caddy: `internal.PrivateRangesCIDR`.
pub const PRIVATE_RANGES: [&str; 6] = [
    "192.168.0.0/16",
    "172.16.0.0/12",
    "10.0.0.0/8",
    "127.0.0.1/8",
    "fd00::/8",
    "::1",
];

/// An address, or a range of them in CIDR notation. `None` if it is neither.
#[must_use]
pub fn ip_range(text: &str) -> Option<IpNet> {
    if text.contains('/') {
        return text.parse().ok();
    }
    text.parse::<IpAddr>().ok().map(IpNet::from)
}

/// The canonical form of a header field's name: `x-forwarded-for` is `X-Forwarded-For`.
///
/// What is no field name, as a placeholder, stays as it is. Go: `textproto.CanonicalMIMEHeaderKey`.
#[must_use]
pub fn canonical_field_name(name: &str) -> String {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !name.bytes().all(is_token) {
        return name.to_owned();
    }
    let mut starts_word = true;
    let canonical = name.chars().map(|character| {
        let starts = std::mem::replace(&mut starts_word, character == '-');
        if starts {
            character.to_ascii_uppercase()
        } else {
            character.to_ascii_lowercase()
        }
    });
    canonical.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_addresses_or_cidr() {
        assert!(PRIVATE_RANGES.iter().all(|range| ip_range(range).is_some()));
        assert_eq!(ip_range("1.2.3.4.5"), None);
        assert_eq!(ip_range("1.2.3.4/40"), None);
    }

    #[test]
    fn field_names_are_made_canonical() {
        assert_eq!(canonical_field_name("x-forwarded-FOR"), "X-Forwarded-For");
        assert_eq!(canonical_field_name("x_a"), "X_a");
        assert_eq!(canonical_field_name("{a}"), "{a}");
    }
}
