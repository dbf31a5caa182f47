//! What a request's preconditions and ranges make of a representation that is at hand (RFC 9110
//! sections 13 and 14): [`preconditions`] first, then [`range`], and [`multipart`] where there are
//! several.
//!
//! The static-server decides so on files, and the edge on files that it keeps in memory.

pub mod multipart;
pub mod preconditions;
pub mod range;

use std::time::UNIX_EPOCH;

use headers::ETag;
use http::header::{ETAG, HeaderMap, HeaderValue, LAST_MODIFIED};

/// What tells one version of a representation from another (RFC 9110 section 8.8).
#[derive(Clone, Debug, Default)]
pub struct Validators {
    /// The entity tag, for comparing.
    pub etag: Option<ETag>,
    /// The entity tag, for sending.
    pub etag_value: Option<HeaderValue>,
    /// Seconds since 1970 of the last modification.
    pub modified_seconds: Option<i64>,
}

impl Validators {
    /// Validators with the entity tag `etag_value`, which is left out where it is none.
    pub fn new(etag_value: Option<HeaderValue>, modified_seconds: Option<i64>) -> Self {
        Self {
            etag: etag_value
                .as_ref()
                .and_then(|value| value.to_str().ok()?.parse().ok()),
            etag_value,
            modified_seconds,
        }
    }

    /// The validators that a response's fields name.
    pub fn of_response(headers: &HeaderMap) -> Self {
        let modified = headers.get(LAST_MODIFIED);
        Self::new(
            headers.get(ETAG).cloned(),
            modified.and_then(|date| seconds(date.to_str().ok()?)),
        )
    }

    #[cfg(test)]
    fn for_test(etag: &'static str, modified_seconds: i64) -> Self {
        Self::new(Some(HeaderValue::from_static(etag)), Some(modified_seconds))
    }
}

/// A date of HTTP as seconds since 1970.
fn seconds(date: &str) -> Option<i64> {
    let time = httpdate::parse_http_date(date.trim()).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}
