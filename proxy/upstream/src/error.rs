//! Why a request got no response.

use std::error::Error;
use std::fmt;

use http::Request;

/// A request that got no response.
pub struct SendError<B> {
    /// What went wrong.
    pub kind: SendErrorKind,
    /// The request as given, when not a byte of it was sent: it may be sent again anywhere.
    pub unsent: Option<Box<Request<B>>>,
    /// Whether it failed on a connection that had served requests before, so that the upstream
    /// may merely have closed it between two requests (RFC 9112 section 9.3.1).
    pub is_reused: bool,
    /// What the system or the library says.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendErrorKind {
    /// The connection ended before a response head came.
    Closed,
    /// No connection within the dial timeout.
    ConnectTimeout,
    /// No response head within the response header timeout.
    HeaderTimeout,
    /// The name does not exist or has no address.
    NameNotFound,
    /// What came is not HTTP, or not HTTP that may be forwarded.
    Protocol,
    /// Nothing listens there.
    Refused,
    /// The request's own body failed: the client went away, or sent too much.
    RequestBody,
    /// No name server gave an answer.
    Resolve,
    /// The TLS handshake failed.
    Tls,
    /// The network or the socket cannot be reached.
    Unreachable,
}

impl SendErrorKind {
    /// Whether the upstream may be on its way back, so that trying again soon is worth it.
    pub fn is_transient(self) -> bool {
        match self {
            Self::Closed
            | Self::ConnectTimeout
            | Self::NameNotFound
            | Self::Refused
            | Self::Resolve
            | Self::Unreachable => true,
            Self::HeaderTimeout | Self::Protocol | Self::RequestBody | Self::Tls => false,
        }
    }
}

impl fmt::Display for SendErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection was closed before a response came",
            Self::ConnectTimeout => "connecting took too long",
            Self::HeaderTimeout => "the response took too long",
            Self::NameNotFound => "the name does not resolve",
            Self::Protocol => "the response is not valid HTTP",
            Self::Refused => "the connection was refused",
            Self::RequestBody => "the request body ended early",
            Self::Resolve => "no name server answered",
            Self::Tls => "the TLS handshake failed",
            Self::Unreachable => "the address cannot be reached",
        })
    }
}

impl<B> fmt::Display for SendError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl<B> fmt::Debug for SendError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("kind", &self.kind)
            .field("is_unsent", &self.unsent.is_some())
            .field("is_reused", &self.is_reused)
            .field("source", &self.source)
            .finish()
    }
}

impl<B> Error for SendError<B> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
