//! The certificate that answers a TLS-ALPN-01 challenge (RFC 8737 section 3).

use std::fmt;
use std::fmt::Write as _;
use std::net::IpAddr;

use rcgen::{CertificateParams, CustomExtension, DistinguishedName};
use rustls_pki_types::CertificateDer;

use crate::certificate::{CertificateError, PrivateKey};
use crate::name::Name;
use crate::policy::KeyType;

/// What a handshake for the protocol `acme-tls/1` is answered with.
#[derive(Clone)]
pub struct TlsAlpnAnswer {
    /// The server name of the handshake.
    pub server_name: String,
    /// A self-signed certificate for the name alone, with the digest of the key authorization.
    pub certificate: CertificateDer<'static>,
    /// Its private key, which serves for nothing else.
    pub key: PrivateKey,
}

impl TlsAlpnAnswer {
    /// Makes the answer for `name`; `digest` is the SHA-256 of the key authorization.
    ///
    /// # Errors
    /// When no key or certificate can be made.
    pub fn new(name: &Name, digest: &[u8; 32]) -> Result<Self, CertificateError> {
        let failed = |error: rcgen::Error| CertificateError::Malformed(error.to_string());
        let key = PrivateKey::generate(KeyType::P256)?;
        let mut params = CertificateParams::new([name.to_string()]).map_err(failed)?;
        params.distinguished_name = DistinguishedName::new();
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let certificate = params.self_signed(&key.key_pair()?).map_err(failed)?;
        Ok(Self {
            server_name: server_name(name),
            certificate: certificate.der().clone(),
            key,
        })
    }
}

impl PartialEq for TlsAlpnAnswer {
    fn eq(&self, other: &Self) -> bool {
        self.server_name == other.server_name && self.certificate == other.certificate
    }
}

impl Eq for TlsAlpnAnswer {}

impl fmt::Debug for TlsAlpnAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAlpnAnswer")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// The name that the authority asks for: an address has no place in SNI, so its reverse name stands
/// for it (RFC 8738 section 6).
fn server_name(name: &Name) -> String {
    match name.as_address() {
        None => name.to_string(),
        Some(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Some(IpAddr::V6(address)) => {
            let mut text = String::with_capacity(72);
            for octet in address.octets().iter().rev() {
                // Writing to a string does not fail.
                let _ = write!(text, "{:x}.{:x}.", octet & 0xf, octet >> 4);
            }
            text + "ip6.arpa"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_for_the_name_and_has_the_digest_as_critical_extension() {
        let name = Name::parse("a.school.org").unwrap();
        let answer = TlsAlpnAnswer::new(&name, &[7; 32]).unwrap();
        assert_eq!(answer.server_name, "a.school.org");
        let (_, parsed) = x509_parser::parse_x509_certificate(&answer.certificate).unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 1);
        let identifier = parsed
            .extensions()
            .iter()
            .find(|extension| extension.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")
            .unwrap();
        assert!(identifier.critical);
        // An OCTET STRING of the digest.
        assert_eq!(identifier.value, [&[4, 32][..], &[7; 32]].concat());
    }

    #[test]
    fn an_address_is_asked_for_by_its_reverse_name() {
        let reverse = |address: &str| server_name(&Name::parse(address).unwrap());
        assert_eq!(reverse("192.0.2.7"), "7.2.0.192.in-addr.arpa");
        assert_eq!(
            reverse("2001:db8::1"),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }
}
