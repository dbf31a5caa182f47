//! Certificates with their private keys, and the public facts of a leaf.

use std::fmt;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
};
use jiff::Timestamp;
use rcgen::PublicKeyData as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

use crate::name::Name;
use crate::pem;
use crate::policy::{IssuerId, KeyType, RenewalWindow};

/// A certificate for a name, checked to belong to its private key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The declared name it is for.
    pub name: Name,
    /// Leaf first, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key.
    pub key: PrivateKey,
    /// What the leaf says.
    pub facts: Facts,
}

/// The public facts of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Who issued it.
    pub issuer: IssuerId,
    /// Lower-case hexadecimal, two digits per octet.
    pub serial: String,
    /// SHA-256 of the DER leaf, lower-case hexadecimal.
    pub fingerprint_sha256: String,
    /// Begin of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
    /// The issuer's distinguished name.
    pub issuer_name: String,
    /// Subject alternative names, as text.
    pub subject_alternative_names: Vec<String>,
}

/// A private key, PKCS #8 in DER. Wiped when dropped; never printed.
#[derive(Clone)]
pub struct PrivateKey(Zeroizing<Vec<u8>>);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The chain is empty or its leaf is malformed.
    #[error("the certificate is malformed: {0}")]
    Malformed(String),
    /// The key is malformed or of a kind that is not supported.
    #[error("the private key cannot be used: {0}")]
    Key(String),
    /// The leaf belongs to another key.
    #[error("the certificate does not belong to the private key")]
    KeyMismatch,
    /// The leaf is not for the name.
    #[error("the certificate is for {found}, not for {wanted}")]
    NameMismatch {
        /// What was asked for.
        wanted: Name,
        /// What the leaf is for.
        found: String,
    },
}

impl Certificate {
    /// Puts a certificate together and checks that its parts belong together.
    ///
    /// # Errors
    /// When the leaf is malformed, belongs to another key, or is not for `name`.
    pub fn new(
        name: Name,
        issuer: IssuerId,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKey,
    ) -> Result<Self, CertificateError> {
        let leaf = chain
            .first()
            .ok_or_else(|| CertificateError::Malformed("the chain is empty".to_owned()))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
            .map_err(|error| CertificateError::Malformed(error.to_string()))?;
        if parsed.public_key().raw != key.key_pair()?.subject_public_key_info() {
            return Err(CertificateError::KeyMismatch);
        }
        let facts = Facts::of_leaf(leaf, issuer)?;
        if !facts
            .subject_alternative_names
            .iter()
            .any(|found| found == name.as_str())
        {
            return Err(CertificateError::NameMismatch {
                wanted: name,
                found: facts.subject_alternative_names.join(", "),
            });
        }
        Ok(Self {
            name,
            chain,
            key,
            facts,
        })
    }
}

impl Facts {
    /// Reads the facts of a leaf that `issuer` issued.
    ///
    /// # Errors
    /// When the certificate is malformed.
    pub fn of_leaf(leaf: &CertificateDer<'_>, issuer: IssuerId) -> Result<Self, CertificateError> {
        let malformed = |error: String| CertificateError::Malformed(error);
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
            .map_err(|error| malformed(error.to_string()))?;
        let moment = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).map_err(|error| malformed(error.to_string()))
        };
        let names = parsed
            .subject_alternative_name()
            .map_err(|error| malformed(error.to_string()))?
            .map(|extension| &extension.value.general_names);
        Ok(Self {
            issuer,
            serial: hexadecimal(strip_sign(parsed.raw_serial())),
            fingerprint_sha256: hexadecimal(&Sha256::digest(leaf)),
            not_before: moment(parsed.validity().not_before)?,
            not_after: moment(parsed.validity().not_after)?,
            issuer_name: parsed.issuer().to_string(),
            subject_alternative_names: names
                .into_iter()
                .flatten()
                .filter_map(alternative_name)
                .collect(),
        })
    }

    /// The moment from which a newer certificate should be obtained, where its authority does not
    /// say so: when `window` opens.
    pub fn renew_at(&self, window: RenewalWindow) -> Timestamp {
        let lifetime = self.not_after.duration_since(self.not_before);
        // A lifetime of a parsed certificate is far from the limits of a timestamp.
        self.not_after
            .checked_sub(window.of(lifetime))
            .unwrap_or(self.not_after)
    }

    /// Whether the certificate has not ended by `now`. Its begin is not looked at: a certificate
    /// that seems to begin in the future says that this machine's clock is behind.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        now < self.not_after
    }
}

impl PrivateKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// When the cryptography library has no randomness.
    pub fn generate(kind: KeyType) -> Result<Self, CertificateError> {
        use rcgen::{KeyPair, RsaKeySize};
        let pair = match kind {
            KeyType::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
            KeyType::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            KeyType::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            KeyType::Rsa2048 => {
                KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048)
            }
            KeyType::Rsa4096 => {
                KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096)
            }
        }
        .map_err(|error| CertificateError::Key(error.to_string()))?;
        Ok(Self(Zeroizing::new(pair.serialize_der())))
    }

    /// Takes a key in DER.
    pub fn from_der(der: &PrivatePkcs8KeyDer<'_>) -> Self {
        Self(Zeroizing::new(der.secret_pkcs8_der().to_vec()))
    }

    /// Reads the first private key of PEM text. Caddy writes `EC PRIVATE KEY` (RFC 5915) and
    /// `RSA PRIVATE KEY` (RFC 8017), which are converted.
    ///
    /// # Errors
    /// When there is none, or it is of a kind that is not supported.
    pub fn from_pem(text: &str) -> Result<Self, CertificateError> {
        let refused = |error: String| CertificateError::Key(error);
        let der = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|error| refused(error.to_string()))?;
        match &der {
            PrivateKeyDer::Pkcs8(der) => Ok(Self::from_der(der)),
            PrivateKeyDer::Sec1(der) => [
                &ECDSA_P256_SHA256_ASN1_SIGNING,
                &ECDSA_P384_SHA384_ASN1_SIGNING,
            ]
            .into_iter()
            .find_map(|curve| {
                let pair = EcdsaKeyPair::from_private_key_der(curve, der.secret_sec1_der()).ok()?;
                Some(Self(Zeroizing::new(
                    pair.to_pkcs8v1().ok()?.as_ref().to_vec(),
                )))
            })
            .ok_or_else(|| refused("the curve is neither P-256 nor P-384".to_owned())),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der())
                .map_err(|error| refused(error.to_string()))?
                .as_der()
                .map(|der| Self(Zeroizing::new(der.as_ref().to_vec())))
                .map_err(|error| refused(error.to_string())),
            _ => Err(refused("an unknown kind of private key".to_owned())),
        }
    }

    /// The key as PEM text.
    pub fn to_pem(&self) -> Zeroizing<String> {
        pem::encode("PRIVATE KEY", &self.0)
    }

    /// The key in DER. Secret.
    pub fn secret_der(&self) -> &[u8] {
        &self.0
    }

    /// Whether the key is of `kind`.
    pub fn is_of(&self, kind: KeyType) -> bool {
        let has_modulus = |octets: usize| {
            let pair = RsaKeyPair::from_pkcs8(&self.0);
            pair.is_ok_and(|pair| pair.public_modulus_len() == octets)
        };
        let has_algorithm = |algorithm: &rcgen::SignatureAlgorithm| {
            self.key_pair()
                .is_ok_and(|pair| pair.algorithm() == algorithm)
        };
        match kind {
            KeyType::Ed25519 => has_algorithm(&rcgen::PKCS_ED25519),
            KeyType::P256 => has_algorithm(&rcgen::PKCS_ECDSA_P256_SHA256),
            KeyType::P384 => has_algorithm(&rcgen::PKCS_ECDSA_P384_SHA384),
            KeyType::Rsa2048 => has_modulus(2048 / 8),
            KeyType::Rsa4096 => has_modulus(4096 / 8),
        }
    }

    /// The key for signing.
    ///
    /// # Errors
    /// When it is malformed or of a kind that is not supported.
    pub fn key_pair(&self) -> Result<rcgen::KeyPair, CertificateError> {
        let der = PrivatePkcs8KeyDer::from(self.0.as_slice());
        rcgen::KeyPair::try_from(&der).map_err(|error| CertificateError::Key(error.to_string()))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(secret)")
    }
}

impl Serialize for PrivateKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_pem())
    }
}

impl<'de> Deserialize<'de> for PrivateKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        Self::from_pem(&text).map_err(serde::de::Error::custom)
    }
}

/// An INTEGER begins with an octet of zeros when its first bit would read as a sign.
fn strip_sign(serial: &[u8]) -> &[u8] {
    match serial {
        [0, rest @ ..] if !rest.is_empty() => rest,
        _ => serial,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn alternative_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => <[u8; 4]>::try_from(*octets)
                .ok()
                .map(|octets| std::net::Ipv4Addr::from(octets).to_string()),
            16 => <[u8; 16]>::try_from(*octets)
                .ok()
                .map(|octets| std::net::Ipv6Addr::from(octets).to_string()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_as_caddy_writes_them_are_converted() {
        use aws_lc_rs::encoding::EcPrivateKeyRfc5915Der;
        use aws_lc_rs::signature::KeyPair as _;
        for curve in [
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &ECDSA_P384_SHA384_ASN1_SIGNING,
        ] {
            let pair = EcdsaKeyPair::generate(curve).unwrap();
            let der: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().unwrap();
            let text = pem::encode("EC PRIVATE KEY", der.as_ref());
            let key = PrivateKey::from_pem(&text).unwrap().key_pair().unwrap();
            assert_eq!(key.public_key_raw(), pair.public_key().as_ref());
        }
    }

    #[test]
    fn keys_know_their_kind() {
        let kinds = [
            KeyType::Ed25519,
            KeyType::P256,
            KeyType::P384,
            KeyType::Rsa2048,
        ];
        for kind in kinds {
            let key = PrivateKey::generate(kind).unwrap();
            for other in kinds.into_iter().chain([KeyType::Rsa4096]) {
                assert_eq!(key.is_of(other), kind == other, "{kind:?} as {other:?}");
            }
        }
    }

    #[test]
    fn keys_are_never_printed() {
        let key = PrivateKey::generate(KeyType::P384).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(secret)");
    }
}
