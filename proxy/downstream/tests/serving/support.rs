//! A server with an edge that answers by path, and clients for it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use downstream::{
    Abort, Certificate, CertificateTable, ChallengeCertificate, Connection, Edge, ListenAddress,
    ListenerConfig, Server, SessionTickets, TlsOptions, TlsSettings,
};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proto::sidecar::identity::provider;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) type Body = Full<Bytes>;

pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Answers by path; the default is to answer with the path.
struct Echo {
    worker: usize,
}

impl Edge for Echo {
    type Body = UnsyncBoxBody<Bytes, hyper::Error>;

    fn serve(
        self: &Rc<Self>,
        connection: Rc<Connection>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Self::Body>, Abort>> + use<> + 'static {
        let this = Rc::clone(self);
        async move {
            let text = match request.uri().path() {
                "/abort" => return Err(Abort),
                "/echo" => return Ok(Response::new(request.into_body().boxed_unsync())),
                "/never" => std::future::pending().await,
                "/panic" => panic!("a handler panics"),
                "/refuse" => {
                    let mut response = Response::new(full("no"));
                    *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
                    return Ok(response);
                }
                "/slow" => {
                    tokio::time::sleep(Duration::from_millis(1500)).await;
                    "slow".to_owned()
                }
                "/tls" => {
                    let tls = connection.tls.as_ref().unwrap();
                    let alpn = tls.alpn.map(downstream::Alpn::as_str);
                    format!(
                        "{} {:?} {alpn:?}",
                        tls.server_name.as_ref().unwrap(),
                        tls.version
                    )
                }
                "/upgrade" => {
                    tokio::task::spawn_local(async move {
                        let upgraded = hyper::upgrade::on(request).await.unwrap();
                        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
                        let _ = tokio::io::copy(&mut read, &mut write).await;
                    });
                    let mut response = Response::new(full(""));
                    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                    let headers = response.headers_mut();
                    headers.insert("connection", "upgrade".parse().unwrap());
                    headers.insert("upgrade", "echo".parse().unwrap());
                    return Ok(response);
                }
                "/worker" => this.worker.to_string(),
                path => path.to_owned(),
            };
            Ok(Response::new(full(text)))
        }
    }
}

fn full(text: impl Into<Bytes>) -> UnsyncBoxBody<Bytes, hyper::Error> {
    Full::new(text.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// A server with one listener.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) certificates: Arc<CertificateTable>,
    pub(crate) configured: ListenAddress,
    pub(crate) address: SocketAddr,
}

impl Running {
    pub(crate) async fn plain(workers: usize, set: impl FnOnce(&mut ListenerConfig)) -> Self {
        Self::start(workers, Arc::default(), |config| set(config)).await
    }

    pub(crate) async fn tls(workers: usize, names: &[&str]) -> Self {
        let tickets = Arc::new(SessionTickets::new().unwrap());
        Self::tls_with(workers, names, |options| options.tickets = Some(tickets)).await
    }

    pub(crate) async fn tls_with(
        workers: usize,
        names: &[&str],
        set: impl FnOnce(&mut TlsOptions),
    ) -> Self {
        let certificates = Arc::<CertificateTable>::default();
        for name in names {
            certificates.insert([((*name).into(), self_signed(name))]);
        }
        let mut options = TlsOptions::new(Arc::clone(&certificates));
        set(&mut options);
        let settings = TlsSettings::new(options).unwrap();
        Self::start(workers, certificates, |config| {
            config.tls = Some(Arc::new(settings));
            config.http2 = true;
        })
        .await
    }

    async fn start(
        workers: usize,
        certificates: Arc<CertificateTable>,
        set: impl FnOnce(&mut ListenerConfig),
    ) -> Self {
        let workers = NonZeroUsize::new(workers).unwrap();
        let server = Server::start(workers, |worker| Rc::new(Echo { worker })).unwrap();
        let mut config = listener("127.0.0.1:0");
        set(&mut config);
        server.apply(vec![config]).await.unwrap();
        let (configured, address) = server.local_addresses()[0];
        Self {
            server,
            certificates,
            configured,
            address,
        }
    }

    pub(crate) fn add_certificate(&self, name: &str) {
        self.certificates.insert([(name.into(), self_signed(name))]);
    }

    pub(crate) async fn handshake(
        &self,
        name: Option<&str>,
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.handshake_with(client_config(alpn), name).await
    }

    pub(crate) async fn handshake_with(
        &self,
        config: Arc<rustls::ClientConfig>,
        name: Option<&str>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        // A literal address is sent as no server name at all.
        let name = name.map_or_else(
            || ServerName::from(self.address.ip()),
            |name| ServerName::try_from(name.to_owned()).unwrap(),
        );
        let tcp = TcpStream::connect(self.address).await?;
        TlsConnector::from(config).connect(name, tcp).await
    }
}

/// A listener in plaintext.
pub(crate) fn listener(address: &str) -> ListenerConfig {
    ListenerConfig::new(ListenAddress::Exact(address.parse().unwrap()), None)
}

pub(crate) fn self_signed(name: &str) -> Arc<Certificate> {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    Arc::new(Certificate::new(vec![certificate.der().clone()], key).unwrap())
}

/// A certificate as authorities expect it: its extension is critical, and unknown to rustls.
pub(crate) fn challenge_certificate(name: &str) -> ChallengeCertificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(&[7; 32])];
    let certificate = params.self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    ChallengeCertificate::new(certificate.der().clone(), key).unwrap()
}

pub(crate) fn leaf_of(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

pub(crate) fn names_of(stream: &TlsStream<TcpStream>) -> Vec<String> {
    let leaf = leaf_of(stream);
    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    let names = parsed.subject_alternative_name().unwrap().unwrap();
    names
        .value
        .general_names
        .iter()
        .map(|name| match name {
            x509_parser::extensions::GeneralName::IPAddress(octets) => {
                std::net::IpAddr::from(<[u8; 4]>::try_from(*octets).unwrap()).to_string()
            }
            x509_parser::extensions::GeneralName::DNSName(name) => (*name).to_owned(),
            other => other.to_string(),
        })
        .collect()
}

/// A client that takes any certificate.
pub(crate) fn client_config(alpn: &[&str]) -> Arc<rustls::ClientConfig> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

#[derive(Debug)]
struct AnyCertificate;

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

/// One client connection.
pub(crate) struct Client {
    sender: Sender,
    driver: tokio::task::JoinHandle<()>,
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Client {
    pub(crate) async fn over(io: impl Io + 'static, is_http2: bool) -> Self {
        let io = TokioIo::new(io);
        if is_http2 {
            let (sender, conn) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            let driver = tokio::spawn(async { drop(conn.await) });
            return Self {
                sender: Sender::Http2(sender),
                driver,
            };
        }
        let (sender, conn) = http1::handshake(io).await.unwrap();
        let driver = tokio::spawn(async { drop(conn.await) });
        Self {
            sender: Sender::Http1(sender),
            driver,
        }
    }

    pub(crate) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> hyper::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => sender.send_request(request).await,
        }
    }

    pub(crate) async fn try_get(&mut self, path: &str) -> hyper::Result<String> {
        let request = Request::get(format!("https://a.test{path}"))
            .header("host", "a.test")
            .body(Body::default())
            .unwrap();
        let body = self
            .send(request)
            .await?
            .into_body()
            .collect()
            .await?
            .to_bytes();
        Ok(String::from_utf8(body.to_vec()).unwrap())
    }

    pub(crate) async fn get(&mut self, path: &str) -> String {
        self.try_get(path).await.unwrap()
    }

    /// Waits until the server has closed the connection.
    pub(crate) async fn closed(&mut self) {
        tokio::time::timeout(Duration::from_secs(20), &mut self.driver)
            .await
            .expect("the connection is closed")
            .unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Waits until `fact` is true.
pub(crate) async fn wait_until(fact: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !fact() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not within twenty seconds"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
