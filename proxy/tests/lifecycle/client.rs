//! Requests byte by byte, in plaintext and TLS.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use proto::sidecar::identity::provider;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConnection, HandshakeKind, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Sends `request` and reads until the other side closes.
pub(crate) fn exchange(address: SocketAddr, request: &str) -> io::Result<String> {
    let mut tcp = connect(address)?;
    tcp.write_all(request.as_bytes())?;
    let mut answer = String::new();
    tcp.read_to_string(&mut answer)?;
    Ok(answer)
}

pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    tcp.set_read_timeout(Some(Duration::from_secs(15)))?;
    Ok(tcp)
}

/// Gets `path` in plain HTTP.
pub(crate) fn get(address: SocketAddr, host: &str, path: &str) -> io::Result<String> {
    exchange(address, &request(host, path))
}

fn request(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

/// What an HTTPS request gave.
pub(crate) struct Secure {
    pub(crate) leaf: CertificateDer<'static>,
    /// An earlier session was resumed.
    pub(crate) is_resumed: bool,
    pub(crate) answer: String,
}

/// Gets `path` from `host` over TLS, whatever certificate it has.
pub(crate) fn get_tls(address: SocketAddr, host: &str, path: &str) -> io::Result<Secure> {
    get_tls_with(&client_config(), address, host, path)
}

/// Settings with a memory of sessions.
pub(crate) fn client_config() -> Arc<rustls::ClientConfig> {
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    Arc::new(config)
}

/// As [`get_tls`], with the memory of `config`.
pub(crate) fn get_tls_with(
    config: &Arc<rustls::ClientConfig>,
    address: SocketAddr,
    host: &str,
    path: &str,
) -> io::Result<Secure> {
    request_tls_with(config, address, host, host, path)
}

/// Asks for `host` on a connection that was opened for `server_name`.
pub(crate) fn request_tls_with(
    config: &Arc<rustls::ClientConfig>,
    address: SocketAddr,
    server_name: &str,
    host: &str,
    path: &str,
) -> io::Result<Secure> {
    let name = ServerName::try_from(server_name.to_owned()).unwrap();
    let session = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = StreamOwned::new(session, connect(address)?);
    stream.write_all(request(host, path).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let leaf = stream.conn.peer_certificates().unwrap()[0]
        .clone()
        .into_owned();
    let is_resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
    Ok(Secure {
        leaf,
        is_resumed,
        answer,
    })
}

/// Takes any certificate of a server.
#[derive(Debug)]
pub(crate) struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
