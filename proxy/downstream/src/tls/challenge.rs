//! Answers to TLS-ALPN-01 challenges (RFC 8737).
//!
//! An authority offers the protocol `acme-tls/1` alone and asks for the name that it validates. It
//! is given a certificate that was made for this one challenge, and the connection is closed after
//! the handshake. Nobody else ever gets such a certificate, and an authority gets no other.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use proto::sidecar::identity::provider;
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::certificate::CertificateError;
use crate::connection::Alpn;

/// The protocol of the challenge.
pub(super) const PROTOCOL: &[u8] = b"acme-tls/1";

/// The open challenges, by server name. Only handshakes for the challenge's protocol look at them.
#[derive(Debug, Default)]
pub struct TlsAlpnChallenges {
    open: RwLock<HashMap<Box<str>, ChallengeCertificate>>,
}

/// A self-signed certificate that answers one challenge, and its private key. Cheap to clone.
#[derive(Clone)]
pub struct ChallengeCertificate(Arc<CertifiedKey>);

/// What a handshake is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An authority validates a name.
    Challenge,
    /// A protocol that nobody here speaks would be agreed on.
    Neither,
    /// Anything else.
    Requests,
}

impl TlsAlpnChallenges {
    /// Answers the challenge for `server_name`, in lower case, from the next handshake on.
    pub fn insert(&self, server_name: &str, certificate: ChallengeCertificate) {
        self.open.write().insert(server_name.into(), certificate);
    }

    /// Stops to answer with `certificate`; one that has taken its place stays.
    pub fn remove(&self, server_name: &str, certificate: &ChallengeCertificate) {
        let mut open = self.open.write();
        if open
            .get(server_name)
            .is_some_and(|current| Arc::ptr_eq(&current.0, &certificate.0))
        {
            open.remove(server_name);
        }
    }

    pub(super) fn find(&self, server_name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let open = self.open.read();
        let certificate = open.get(server_name?)?;
        Some(Arc::clone(&certificate.0))
    }
}

impl ChallengeCertificate {
    /// Puts together a certificate and its key.
    ///
    /// # Errors
    /// When the certificate cannot be parsed or the key does not belong to it.
    pub fn new(
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, CertificateError> {
        let key = provider()
            .key_provider
            .load_private_key(key)
            .map_err(CertificateError::Key)?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&certificate).map_err(CertificateError::Leaf)?;
        // rustls itself would refuse the certificate, since it does not know the challenge's
        // critical extension.
        let public = key.public_key();
        if public.is_some_and(|public| *public != *parsed.public_key().raw) {
            let mismatch = Error::InconsistentKeys(InconsistentKeys::KeyMismatch);
            return Err(CertificateError::Key(mismatch));
        }
        Ok(Self(Arc::new(CertifiedKey::new(vec![certificate], key))))
    }
}

impl fmt::Debug for ChallengeCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChallengeCertificate")
            .finish_non_exhaustive()
    }
}

impl Purpose {
    /// Reads it from what the client offers (RFC 8737 section 3).
    pub(super) fn of(hello: &ClientHello<'_>) -> Self {
        hello.alpn().map_or(Self::Requests, Self::of_offer)
    }

    fn of_offer<'a>(mut offer: impl Iterator<Item = &'a [u8]>) -> Self {
        let Some(first) = offer.next() else {
            return Self::Requests;
        };
        let is_ours = |name: &[u8]| {
            name == Alpn::Http2.as_str().as_bytes() || name == Alpn::Http1.as_str().as_bytes()
        };
        if is_ours(first) {
            return Self::Requests;
        }
        let rest: Vec<&[u8]> = offer.collect();
        if first == PROTOCOL && rest.is_empty() {
            return Self::Challenge;
        }
        let has_challenge = first == PROTOCOL || rest.contains(&PROTOCOL);
        if has_challenge && !rest.iter().any(|name| is_ours(name)) {
            return Self::Neither;
        }
        Self::Requests
    }
}

/// Whether a handshake has ended in the challenge's protocol, so that nothing follows.
pub(crate) fn is_challenge(session: &rustls::ServerConnection) -> bool {
    session.alpn_protocol() == Some(PROTOCOL)
}

#[cfg(test)]
mod tests {
    use super::Purpose;

    #[test]
    fn only_who_offers_nothing_else_is_an_authority() {
        let of = |offer: &[&str]| Purpose::of_offer(offer.iter().map(|name| name.as_bytes()));
        assert_eq!(of(&["acme-tls/1"]), Purpose::Challenge);
        assert_eq!(of(&["acme-tls/1", "spdy/1"]), Purpose::Neither);
        assert_eq!(of(&["spdy/1", "acme-tls/1"]), Purpose::Neither);
        for offer in [
            &["h2", "http/1.1"][..],
            &["http/1.1", "acme-tls/1"],
            &["acme-tls/1", "h2"],
            &["spdy/1"],
            &[],
        ] {
            assert_eq!(of(offer), Purpose::Requests, "{offer:?}");
        }
    }
}
