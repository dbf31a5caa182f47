//! `Cache-Status`: what the cache did with a request (RFC 9211).

use std::fmt::Write as _;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, StatusCode};

/// The field.
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Why a request went on to the server (RFC 9211 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    /// The cache has no say in it.
    Bypass,
    /// The method is none that is answered from the cache.
    Method,
    /// There is a response, and the client wants it validated.
    Request,
    /// There is a response, and its time is over.
    Stale,
    /// There is none for the URI.
    UriMiss,
    /// There are some for the URI, for other requests.
    VaryMiss,
}

/// What is said of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheStatus {
    /// It was answered from the cache; the time to live is negative for what is stale.
    Hit {
        /// Seconds.
        ttl: i64,
        /// It stands in for an answer that the server failed to give.
        is_after_error: bool,
    },
    /// It went on.
    Forwarded {
        /// Why.
        why: Forward,
        /// The status of the answer, where another one is given.
        status: Option<StatusCode>,
        /// The answer is kept.
        is_stored: bool,
    },
    /// It shares the answer that another request is being given.
    Collapsed {
        /// Why it would have gone on.
        why: Forward,
    },
    /// Nobody may be asked and nothing is there.
    Refused,
}

impl Forward {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
        }
    }
}

impl CacheStatus {
    /// Adds it behind what caches nearer to the server said.
    pub(crate) fn add_to(self, headers: &mut HeaderMap) {
        let mut text = String::from("Portico");
        // Writing to a string does not fail.
        let _ = match self {
            Self::Hit {
                ttl,
                is_after_error: false,
            } => write!(text, "; hit; ttl={ttl}"),
            Self::Hit {
                ttl,
                is_after_error: true,
            } => write!(text, "; hit; ttl={ttl}; detail=stale-if-error"),
            Self::Forwarded {
                why,
                status,
                is_stored,
            } => {
                let _ = write!(text, "; fwd={}", why.as_str());
                if let Some(status) = status {
                    let _ = write!(text, "; fwd-status={}", status.as_u16());
                }
                text.write_str(if is_stored { "; stored" } else { "" })
            }
            Self::Collapsed { why } => write!(text, "; fwd={}; collapsed", why.as_str()),
            Self::Refused => text.write_str("; detail=only-if-cached"),
        };
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.append(CACHE_STATUS, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_said_behind_what_others_said() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_STATUS, HeaderValue::from_static("Inner; hit"));
        for status in [
            CacheStatus::Hit {
                ttl: -3,
                is_after_error: true,
            },
            CacheStatus::Forwarded {
                why: Forward::Stale,
                status: Some(StatusCode::NOT_MODIFIED),
                is_stored: true,
            },
        ] {
            status.add_to(&mut headers);
        }
        let values: Vec<_> = headers.get_all(CACHE_STATUS).iter().collect();
        assert_eq!(
            values,
            [
                "Inner; hit",
                "Portico; hit; ttl=-3; detail=stale-if-error",
                "Portico; fwd=stale; fwd-status=304; stored",
            ]
        );
    }
}
