//! What is known of a client's connection.

use std::cell::OnceCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderValue;
use rustls_pki_types::CertificateDer;

use crate::listener::ListenerConfig;

/// One client connection, the same value for each of its requests.
#[derive(Debug)]
pub struct Connection {
    /// The client's address; an IPv4 client of a dual-stack socket is shown as IPv4.
    pub peer: SocketAddr,
    /// The address the client reached.
    pub local: SocketAddr,
    /// The TLS session; `None` in plaintext.
    pub tls: Option<TlsSession>,
    /// The listener as it was configured when the connection was accepted.
    pub listener: Arc<ListenerConfig>,
    /// The client's address as a field value, made when it is first asked for.
    pub peer_value: OnceCell<HeaderValue>,
}

impl Connection {
    /// The IP address of the client as a field value; an IPv4 client is shown as IPv4.
    pub fn peer_value(&self) -> &HeaderValue {
        self.peer_value.get_or_init(|| {
            let ip = self.peer.ip().to_canonical().to_string();
            HeaderValue::try_from(ip).unwrap_or(HeaderValue::from_static("unknown"))
        })
    }
}

/// What a TLS handshake agreed on.
#[derive(Debug)]
pub struct TlsSession {
    /// The name the client asked for (SNI), in lower case.
    pub server_name: Option<Box<str>>,
    /// The protocol version.
    pub version: rustls::ProtocolVersion,
    /// The cipher suite.
    pub cipher_suite: rustls::CipherSuite,
    /// The application protocol.
    pub alpn: Option<Alpn>,
    /// Whether an earlier session was resumed.
    pub is_resumed: bool,
    /// The certificate that the client showed, of which it holds the key; whether anybody signed it
    /// is as [`ClientAuthentication`](crate::ClientAuthentication) asks.
    pub client_certificate: Option<CertificateDer<'static>>,
}

/// An application protocol (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// `http/1.1`.
    Http1,
    /// `h2`.
    Http2,
}

impl Alpn {
    /// Its name in the handshake.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        }
    }
}

impl TlsSession {
    /// The session of a client with present software that asks for `server_name`, for what is
    /// only thought through.
    pub fn explained(server_name: &str) -> Self {
        Self {
            server_name: Some(server_name.into()),
            version: rustls::ProtocolVersion::TLSv1_3,
            cipher_suite: rustls::CipherSuite::TLS13_AES_128_GCM_SHA256,
            alpn: Some(Alpn::Http1),
            is_resumed: false,
            client_certificate: None,
        }
    }

    pub(crate) fn of(session: &rustls::ServerConnection) -> Option<Self> {
        let alpn = match session.alpn_protocol() {
            Some(name) if name == Alpn::Http2.as_str().as_bytes() => Some(Alpn::Http2),
            Some(_) => Some(Alpn::Http1),
            None => None,
        };
        Some(Self {
            server_name: session.server_name().map(Into::into),
            version: session.protocol_version()?,
            cipher_suite: session.negotiated_cipher_suite()?.suite(),
            alpn,
            is_resumed: session.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            client_certificate: session
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|leaf| leaf.clone().into_owned()),
        })
    }
}

/// Shows an IPv4 address that came in over a dual-stack socket as what it is.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(ip) => SocketAddr::new(ip.to_canonical(), address.port()),
        IpAddr::V4(_) => address,
    }
}
