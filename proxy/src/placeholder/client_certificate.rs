//! Placeholders of the certificate that a client showed (Caddy: `http.request.tls.client.*`).

use std::fmt::Write as _;
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

/// A fact about the client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificateKey {
    /// Its DER in base64.
    DerBase64,
    /// The SHA-256 of its DER, in hexadecimal.
    Fingerprint,
    /// Who signed it (RFC 2253).
    Issuer,
    /// Its PEM.
    Pem,
    /// Its public key, in hexadecimal.
    PublicKey,
    /// The SHA-256 of its public key, in hexadecimal.
    PublicKeySha256,
    /// Its alternative names of one kind; one of them, or all.
    San(San, Option<usize>),
    /// Its serial number, decimal.
    Serial,
    /// Whose it is (RFC 2253).
    Subject,
}

/// A kind of alternative names (RFC 5280 section 4.2.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum San {
    /// Names of hosts.
    DnsNames,
    /// Addresses of mail.
    Emails,
    /// IP addresses.
    Ips,
    /// URIs.
    Uris,
}

/// Types of attributes that have a name, in the order in which Go writes them; the numbers are
/// those behind 2.5.4. The last two have one value at most.
const ATTRIBUTES: [(u64, &str); 9] = [
    (6, "C"),
    (10, "O"),
    (11, "OU"),
    (7, "L"),
    (8, "ST"),
    (9, "STREET"),
    (17, "POSTALCODE"),
    (3, "CN"),
    (5, "SERIALNUMBER"),
];
const SINGLE: [&str; 2] = ["CN", "SERIALNUMBER"];

impl ClientCertificateKey {
    /// The key of `name`, which is without its prefix and in lower case.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "certificate_der_base64" => Self::DerBase64,
            "certificate_pem" => Self::Pem,
            "fingerprint" => Self::Fingerprint,
            "issuer" => Self::Issuer,
            "public_key" => Self::PublicKey,
            "public_key_sha256" => Self::PublicKeySha256,
            "serial" => Self::Serial,
            "subject" => Self::Subject,
            _ => {
                let names = name.strip_prefix("san.")?;
                let (kind, index) = match names.split_once('.') {
                    Some((kind, index)) => (kind, Some(index.parse().ok()?)),
                    None => (names, None),
                };
                let kind = match kind {
                    "dns_names" => San::DnsNames,
                    "emails" => San::Emails,
                    "ips" => San::Ips,
                    "uris" => San::Uris,
                    _ => return None,
                };
                Self::San(kind, index)
            }
        })
    }

    /// Its value; `None` for a certificate that cannot be read.
    pub(super) fn resolve(self, certificate: &CertificateDer<'_>) -> Option<String> {
        if self == Self::DerBase64 {
            return Some(BASE64_STANDARD.encode(certificate));
        }
        if self == Self::Fingerprint {
            return Some(hexadecimal(&Sha256::digest(certificate)));
        }
        if self == Self::Pem {
            return Some(pem(certificate));
        }
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let key = || &*parsed.public_key().subject_public_key.data;
        Some(match self {
            Self::DerBase64 | Self::Fingerprint | Self::Pem => return None,
            Self::Issuer => distinguished_name(parsed.issuer()),
            Self::PublicKey => hexadecimal(key()),
            Self::PublicKeySha256 => hexadecimal(&Sha256::digest(key())),
            Self::San(kind, index) => {
                let names = alternative_names(&parsed, kind);
                match index {
                    Some(index) => names.into_iter().nth(index).unwrap_or_default(),
                    // As Go prints a list.
                    None => format!("[{}]", names.join(" ")),
                }
            }
            Self::Serial => parsed.tbs_certificate.serial.to_string(),
            Self::Subject => distinguished_name(parsed.subject()),
        })
    }
}

/// The common name and the serial number, for the access log.
pub(crate) fn brief(certificate: &CertificateDer<'_>) -> Option<(String, String)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let common_name = parsed.subject().iter_common_name().last();
    let common_name = common_name.and_then(|name| name.as_str().ok());
    Some((
        common_name.unwrap_or_default().to_owned(),
        parsed.tbs_certificate.serial.to_string(),
    ))
}

fn pem(certificate: &[u8]) -> String {
    let encoded = BASE64_STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, following) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = following;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

fn alternative_names(certificate: &X509Certificate<'_>, wanted: San) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension.value.general_names.iter();
    names
        .filter_map(|name| match (wanted, name) {
            (San::DnsNames, GeneralName::DNSName(name))
            | (San::Emails, GeneralName::RFC822Name(name))
            | (San::Uris, GeneralName::URI(name)) => Some((*name).to_owned()),
            (San::Ips, GeneralName::IPAddress(octets)) => {
                let v4 = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
                let v6 = || <[u8; 16]>::try_from(*octets).map(IpAddr::from);
                Some(v4.or_else(|_| v6()).ok()?.to_string())
            }
            _ => None,
        })
        .collect()
}

/// A name as Go writes it (`pkix.Name.String`): the types that have names in a fixed order, the last
/// first, and then the others as they stand.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut known: [Vec<String>; ATTRIBUTES.len()] = Default::default();
    let mut others = Vec::new();
    for attribute in name.iter_attributes() {
        let arcs: Vec<u64> = attribute
            .attr_type()
            .iter()
            .map(Iterator::collect)
            .unwrap_or_default();
        let position = match arcs.as_slice() {
            [2, 5, 4, number] => ATTRIBUTES.iter().position(|(known, _)| known == number),
            _ => None,
        };
        let value = attribute.as_str().unwrap_or_default();
        match position {
            Some(position) => {
                let (_, label) = ATTRIBUTES[position];
                if SINGLE.contains(&label) {
                    known[position].clear();
                }
                known[position].push(format!("{label}={}", escaped(value)));
            }
            None => others.push(format!("{}=#{}", attribute.attr_type(), encoded(value))),
        }
    }
    let known = known.into_iter().rev().filter(|values| !values.is_empty());
    let mut parts: Vec<String> = known.map(|values| values.join("+")).collect();
    parts.extend(others.into_iter().rev());
    parts.join(",")
}

/// A value with what has a meaning in names escaped (RFC 2253 section 2.4).
fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut escaped = String::with_capacity(value.len());
    for (index, character) in value.chars().enumerate() {
        let is_special = match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            ' ' => index == 0 || index == last,
            '#' => index == 0,
            _ => false,
        };
        if is_special {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// A string in DER, in hexadecimal, as Go encodes those of types that it does not know.
fn encoded(value: &str) -> String {
    const PRINTABLE_STRING: u8 = 0x13;
    const UTF8_STRING: u8 = 0x0c;

    let is_printable = |byte: u8| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte);
    let tag = if value.bytes().all(is_printable) {
        PRINTABLE_STRING
    } else {
        UTF8_STRING
    };
    let mut der = vec![tag];
    match u8::try_from(value.len()) {
        Ok(length @ ..=127) => der.push(length),
        Ok(length) => der.extend([0x81, length]),
        // Longer ones are cut by no authority's rules, but need two octets.
        Err(_) => {
            let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
            der.push(0x82);
            der.extend(length.to_be_bytes());
        }
    }
    der.extend(value.as_bytes());
    hexadecimal(&der)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType, SerialNumber};

    use super::*;

    fn certificate() -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.test".into(), "b.test".into()]).unwrap();
        params
            .subject_alt_names
            .push(SanType::IpAddress("192.0.2.7".parse().unwrap()));
        params.serial_number = Some(SerialNumber::from(vec![1, 0]));
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "Ada, \"Countess\"");
        name.push(DnType::OrganizationName, "Engines");
        name.push(
            DnType::CountryName,
            DnValue::PrintableString("GB".try_into().unwrap()),
        );
        name.push(
            DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]),
            "a@b.test",
        );
        let der = params.self_signed(&key).unwrap().der().clone();
        (der, key)
    }

    fn value(certificate: &CertificateDer<'_>, name: &str) -> String {
        ClientCertificateKey::parse(name)
            .and_then(|key| key.resolve(certificate))
            .unwrap_or_else(|| panic!("{name}"))
    }

    #[test]
    fn facts_are_as_go_writes_them() {
        let (certificate, key) = certificate();
        let subject = "CN=Ada\\, \\\"Countess\\\",O=Engines,C=GB,\
                       1.2.840.113549.1.9.1=#0c086140622e74657374";
        let public_key = hexadecimal(key.public_key_raw());
        for (name, expected) in [
            ("subject", subject),
            ("issuer", subject),
            ("serial", "256"),
            ("san.dns_names", "[a.test b.test]"),
            ("san.dns_names.1", "b.test"),
            ("san.dns_names.2", ""),
            ("san.ips.0", "192.0.2.7"),
            ("san.emails", "[]"),
            ("public_key", &public_key),
        ] {
            assert_eq!(value(&certificate, name), expected, "{name}");
        }
        assert_eq!(value(&certificate, "fingerprint").len(), 64);
        assert_eq!(value(&certificate, "public_key_sha256").len(), 64);
        let base64 = value(&certificate, "certificate_der_base64");
        let pem = value(&certificate, "certificate_pem");
        assert_eq!(
            pem.lines()
                .filter(|line| !line.starts_with('-'))
                .collect::<String>(),
            base64
        );
        assert!(ClientCertificateKey::parse("san.dns_names.x").is_none());
        assert!(ClientCertificateKey::parse("nothing").is_none());
    }
}
