//! Which responses are stored (RFC 9111 section 3), and which of their fields (section 3.1).

use http::header::{
    AUTHORIZATION, CONNECTION, COOKIE, ETAG, HeaderName, LAST_MODIFIED, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, StatusCode};

use super::cache_control::ResponseDirectives;
use super::freshness::{Freshness, is_cacheable_by_default};

/// What is of importance in a request for whether its response is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asker {
    /// It is a GET.
    pub is_get: bool,
    /// It has `Authorization`.
    pub has_authorization: bool,
    /// It has `Cookie`.
    pub has_cookie: bool,
}

/// Fields of the connection or of one client that are not stored (RFC 9111 section 3.1).
/// Proxying has taken most of them out; other handlers may set them.
const NOT_STORED: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHORIZATION,
    SET_COOKIE,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

impl Asker {
    /// The facts of a request.
    pub(crate) fn new(method: &Method, headers: &HeaderMap) -> Self {
        Self {
            is_get: *method == Method::GET,
            has_authorization: headers.contains_key(AUTHORIZATION),
            has_cookie: headers.contains_key(COOKIE),
        }
    }
}

/// Whether a response may be stored and is worth it.
pub(crate) fn is_storable(
    asker: Asker,
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    freshness: &Freshness,
) -> bool {
    let is_understood = is_understood(status);
    // RFC 9111 section 5.2.2.3: who understands the status leaves `no-store` aside.
    let no_store = directives.no_store && !(directives.must_understand && is_understood);
    if !asker.is_get || !is_understood || no_store || directives.private {
        return false;
    }
    // Whoever sets a cookie means one client. RFC 9111 section 7.3 leaves it to the server to say so;
    // most do not.
    if headers.contains_key(SET_COOKIE) || headers.contains_key(TRAILER) {
        return false;
    }
    // RFC 9111 section 3.5.
    let is_for_all =
        directives.public || directives.s_maxage.is_some() || directives.must_revalidate;
    if asker.has_authorization && !is_for_all {
        return false;
    }
    let is_allowed = freshness.is_explicit || directives.public || directives.no_cache;
    if !is_allowed {
        // What nobody said anything about is kept for nobody who may be somebody.
        let is_anonymous = !asker.has_authorization && !asker.has_cookie;
        if freshness.lifetime == 0 || !is_anonymous {
            return false;
        }
    }
    // What is never fresh is of use only where it can be validated.
    freshness.lifetime > 0 && !freshness.needs_validation
        || headers.contains_key(ETAG)
        || headers.contains_key(LAST_MODIFIED)
}

/// Takes out the fields that are not stored.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&NOT_STORED) {
        headers.remove(name);
    }
}

/// Whether it is known what caches do with a status. A partial response is none that is stored
/// here, and a 304 is about one that is.
fn is_understood(status: StatusCode) -> bool {
    is_cacheable_by_default(status) || matches!(status.as_u16(), 302 | 303 | 307)
}

#[cfg(test)]
mod tests;
