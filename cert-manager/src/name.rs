//! The names that certificates are for, and which of them a public authority can certify.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A DNS name in lower-case A-label form, a wildcard of one, or an IP address in canonical text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// Text that is no name a certificate can be for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is neither a DNS name in lower case, a wildcard such as *.example.org, nor an address"
)]
pub struct NameError(String);

/// Whether a public authority can certify a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Names nothing outside its own network or machine.
    Private,
    /// Stands in documentation for a name of the reader's own.
    Placeholder,
    /// Anything else.
    Public,
}

/// Names and suffixes that are never in the public DNS: RFC 6761, RFC 6762, RFC 8375, and the
/// `internal` that ICANN reserved for private use.
const PRIVATE_SUFFIXES: [&str; 8] = [
    "localhost",
    "local",
    "internal",
    "home.arpa",
    "test",
    "example",
    "invalid",
    "lan",
];

/// Names that documentation uses for a domain of the reader's own, beside RFC 2606.
const PLACEHOLDERS: [&str; 11] = [
    "example.com",
    "example.net",
    "example.org",
    "your-domain.com",
    "your-domain.net",
    "your-domain.org",
    "yourdomain.com",
    "yourdomain.net",
    "yourdomain.org",
    "domain.tld",
    "example.tld",
];

impl Name {
    /// Reads a name; an address is brought into its canonical form.
    ///
    /// # Errors
    /// When it is no DNS name, wildcard or address.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.to_string().into()));
        }
        let base = text.strip_prefix("*.").unwrap_or(text);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
        };
        if text.len() > 253 || !base.split('.').all(is_label) {
            return Err(NameError(text.to_owned()));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, if the name is one.
    pub fn as_address(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }

    /// Whether the name is a wildcard.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// Whether a public authority can certify the name.
    pub fn standing(&self) -> Standing {
        if let Some(address) = self.as_address() {
            return if is_private_address(address) {
                Standing::Private
            } else {
                Standing::Public
            };
        }
        let base = self.0.strip_prefix("*.").unwrap_or(&self.0);
        let is_below = |suffix: &str| {
            base.strip_suffix(suffix)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if !base.contains('.') || PRIVATE_SUFFIXES.into_iter().any(is_below) {
            Standing::Private
        } else if PLACEHOLDERS.into_iter().any(is_below) {
            Standing::Placeholder
        } else {
            Standing::Public
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

fn is_private_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_addresses_made_canonical() {
        for good in [
            "a.example.org",
            "*.a.org",
            "localhost",
            "xn--bcher-kva.de",
            "10.0.0.1",
        ] {
            assert_eq!(Name::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(Name::parse("0:0:0:0:0:0:0:1").unwrap().as_str(), "::1");
        for bad in [
            "", "A.org", "a..org", "a.*.org", "*", "-a.org", "a b.org", "a.org.", "a/b",
        ] {
            assert!(Name::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn standing_tells_what_a_public_authority_can_certify() {
        let cases = [
            ("quiz.school.org", Standing::Public),
            ("*.school.org", Standing::Public),
            ("8.8.8.8", Standing::Public),
            ("localhost", Standing::Private),
            ("app.localhost", Standing::Private),
            ("*.localhost", Standing::Private),
            ("printer.local", Standing::Private),
            ("db.internal", Standing::Private),
            ("nas.home.arpa", Standing::Private),
            ("web", Standing::Private),
            ("192.168.1.10", Standing::Private),
            ("::1", Standing::Private),
            ("fd00::1", Standing::Private),
            ("quiz.your-domain.com", Standing::Placeholder),
            ("example.com", Standing::Placeholder),
            ("myexample.com", Standing::Public),
            ("notlocal", Standing::Private),
            ("a.notlocal.org", Standing::Public),
        ];
        for (name, standing) in cases {
            assert_eq!(Name::parse(name).unwrap().standing(), standing, "{name}");
        }
    }
}
