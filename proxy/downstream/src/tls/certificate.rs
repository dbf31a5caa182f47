//! A certificate chain with its private key, checked before it is used.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use proto::sidecar::identity::provider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;

/// A certificate chain and its private key, known to belong together.
#[derive(Clone)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    names: Vec<Box<str>>,
    not_before: SystemTime,
    not_after: SystemTime,
    is_used: Arc<AtomicBool>,
}

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// There is no certificate.
    #[error("the chain is empty")]
    Empty,
    /// The leaf is no certificate.
    #[error("the leaf cannot be parsed")]
    Leaf(#[source] x509_parser::nom::Err<x509_parser::error::X509Error>),
    /// The key is of no supported kind or belongs to another certificate.
    #[error("the private key cannot be used with the certificate")]
    Key(#[source] rustls::Error),
    /// The leaf is for other names.
    #[error("the certificate is for {}, not for `{wanted}`", names.join(", "))]
    Name {
        /// The name that it should be for.
        wanted: String,
        /// The names that it is for.
        names: Vec<Box<str>>,
    },
    /// Its validity is over.
    #[error("the certificate has expired")]
    Expired,
}

impl Certificate {
    /// Puts together a chain, leaf first, and its key.
    ///
    /// # Errors
    /// When the leaf cannot be parsed or the key does not belong to it.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, CertificateError> {
        let leaf = chain.first().ok_or(CertificateError::Empty)?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(leaf).map_err(CertificateError::Leaf)?;
        let names = names(&parsed);
        let not_before = time(parsed.validity().not_before.timestamp());
        let not_after = time(parsed.validity().not_after.timestamp());
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(CertificateError::Key)?;
        Ok(Self {
            key: Arc::new(key),
            names,
            not_before,
            not_after,
            is_used: Arc::default(),
        })
    }

    /// Checks that it can be served for `name` at `now`.
    ///
    /// # Errors
    /// When it is for other names or has expired.
    pub fn check(&self, name: &str, now: SystemTime) -> Result<(), CertificateError> {
        if !self.covers(name) {
            return Err(CertificateError::Name {
                wanted: name.to_owned(),
                names: self.names.clone(),
            });
        }
        if self.not_after <= now {
            return Err(CertificateError::Expired);
        }
        Ok(())
    }

    /// Whether `name`, which may itself be a wildcard, is one of its names or matched by one.
    pub fn covers(&self, name: &str) -> bool {
        self.names.iter().any(|own| {
            own.eq_ignore_ascii_case(name)
                || own.strip_prefix("*.").is_some_and(|parent| {
                    name.split_once('.').is_some_and(|(label, rest)| {
                        label != "*" && rest.eq_ignore_ascii_case(parent)
                    })
                })
        })
    }

    /// Its names, DNS names and IP addresses, in the certificate's order.
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// Begin of its validity.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// End of its validity.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Whether it was chosen for a handshake since the last call.
    pub fn take_use(&self) -> bool {
        self.is_used.swap(false, Relaxed)
    }

    /// It is chosen for a handshake.
    pub(super) fn note_use(&self) {
        // Written only once in a while, since all workers share it.
        if !self.is_used.load(Relaxed) {
            self.is_used.store(true, Relaxed);
        }
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("names", &self.names)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

fn names(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Vec<Box<str>> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into()),
            GeneralName::IPAddress(octets) => {
                let ip = match <[u8; 4]>::try_from(*octets) {
                    Ok(octets) => IpAddr::from(octets),
                    Err(_) => IpAddr::from(<[u8; 16]>::try_from(*octets).ok()?),
                };
                Some(ip.to_string().into())
            }
            _ => None,
        })
        .collect()
}

fn time(seconds: i64) -> SystemTime {
    u64::try_from(seconds).map_or(SystemTime::UNIX_EPOCH, |after| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(after)
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use rcgen::{CertificateParams, KeyPair};
    use rustls_pki_types::PrivateKeyDer;

    use super::{Certificate, CertificateError};

    fn self_signed(names: &[&str]) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Certificate::new(vec![certificate.der().clone()], key).unwrap()
    }

    #[test]
    fn wildcard_covers_one_label() {
        let certificate = self_signed(&["*.example.com", "127.0.0.1"]);
        assert!(certificate.covers("www.EXAMPLE.com"));
        assert!(certificate.covers("*.example.com"));
        assert!(certificate.covers("127.0.0.1"));
        assert!(!certificate.covers("example.com"));
        assert!(!certificate.covers("a.b.example.com"));
        assert!(!certificate.covers("*.b.example.com"));
    }

    #[test]
    fn key_of_another_certificate_is_refused() {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["a.test".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let other = PrivateKeyDer::try_from(KeyPair::generate().unwrap().serialize_der()).unwrap();
        let error = Certificate::new(vec![certificate.der().clone()], other).unwrap_err();
        assert!(matches!(error, CertificateError::Key(_)), "{error:?}");
    }

    #[test]
    fn expired_or_foreign_certificate_is_not_served() {
        let certificate = self_signed(&["a.test"]);
        let later = certificate.not_after() + Duration::from_secs(1);
        assert!(matches!(
            certificate.check("a.test", later),
            Err(CertificateError::Expired)
        ));
        let error = certificate
            .check("b.test", SystemTime::UNIX_EPOCH)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the certificate is for a.test, not for `b.test`"
        );
    }
}
