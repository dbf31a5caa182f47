//! Certificates that clients show (RFC 8446 section 4.4.2.4).

use std::sync::Arc;

use proto::sidecar::identity::provider;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};

/// Which certificates clients are to show. That a client holds the key of what it shows is always
/// checked.
#[derive(Clone, Debug, Default)]
pub struct ClientAuthentication {
    /// Whether clients without a certificate are refused.
    pub is_required: bool,
    /// The authorities of which one must have signed it; without, anybody may have.
    pub authorities: Option<Arc<RootCertStore>>,
    /// Authorities that clients are told of, and that need not have signed it.
    pub hints: Option<Arc<RootCertStore>>,
    /// The certificates of which it must be one; without, it may be any.
    pub leaves: Option<Vec<CertificateDer<'static>>>,
}

/// Checks what clients show.
#[derive(Debug)]
pub(super) struct Verifier {
    is_required: bool,
    chain: Option<Arc<dyn ClientCertVerifier>>,
    leaves: Option<Vec<CertificateDer<'static>>>,
    hints: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// # Errors
    /// When there is no authority at all.
    pub(super) fn new(wanted: &ClientAuthentication) -> Result<Self, rustls::Error> {
        let provider = provider();
        let chain = match &wanted.authorities {
            None => None,
            Some(authorities) => Some(
                WebPkiClientVerifier::builder_with_provider(
                    Arc::clone(authorities),
                    Arc::clone(&provider),
                )
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?,
            ),
        };
        let told = wanted.authorities.as_ref().or(wanted.hints.as_ref());
        Ok(Self {
            // Caddy: of a fixed list of certificates, none is not one.
            is_required: wanted.is_required || wanted.leaves.is_some(),
            hints: told.map(|roots| roots.subjects()).unwrap_or_default(),
            chain: chain.map(|verifier| verifier as _),
            leaves: wanted.leaves.clone(),
            provider,
        })
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if let Some(chain) = &self.chain {
            chain.verify_client_cert(end_entity, intermediates, now)?;
        }
        let is_listed = |leaves: &Vec<CertificateDer<'_>>| leaves.contains(end_entity);
        if self.leaves.as_ref().is_none_or(is_listed) {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
