//! Handshakes of listeners where the name that a client asks for decides how they go on.
//!
//! The ClientHello is read before the handshake begins. Where certificates are obtained on demand, for a
//! name that has one nothing waits; for another the handshake stands still, and the worker goes on
//! with its other clients.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use rustls::server::{Acceptor, ClientHello};
use tokio_rustls::{Accept, LazyConfigAcceptor};

use super::super::{Entry, Order};
use crate::stream::Socket;
use crate::tls::{CertificateTable, Obtaining, TlsSettings, with_local_address};

/// The protocol of a certificate authority that validates a name (RFC 8737 section 6.1). It asks
/// for names that have no certificate yet, and must not have to wait for one.
const ACME_TLS_ALPN: &[u8] = b"acme-tls/1";

/// Reads the ClientHello, has a certificate obtained if there is none for its name and that is
/// wanted, and begins the handshake as is right for the name.
///
/// # Errors
/// The error and the socket when the client sent no ClientHello; `None` when the connection is to
/// be given up.
pub(super) async fn begin(
    entry: &Entry,
    tls: &TlsSettings,
    socket: Socket,
    local: SocketAddr,
) -> Result<Accept<Socket>, Option<(io::Error, Socket)>> {
    let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), socket);
    let start = match entry.until_abort(&mut acceptor).await {
        Some(Ok(start)) => start,
        Some(Err(error)) => return Err(acceptor.take_io().map(|socket| (error, socket))),
        None => return Err(None),
    };
    let obtaining = tls.on_demand.as_deref().and_then(|on_demand| {
        let hello = start.client_hello();
        on_demand.obtain(missing(&hello, &tls.certificates)?)
    });
    if let Some(obtaining) = obtaining
        && !obtained(entry, &start.io, obtaining).await
    {
        return Err(None);
    }
    let config = Arc::clone(tls.config_for(start.client_hello().server_name()));
    Ok(with_local_address(local.ip(), || start.into_stream(config)))
}

/// The name of `hello`, if there is no certificate for it.
fn missing<'a>(hello: &'a ClientHello<'_>, certificates: &CertificateTable) -> Option<&'a str> {
    let name = hello.server_name()?;
    let is_validation = hello
        .alpn()
        .is_some_and(|mut offered| offered.any(|protocol| protocol == ACME_TLS_ALPN));
    (!is_validation && !certificates.contains(name)).then_some(name)
}

/// Waits until the attempt is over. False when the client has gone, or the worker wants to end.
async fn obtained(entry: &Entry, socket: &Socket, mut obtaining: Obtaining) -> bool {
    entry.activity.await_certificate();
    let is_over = poll_fn(|cx| match entry.poll_order(cx) {
        // Nothing has been agreed with the client yet, so it can begin anew elsewhere.
        Order::Abort | Order::Finish => Poll::Ready(false),
        Order::Park | Order::Serve => {
            socket.answer_probe();
            obtaining.as_mut().poll(cx).map(|()| true)
        }
    })
    .await;
    entry.activity.resume_handshake();
    is_over
}
