//! TLS as a client sees it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use proto::sidecar::identity;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a client trusts: the certificates of PEM files.
///
/// # Errors
/// When a file cannot be read or holds no certificate.
pub fn roots(files: &[&Path]) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for file in files {
        let certificates = CertificateDer::pem_file_iter(file)
            .with_context(|| format!("reading {}", file.display()))?;
        for certificate in certificates {
            let certificate = certificate.with_context(|| format!("reading {}", file.display()))?;
            roots
                .add(certificate)
                .with_context(|| format!("trusting {}", file.display()))?;
        }
    }
    Ok(roots)
}

/// A client's configuration that trusts `roots`, and offers `protocols` by ALPN.
///
/// # Errors
/// When the TLS library refuses it.
pub fn config(roots: &RootCertStore, protocols: &[&str]) -> anyhow::Result<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(identity::provider())
        .with_safe_default_protocol_versions()
        .context("choosing TLS versions")?
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    Ok(config)
}

/// Connects to 127.0.0.1 and shakes hands for `name`.
///
/// # Errors
/// When the connection fails or the certificate is not right for the name.
pub async fn connect(
    port: u16,
    name: &str,
    config: ClientConfig,
) -> anyhow::Result<TlsStream<TcpStream>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("connecting to {address}"))?;
    let server = ServerName::try_from(name.to_owned()).context("reading the server's name")?;
    TlsConnector::from(Arc::new(config))
        .connect(server, stream)
        .await
        .with_context(|| format!("TLS handshake for {name}"))
}

/// The serial number of the leaf that the server showed, as in `cert-manager status`: lower-case
/// hexadecimal.
///
/// # Errors
/// When the server showed no certificate that can be read.
pub fn serial(stream: &TlsStream<TcpStream>) -> anyhow::Result<String> {
    let (_, session) = stream.get_ref();
    let leaf = session
        .peer_certificates()
        .and_then(<[_]>::first)
        .context("the server showed no certificate")?;
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).context("reading the leaf")?;
    Ok(parsed
        .raw_serial()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
