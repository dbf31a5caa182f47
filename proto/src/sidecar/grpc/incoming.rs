//! Accepted mutual TLS connections, for tonic's server.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tonic::transport::server::Connected;

use crate::sidecar::error_chain::Chain;
use crate::sidecar::identity::{LiveIdentity, Role, SubscriberId};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The role of its certificate, if that names a known one.
    pub role: Option<Role>,
    /// Which subscriber it is, of those with that role.
    pub subscriber: Option<SubscriberId>,
    /// Its address.
    pub address: SocketAddr,
}

/// A stream of connections whose handshakes are done. Handshakes run beside each other, each with
/// the identity that is current at its start.
#[derive(Debug)]
pub struct TlsIncoming {
    connections: mpsc::Receiver<Connection>,
}

impl TlsIncoming {
    /// Accepts on `listener` for as long as the stream lives.
    pub fn new(listener: TcpListener, identity: LiveIdentity) -> Self {
        let (ready, connections) = mpsc::channel(16);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = ready.closed() => break,
                    accepted = listener.accept() => match accepted {
                        Ok((stream, address)) => {
                            tokio::spawn(accept(stream, address, identity.clone(), ready.clone()));
                        }
                        Err(error) => {
                            tracing::warn!(%error, "accepting a control connection failed");
                            tokio::time::sleep(ACCEPT_RETRY).await;
                        }
                    },
                }
            }
        });
        Self { connections }
    }
}

impl Stream for TlsIncoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections
            .poll_recv(cx)
            .map(|connection| connection.map(Ok))
    }
}

async fn accept(
    stream: TcpStream,
    address: SocketAddr,
    identity: LiveIdentity,
    ready: mpsc::Sender<Connection>,
) {
    let Some(identity) = identity.get() else {
        return;
    };
    let config = match identity.server_config() {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(error = %Chain(&error), "the mutual TLS identity cannot be used");
            return;
        }
    };
    let _ = stream.set_nodelay(true);
    let handshake = TlsAcceptor::from(Arc::new(config)).accept(stream);
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => {
            let certificate = stream
                .get_ref()
                .1
                .peer_certificates()
                .and_then(|chain| chain.first());
            let peer = Peer {
                role: certificate.and_then(Role::of_certificate),
                subscriber: certificate.and_then(SubscriberId::of_certificate),
                address,
            };
            // The receiver is gone only when the server has ended.
            let _ = ready
                .send(Connection {
                    stream: Box::new(stream),
                    peer,
                })
                .await;
        }
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "control handshake failed");
        }
        Err(_) => tracing::debug!(%address, "control handshake timed out"),
    }
}

/// One mutual TLS connection.
#[derive(Debug)]
pub struct Connection {
    stream: Box<TlsStream<TcpStream>>,
    peer: Peer,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}
