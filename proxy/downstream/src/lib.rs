//! The client side of the edge: workers, listeners, TLS and HTTP serving.
//!
//! A [`Server`] runs a number of workers. Each is a thread with a single-threaded runtime of its
//! own and its own `SO_REUSEPORT` sockets, so the kernel spreads connections and nothing on the way
//! of a request is shared between threads. What answers requests is the caller's [`Edge`], one
//! value per worker, which therefore need not be `Send`.
//!
//! accept -> TLS handshake (SNI picks a certificate of the [`CertificateTable`]) -> HTTP/1.1 or
//! HTTP/2 by ALPN -> [`Edge::serve`] per request -> close, or a tunnel after an upgrade.
//!
//! This crate knows nothing of sites or routes; it must not look into requests beyond what serving
//! them takes.

mod activity;
mod body;
mod connection;
mod listener;
mod server;
mod stream;
mod tls;
mod worker;

use std::error::Error;
use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;

pub use activity::Figures;
pub use body::{Piece, TrackedBody};
pub use connection::{Alpn, Connection, TlsSession};
pub use listener::{ListenAddress, ListenError, ListenerConfig, Timeouts};
pub use server::{Prepared, Server};
pub use stream::Stream;
pub use tls::{
    Certificate, CertificateError, CertificateTable, ChallengeCertificate, ClientAuthentication,
    Obtaining, OnDemand, SessionTickets, TICKET_KEY_NAME_LEN, TICKET_KEY_SECRET_LEN, TicketKey,
    TicketKeyError, TlsAlpnChallenges, TlsOptions, TlsSettings,
};

/// What answers requests; one value per worker, made on the worker's own thread.
pub trait Edge: 'static {
    /// The bodies it answers with.
    type Body: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + 'static;

    /// Called after the server was given listeners, as a reload does: what is kept of an earlier
    /// configuration can be let go.
    fn reconfigured(&self) {}

    /// Answers one request of `connection`.
    ///
    /// The future is dropped when the client goes away. An upgrade is taken with
    /// [`hyper::upgrade::on`] on the request and outlives the future.
    fn serve(
        self: &Rc<Self>,
        connection: Rc<Connection>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Self::Body>, Abort>> + use<Self> + 'static;
}

/// Says that a request gets no answer: an HTTP/1 connection is closed, an HTTP/2 stream reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("aborted without an answer")]
pub struct Abort;
