//! What goes wrong while a request is handled (Caddy: `HandlerError`).
//!
//! An [`Error`] travels up to the error routes of the subroute or the server; only
//! [`respond`] turns it into a response.

pub mod respond;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use http::StatusCode;

/// Why a request was not answered by its routes, and with which status it ends if no error route
/// says otherwise.
pub struct Error(Box<Inner>);

/// Whose fault an [`Error`] is: decides how it is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client: a bad request, a body over the limit, a connection given up.
    Downstream,
    /// The proxy itself or its configuration.
    Internal,
    /// The app, the static-server, or the network between.
    Upstream,
}

struct Inner {
    status: StatusCode,
    side: Side,
    message: Cow<'static, str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    retry_after: Option<u32>,
    id: String,
}

impl Error {
    /// An error that ends with `status`; `message` is one lower-case phrase.
    pub fn new(status: StatusCode, side: Side, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            status,
            side,
            message: message.into(),
            source: None,
            retry_after: None,
            id: random_id(),
        }))
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error with a `Retry-After` of `seconds` in its response.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// The status that the error ends with.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Whose fault it is.
    pub fn side(&self) -> Side {
        self.0.side
    }

    /// Seconds for `Retry-After`.
    pub fn retry_after(&self) -> Option<u32> {
        self.0.retry_after
    }

    /// Nine characters that tell this error from others, `{http.error.id}`.
    pub fn id(&self) -> &str {
        &self.0.id
    }
}

impl Side {
    /// Its name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Downstream => "downstream",
            Self::Internal => "internal",
            Self::Upstream => "upstream",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("status", &self.0.status)
            .field("side", &self.0.side)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_ref()
            .map(|source| &**source as &(dyn StdError + 'static))
    }
}

/// Nine random characters without those that are easily confused, as Caddy makes them.
fn random_id() -> String {
    use rand::RngExt as _;

    const ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyz0123456789";
    let mut random = rand::rng();
    (0..9)
        .map(|_| char::from(ALPHABET[random.random_range(..ALPHABET.len())]))
        .collect()
}
