//! TLS towards upstreams.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, NamedGroup, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

use crate::target::{TargetError, Versions};

/// How TLS is spoken with an upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsOptions {
    /// The name sent as SNI and looked for in the certificate; `None` takes the dialled host.
    pub server_name: Option<Box<str>>,
    /// Accepts any certificate.
    pub insecure_skip_verify: bool,
    /// The only trust anchors; empty for the system's and the built-in public ones.
    pub roots: Vec<CertificateDer<'static>>,
    /// Shown to upstreams that ask who calls.
    pub client_certificate: Option<Arc<ClientCertificate>>,
    /// Key exchange groups in order of preference; empty are all that the library has.
    pub curves: Vec<NamedGroup>,
    /// How long the handshake may take.
    pub handshake_timeout: Duration,
}

/// A certificate chain and its private key.
pub struct ClientCertificate {
    /// The leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: PrivateKeyDer<'static>,
}

/// [`TlsOptions`], ready for handshakes.
pub(crate) struct TlsConfig {
    pub(crate) connector: TlsConnector,
    pub(crate) server_name: ServerName<'static>,
    pub(crate) handshake_timeout: Duration,
}

impl Default for TlsOptions {
    /// Public trust anchors, the dialled host's name, and 10 s for the handshake as in Caddy.
    fn default() -> Self {
        Self {
            server_name: None,
            insecure_skip_verify: false,
            roots: Vec::new(),
            client_certificate: None,
            curves: Vec::new(),
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

impl TlsOptions {
    pub(crate) fn build(&self, host: &str, versions: Versions) -> Result<TlsConfig, TargetError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let server_name = ServerName::try_from(name.to_owned())
            .map_err(|_| TargetError::ServerName(name.to_owned()))?;
        let mut provider = proto::sidecar::identity::provider();
        if !self.curves.is_empty() {
            let known = provider.kx_groups.clone();
            let wanted = self.curves.iter();
            let wanted =
                wanted.filter_map(|curve| known.iter().find(|group| group.name() == *curve));
            Arc::make_mut(&mut provider).kx_groups = wanted.copied().collect();
        }
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = if self.insecure_skip_verify {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
        } else if self.roots.is_empty() {
            builder.with_root_certificates(Arc::clone(&PUBLIC_ROOTS))
        } else {
            let mut roots = RootCertStore::empty();
            for certificate in &self.roots {
                roots.add(certificate.clone())?;
            }
            builder.with_root_certificates(roots)
        };
        let mut config = match self.client_certificate.as_deref() {
            Some(certificate) => builder
                .with_client_auth_cert(certificate.chain.clone(), certificate.key.clone_key())?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = match versions {
            Versions::Any => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Versions::Http1 => vec![b"http/1.1".to_vec()],
            Versions::Http2 => vec![b"h2".to_vec()],
        };
        Ok(TlsConfig {
            connector: TlsConnector::from(Arc::new(config)),
            server_name,
            handshake_timeout: self.handshake_timeout,
        })
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("certificates", &self.chain.len())
            .finish_non_exhaustive()
    }
}

impl PartialEq for ClientCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain && self.key == other.key
    }
}

/// The built-in public authorities and those of the system, where there are any: images that hold
/// nothing but the program have none.
static PUBLIC_ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!(%error, "some certificate authorities of the system are not used");
    }
    roots.add_parsable_certificates(system.certs);
    Arc::new(roots)
});

/// The authorities that are trusted where nothing else is said: the built-in public ones and the
/// system's.
pub fn public_roots() -> Arc<RootCertStore> {
    Arc::clone(&PUBLIC_ROOTS)
}

/// Takes any certificate, but still checks that the peer holds its key.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
