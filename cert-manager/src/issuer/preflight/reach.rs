//! Whether the ports that a name leads to are those of our proxies.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, LOCATION, SERVER};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::certificate::Facts;
use crate::name::Name;
use crate::policy::IssuerId;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an answer may take after that.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// The longest answer that is read.
const LONGEST_ANSWER: usize = 4096;

/// What is found at a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach<T> {
    /// An answer.
    Answered(T),
    /// The connection is refused.
    Refused,
    /// Nothing answers in time.
    Silent,
    /// This machine has no way to such an address, so nothing is known.
    NoRoute,
    /// The connection breaks, or does not speak the protocol; in words.
    Broken(String),
}

/// What answers on port 80.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Http {
    /// A proxy of ours.
    Ours,
    /// It sends elsewhere.
    Redirected(String),
    /// Something else, in words.
    Other(String),
}

/// Asks `address` for the challenge answer of `token`.
pub(super) async fn http(
    name: &Name,
    address: SocketAddr,
    token: &str,
    expected: &str,
) -> Reach<Http> {
    let stream = match connect(address).await {
        Ok(stream) => stream,
        Err(reach) => return reach,
    };
    let fetched = tokio::time::timeout(ANSWER_TIMEOUT, fetch(name, stream, token, expected)).await;
    match fetched {
        Ok(Ok(answer)) => Reach::Answered(answer),
        Ok(Err(error)) => Reach::Broken(error),
        Err(_) => Reach::Silent,
    }
}

/// Shakes hands with `address` as a browser that asks for `name`, and returns the facts of the
/// certificate that is served, whoever issued it.
pub(crate) async fn tls(name: &Name, address: SocketAddr) -> Reach<Facts> {
    let stream = match connect(address).await {
        Ok(stream) => stream,
        Err(reach) => return reach,
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, handshake(name, stream)).await {
        Ok(Ok(facts)) => Reach::Answered(facts),
        Ok(Err(error)) => Reach::Broken(error),
        Err(_) => Reach::Silent,
    }
}

async fn connect<T>(address: SocketAddr) -> Result<TcpStream, Reach<T>> {
    match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(match error.kind() {
            io::ErrorKind::ConnectionRefused => Reach::Refused,
            io::ErrorKind::TimedOut => Reach::Silent,
            io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::AddrNotAvailable => Reach::NoRoute,
            _ => Reach::Broken(error.to_string()),
        }),
        Err(_) => Err(Reach::Silent),
    }
}

async fn fetch(
    name: &Name,
    stream: TcpStream,
    token: &str,
    expected: &str,
) -> Result<Http, String> {
    let text = |error: hyper::Error| error.to_string();
    let host = match name.as_address() {
        Some(IpAddr::V6(v6)) => format!("[{v6}]"),
        _ => name.to_string(),
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(text)?;
    // Ends with the sender.
    tokio::spawn(connection);
    let request = http::Request::get(format!("/.well-known/acme-challenge/{token}"))
        .header(HOST, host)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(text)?;
    let (head, body) = response.into_parts();
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    if head.status.is_redirection()
        && let Some(location) = header(LOCATION)
    {
        return Ok(Http::Redirected(location.to_owned()));
    }
    let by = header(SERVER).map_or(String::new(), |server| format!(" of the server `{server}`"));
    if head.status != http::StatusCode::OK {
        return Ok(Http::Other(format!("the status {}{by}", head.status)));
    }
    let body = Limited::new(body, LONGEST_ANSWER).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    if body.trim_ascii() == expected.as_bytes() {
        Ok(Http::Ours)
    } else {
        Ok(Http::Other(format!("another page{by}")))
    }
}

async fn handshake(name: &Name, stream: TcpStream) -> Result<Facts, String> {
    let config = rustls::ClientConfig::builder_with_provider(proto::sidecar::identity::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    let server = ServerName::try_from(name.to_string()).map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(server, stream)
        .await
        .map_err(|error| error.to_string())?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let leaf = chain.first().ok_or("no certificate is served")?;
    // The issuer's identity is not in a leaf; the name of its issuer is.
    Facts::of_leaf(leaf, IssuerId::Internal).map_err(|error| error.to_string())
}

/// Accepts any certificate: what is served is to be looked at, and nothing is sent.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
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
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        proto::sidecar::identity::provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
