//! The gRPC server and client of every program: mutual TLS, health and reflection.

mod channel;
mod incoming;

use std::net::SocketAddr;
use std::time::Duration;

use tonic::Status;
use tonic::service::Routes;

pub use channel::{ChannelError, admin_channel, channel};
pub use incoming::{Connection, Peer, TlsIncoming};

use super::identity::Role;
use super::readiness::Readiness;
use super::shutdown::Shutdown;

/// How often an idle connection is probed, so that a peer that vanished is noticed.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Routes with the standard health service, which follows `readiness`, and reflection of every
/// package of this crate. Add services with [`Routes::add_service`].
///
/// # Errors
/// When the reflection service cannot be built from the descriptors.
pub fn routes(readiness: &Readiness) -> Result<Routes, tonic_reflection::server::Error> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(crate::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (reporter, health) = tonic_health::server::health_reporter();
    let mut ready = readiness.subscribe();
    tokio::spawn(async move {
        loop {
            let status = if *ready.borrow_and_update() {
                tonic_health::ServingStatus::Serving
            } else {
                tonic_health::ServingStatus::NotServing
            };
            reporter.set_service_status("", status).await;
            if ready.changed().await.is_err() {
                break;
            }
        }
    });
    // Python's client and older releases of grpcurl know only the protocol's first version.
    Ok(Routes::new(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?))
}

/// Serves `routes` over mutual TLS until shutdown.
///
/// # Errors
/// When the server fails as a whole; one bad connection does not end it.
pub async fn serve_tls(
    incoming: TlsIncoming,
    routes: Routes,
    shutdown: &Shutdown,
) -> Result<(), tonic::transport::Error> {
    server()
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, shutdown.token.clone().cancelled_owned())
        .await
}

/// Serves `routes` in plaintext, for a loopback address, until shutdown.
///
/// # Errors
/// When the server fails as a whole.
pub async fn serve_plaintext(
    listener: tokio::net::TcpListener,
    routes: Routes,
    shutdown: &Shutdown,
) -> Result<(), tonic::transport::Error> {
    server()
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true)),
            shutdown.token.clone().cancelled_owned(),
        )
        .await
}

/// Lets a call through when the caller's certificate has one of `roles`.
///
/// # Errors
/// PERMISSION_DENIED otherwise; UNAUTHENTICATED when the call did not come over mutual TLS.
pub fn require_role<T>(request: &tonic::Request<T>, roles: &[Role]) -> Result<(), Status> {
    let Some(peer) = request.extensions().get::<Peer>() else {
        return Err(Status::unauthenticated(
            "this service needs a client certificate",
        ));
    };
    match peer.role {
        Some(role) if roles.contains(&role) => Ok(()),
        Some(role) => Err(Status::permission_denied(format!(
            "not allowed for the role {role}"
        ))),
        None => Err(Status::permission_denied(
            "the client certificate names no known role",
        )),
    }
}

/// Binds a TCP listener, with the address in the error.
///
/// # Errors
/// When the address cannot be bound, in words for an operator.
pub async fn bind(flag: &str, address: SocketAddr) -> Result<tokio::net::TcpListener, String> {
    tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| {
            format!(
                "cannot listen on {address} ({flag}): {error}; is another program using the port?"
            )
        })
}

fn server() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .tcp_keepalive(Some(KEEPALIVE))
}
