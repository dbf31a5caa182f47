//! Roles and how a certificate carries one.

use std::fmt;
use std::str::FromStr;

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

/// The domain below which every role has its name.
const DOMAIN: &str = "portico.internal";

/// The longest id of a subscriber; with the role's name it must fit into a DNS label.
const LONGEST_ID: usize = 50;

/// What a program, or a person, is allowed to be on the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Issues and stores certificates.
    CertManager,
    /// A person at the command line.
    Operator,
    /// The edge, which receives private keys of every name.
    Proxy,
    /// Serves files.
    StaticServer,
    /// Another program that uses certificates of some names. Its certificate says which it is:
    /// see [`SubscriberId`].
    Subscriber,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::CertManager,
        Self::Operator,
        Self::Proxy,
        Self::StaticServer,
        Self::Subscriber,
    ];

    /// The name of the role, which is also its folder's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CertManager => "cert-manager",
            Self::Operator => "operator",
            Self::Proxy => "proxy",
            Self::StaticServer => "static-server",
            Self::Subscriber => "subscriber",
        }
    }

    /// The DNS name that a certificate of the role carries. A subscriber's has its id before it.
    pub fn dns_name(self) -> String {
        format!("{self}.{DOMAIN}")
    }

    /// The role that a certificate carries, or `None` when it names none or several.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        let name = dns_name_of(certificate)?;
        if SubscriberId::of_dns_name(&name).is_some() {
            return Some(Self::Subscriber);
        }
        Self::ALL.into_iter().find(|role| role.dns_name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which subscriber: lower-case letters, digits and hyphens, so that it is a DNS label and a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriberId(String);

/// Text that is no subscriber's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no subscriber's id; use lower-case letters, digits and hyphens, such as `mail`")]
pub struct SubscriberIdError(String);

impl SubscriberId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of its folder among those of the roles.
    pub fn folder(&self) -> String {
        format!("{}-{self}", Role::Subscriber)
    }

    /// The DNS name that its certificate carries.
    pub fn dns_name(&self) -> String {
        format!("{self}.{}", Role::Subscriber.dns_name())
    }

    /// The subscriber that a certificate carries, or `None` when it is none's.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        Self::of_dns_name(&dns_name_of(certificate)?)
    }

    fn of_dns_name(name: &str) -> Option<Self> {
        let id = name.strip_suffix(&Role::Subscriber.dns_name())?;
        id.strip_suffix('.')?.parse().ok()
    }
}

impl FromStr for SubscriberId {
    type Err = SubscriberIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_label = (1..=LONGEST_ID).contains(&text.len())
            && !text.starts_with('-')
            && !text.ends_with('-')
            && text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if is_label {
            Ok(Self(text.to_owned()))
        } else {
            Err(SubscriberIdError(text.to_owned()))
        }
    }
}

impl fmt::Display for SubscriberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The one DNS name of a certificate that has no other names.
fn dns_name_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let names = &parsed.subject_alternative_name().ok()??.value.general_names;
    match names.as_slice() {
        [GeneralName::DNSName(name)] => Some((*name).to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_is_known_by_its_name() {
        let id: SubscriberId = "mail-1".parse().unwrap();
        assert_eq!(id.folder(), "subscriber-mail-1");
        assert_eq!(SubscriberId::of_dns_name(&id.dns_name()), Some(id));
        for other in [
            "subscriber.portico.internal",
            ".subscriber.portico.internal",
            "a.b.subscriber.portico.internal",
            "mailsubscriber.portico.internal",
            "mail.proxy.portico.internal",
            "mail.subscriber.portico.internal.org",
        ] {
            assert_eq!(SubscriberId::of_dns_name(other), None, "{other}");
        }
        for bad in ["", "Mail", "a.b", "-a", "a-", "a/b", "ä", &"a".repeat(51)] {
            assert!(bad.parse::<SubscriberId>().is_err(), "{bad}");
        }
    }
}
