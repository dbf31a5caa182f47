//! Channels to other programs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::sidecar::cli::AdminAddress;
use crate::sidecar::dns::Resolver;
use crate::sidecar::identity::{IdentityError, LiveIdentity, Role};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Why a channel cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The address is no URL with a host.
    #[error("`{0}` is no address such as https://cert-manager:7070")]
    Address(String),
    /// The identity is unusable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// A channel to the holder of `role` at `url`, which connects when first used and again after a
/// loss, each time with the identity and the addresses that are current then.
///
/// # Errors
/// When `url` has no host.
pub fn channel(
    url: &str,
    role: Role,
    identity: LiveIdentity,
    resolver: Resolver,
) -> Result<Channel, ChannelError> {
    let uri: Uri = url
        .parse()
        .map_err(|_| ChannelError::Address(url.to_owned()))?;
    let host = uri
        .host()
        .ok_or_else(|| ChannelError::Address(url.to_owned()))?
        .to_owned();
    let port = uri.port_u16().unwrap_or(443);
    // The connector does TLS itself, so tonic must see a plain scheme.
    let endpoint = endpoint(&format!("http://{host}:{port}"))?;
    let host = host.trim_matches(['[', ']']).to_owned();
    Ok(
        endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
            let (identity, host, resolver) = (identity.clone(), host.clone(), resolver.clone());
            async move {
                connect(identity, role, &host, port, &resolver)
                    .await
                    .map(TokioIo::new)
            }
        })),
    )
}

/// A plaintext channel to an administration listener.
///
/// # Errors
/// Never for an address that parsed.
pub fn admin_channel(address: &AdminAddress) -> Result<Channel, ChannelError> {
    match address {
        AdminAddress::Tcp(address) => Ok(endpoint(&format!("http://{address}"))?.connect_lazy()),
        AdminAddress::Unix(path) => {
            let path = path.clone();
            Ok(
                endpoint("http://localhost")?.connect_with_connector_lazy(service_fn(
                    move |_: Uri| {
                        let path = path.clone();
                        async move {
                            tokio::net::UnixStream::connect(path)
                                .await
                                .map(TokioIo::new)
                        }
                    },
                )),
            )
        }
    }
}

fn endpoint(url: &str) -> Result<Endpoint, ChannelError> {
    Ok(Endpoint::from_shared(url.to_owned())
        .map_err(|_| ChannelError::Address(url.to_owned()))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_while_idle(true))
}

async fn connect(
    identity: LiveIdentity,
    role: Role,
    host: &str,
    port: u16,
    resolver: &Resolver,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let identity = identity
        .get()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no mutual TLS identity yet"))?;
    let config = identity.client_config(role).map_err(io::Error::other)?;
    let name = ServerName::try_from(role.dns_name()).map_err(io::Error::other)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("`{host}` has no address"));
    for address in resolver.resolve(host).await? {
        match TcpStream::connect((address, port)).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return TlsConnector::from(Arc::new(config))
                    .connect(name, stream)
                    .await;
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
