//! Mutual TLS between programs: who is who, by role.
//!
//! A role's folder holds `identity.pem` (the private key and the certificate chain, one file so
//! that a rotation is one rename) and `ca.pem` (the control authority). A certificate carries one
//! DNS name, `ROLE.portico.internal` or `ID.subscriber.portico.internal`; both sides check the role
//! and nothing else, so a program may be reached under any host name.

mod role;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use role::{Role, SubscriberId, SubscriberIdError};

/// File name of the private key and certificate chain in a role's folder.
pub const IDENTITY_FILE: &str = "identity.pem";
/// File name of the control authority's certificates in a role's folder.
pub const AUTHORITY_FILE: &str = "ca.pem";

/// How often the files are looked at for a rotation, and before there are any.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);
const FIRST_INTERVAL: Duration = Duration::from_millis(200);

/// A private key, its certificate chain and the authority that the other side is checked against.
#[derive(Clone)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
    authority: Arc<rustls::RootCertStore>,
}

/// Why an identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read or holds no PEM of the expected kind.
    #[error("reading {}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What the PEM reader says.
        source: rustls_pki_types::pem::Error,
    },
    /// The certificates or the key are refused by the TLS library.
    #[error("using the identity")]
    Tls(#[from] rustls::Error),
}

impl Identity {
    /// Makes an identity of parts that are already in memory; `authority` are DER certificates.
    ///
    /// # Errors
    /// When an authority certificate cannot be a trust anchor.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        authority: Vec<CertificateDer<'static>>,
    ) -> Result<Self, IdentityError> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in authority {
            roots.add(certificate)?;
        }
        Ok(Self {
            chain,
            key: Arc::new(key),
            authority: Arc::new(roots),
        })
    }

    /// Reads `identity.pem` and `ca.pem` of a role's folder.
    ///
    /// # Errors
    /// When a file is missing or malformed.
    pub fn load(folder: &Path) -> Result<Self, IdentityError> {
        let path = folder.join(IDENTITY_FILE);
        let error = |source| IdentityError::Pem {
            path: path.clone(),
            source,
        };
        let key = PrivateKeyDer::from_pem_file(&path).map_err(error)?;
        let chain = read_certificates(&path)?;
        Self::new(chain, key, read_certificates(&folder.join(AUTHORITY_FILE))?)
    }

    /// A TLS configuration for calling the holder of `role`.
    ///
    /// # Errors
    /// When the TLS library refuses the parts.
    pub fn client_config(&self, role: Role) -> Result<rustls::ClientConfig, IdentityError> {
        let verifier = verify::ServerRole::new(Arc::clone(&self.authority), role)?;
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// A TLS configuration for serving holders of any role of the same authority.
    ///
    /// # Errors
    /// When the TLS library refuses the parts.
    pub fn server_config(&self) -> Result<rustls::ServerConfig, IdentityError> {
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::clone(&self.authority),
            provider(),
        )
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("certificates", &self.chain.len())
            .finish_non_exhaustive()
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain && self.authority.roots == other.authority.roots
    }
}

/// The identity of this program as it is now: empty until the files appear, and following their
/// rotation.
#[derive(Clone, Debug, Default)]
pub struct LiveIdentity {
    current: Arc<ArcSwapOption<Identity>>,
}

impl LiveIdentity {
    /// Follows the files of `folder` until the runtime ends. Says once when it starts to wait, and
    /// again when the reason changes.
    pub fn follow(folder: PathBuf) -> Self {
        let live = Self::default();
        let updated = live.clone();
        tokio::spawn(async move {
            let mut said = String::new();
            loop {
                match Identity::load(&folder) {
                    Ok(identity) => {
                        said.clear();
                        updated.set(identity);
                    }
                    Err(error) => {
                        let reason = super::error_chain::Chain(&error).to_string();
                        if reason != said && updated.current.load().is_none() {
                            tracing::info!(
                                reason,
                                "waiting for the mutual TLS identity, which cert-manager writes"
                            );
                            said = reason;
                        }
                    }
                }
                let is_there = updated.current.load().is_some();
                let interval = if is_there {
                    RELOAD_INTERVAL
                } else {
                    FIRST_INTERVAL
                };
                tokio::time::sleep(interval).await;
            }
        });
        live
    }

    /// Replaces the identity; new connections use it.
    pub fn set(&self, identity: Identity) {
        if self.get().as_deref() != Some(&identity) {
            self.current.store(Some(Arc::new(identity)));
        }
    }

    /// The identity, if there is one yet.
    pub fn get(&self) -> Option<Arc<Identity>> {
        self.current.load_full()
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| IdentityError::Pem {
            path: path.to_owned(),
            source,
        })
}

/// The one cryptography provider of the workspace.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::LazyLock<Arc<CryptoProvider>> =
        std::sync::LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}
