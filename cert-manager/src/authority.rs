//! Certificate authorities of our own, by rcgen: what the internal issuer and the control plane
//! have in common.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::certificate::{CertificateError, PrivateKey};
use crate::pem;
use crate::policy::KeyType;

/// Certificates begin this long before they are made, for peers whose clock is behind.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);

/// A certificate that may sign others, and its key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Signer {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// Its private key.
    pub key: PrivateKey,
}

/// What a signer refuses or cannot do.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A certificate or key of the authority is malformed.
    #[error("the authority's certificate or key cannot be used")]
    Malformed(#[from] CertificateError),
    /// The certificate cannot be made.
    #[error("signing a certificate")]
    Sign(#[from] rcgen::Error),
}

/// What a leaf is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Both ends of mutual TLS.
    Peer,
    /// A TLS server.
    Server,
}

impl Signer {
    /// Makes a root with a new key.
    ///
    /// # Errors
    /// When the cryptography library refuses.
    pub fn root(
        common_name: &str,
        now: Timestamp,
        lifetime: SignedDuration,
    ) -> Result<Self, AuthorityError> {
        let key = PrivateKey::generate(KeyType::P256)?;
        let params = authority_params(common_name, 1, now, now + lifetime);
        let certificate = params.self_signed(&key.key_pair()?)?;
        Ok(Self::from_parts(certificate.der(), key))
    }

    /// Makes an intermediate with a new key, signed by `self` and never outliving it.
    ///
    /// # Errors
    /// When `self` is malformed.
    pub fn intermediate(
        &self,
        common_name: &str,
        now: Timestamp,
        lifetime: SignedDuration,
    ) -> Result<Self, AuthorityError> {
        let key = PrivateKey::generate(KeyType::P256)?;
        let not_after = self.not_after()?.min(now + lifetime);
        let params = authority_params(common_name, 0, now, not_after);
        let certificate = params.signed_by(&key.key_pair()?, &self.issuer()?)?;
        Ok(Self::from_parts(certificate.der(), key))
    }

    /// Signs a leaf for `name`, which never outlives the signer. Names may be addresses.
    ///
    /// # Errors
    /// When `self` is malformed or `name` cannot stand in a certificate.
    pub fn leaf(
        &self,
        name: &str,
        key: &PrivateKey,
        usage: Usage,
        now: Timestamp,
        lifetime: SignedDuration,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let mut params = CertificateParams::default();
        // No subject: the name of a leaf is in the subject alternative names (RFC 9525).
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.try_into()?),
        }];
        params.serial_number = Some(serial_number());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match usage {
            Usage::Peer => vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        };
        params.use_authority_key_identifier_extension = true;
        let not_after = self.not_after()?.min(now + lifetime);
        set_validity(&mut params, now, not_after);
        Ok(params
            .signed_by(&key.key_pair()?, &self.issuer()?)?
            .der()
            .clone())
    }

    /// The certificate in DER.
    ///
    /// # Errors
    /// When the PEM text is malformed.
    pub fn certificate(&self) -> Result<CertificateDer<'static>, CertificateError> {
        pem::decode_certificates(&self.certificate_pem)
            .map(|mut chain| chain.swap_remove(0))
            .map_err(CertificateError::Malformed)
    }

    /// Checks that the key belongs to the certificate.
    ///
    /// # Errors
    /// When it does not, or a part is malformed.
    pub fn check(&self) -> Result<(), CertificateError> {
        let der = self.certificate()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der)
            .map_err(|error| CertificateError::Malformed(error.to_string()))?;
        if parsed.public_key().raw == self.key.key_pair()?.subject_public_key_info() {
            Ok(())
        } else {
            Err(CertificateError::KeyMismatch)
        }
    }

    /// When the certificate ends.
    ///
    /// # Errors
    /// When the certificate is malformed.
    pub fn not_after(&self) -> Result<Timestamp, CertificateError> {
        let der = self.certificate()?;
        let malformed = |error: String| CertificateError::Malformed(error);
        let (_, parsed) = x509_parser::parse_x509_certificate(&der)
            .map_err(|error| malformed(error.to_string()))?;
        Timestamp::from_second(parsed.validity().not_after.timestamp())
            .map_err(|error| malformed(error.to_string()))
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, AuthorityError> {
        Ok(Issuer::from_ca_cert_der(
            &self.certificate()?,
            self.key.key_pair()?,
        )?)
    }

    fn from_parts(certificate: &CertificateDer<'_>, key: PrivateKey) -> Self {
        Self {
            certificate_pem: pem::encode("CERTIFICATE", certificate).to_string(),
            key,
        }
    }
}

fn authority_params(
    common_name: &str,
    path_length: u8,
    now: Timestamp,
    not_after: Timestamp,
) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.serial_number = Some(serial_number());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, now, not_after);
    params
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, not_after: Timestamp) {
    let moment = |time: Timestamp| {
        time::OffsetDateTime::from_unix_timestamp(time.as_second())
            .expect("a timestamp of jiff lies within the years of a certificate")
    };
    params.not_before = moment(now - BACKDATE);
    params.not_after = moment(not_after);
}

/// 126 random bits: unique without a counter, positive, and 16 octets long.
fn serial_number() -> SerialNumber {
    let mut octets: [u8; 16] = rand::random();
    octets[0] = octets[0] & 0x3f | 0x40;
    SerialNumber::from_slice(&octets)
}
