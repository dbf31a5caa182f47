//! Brings a request's target and host into one form, for HTTP/1 and HTTP/2 alike.

use bytes::Bytes;
use http::header::{COOKIE, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Uri, Version};

use crate::uri::has_valid_escapes;

/// Why a request cannot be answered at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRequest {
    #[error("the target has an invalid escape")]
    Escape,
    #[error("the `Host` field is missing, repeated or no host")]
    Host,
    #[error("the target has no path")]
    Target,
}

/// Puts the host into `Host` and leaves the target in origin form (RFC 9112 section 3.2). The host
/// of an absolute target takes precedence.
pub(crate) fn normalize(head: &mut Parts) -> Result<(), BadRequest> {
    match head.uri.authority() {
        Some(authority) => {
            let host = authority.as_str();
            // User information is no part of the host, and nobody means well by it.
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            let host = HeaderValue::from_str(host).map_err(|_| BadRequest::Host)?;
            head.headers.insert(HOST, host);
            if head.method == Method::CONNECT && head.uri.path().is_empty() {
                head.uri = Uri::from_static("/");
            } else {
                let target = head.uri.path_and_query().cloned();
                head.uri = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
            }
        }
        None => check_host(head)?,
    }
    let path = head.uri.path();
    if !path.starts_with('/') && path != "*" {
        return Err(BadRequest::Target);
    }
    if !has_valid_escapes(path) {
        return Err(BadRequest::Escape);
    }
    if head.version == Version::HTTP_2 {
        join_cookies(head);
    }
    Ok(())
}

/// HTTP/2 clients split `Cookie` to compress it better; everybody else expects one field (RFC 9113
/// section 8.2.3).
fn join_cookies(head: &mut Parts) {
    let mut crumbs = head.headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else {
        return;
    };
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(mut joined) = HeaderValue::from_maybe_shared(Bytes::from(joined)) {
        joined.set_sensitive(true);
        head.headers.insert(COOKIE, joined);
    }
}

/// One `Host` is required from HTTP/1.1 on (RFC 9112 section 3.2), and must look like one.
fn check_host(head: &Parts) -> Result<(), BadRequest> {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        (None, _) if head.version < Version::HTTP_11 => Ok(()),
        _ => Err(BadRequest::Host),
    }
}

/// Whether these octets may stand in a host and port, as Go's server checks.
fn is_host(host: &[u8]) -> bool {
    host.iter().all(|byte| {
        byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=[]_~".contains(byte) || !byte.is_ascii()
    })
}

#[cfg(test)]
mod tests {
    use http::header::{COOKIE, HOST};
    use http::{Request, Version};

    use super::{BadRequest, normalize};

    #[test]
    fn targets_take_origin_form() {
        for (target, host, expected) in [
            ("/a?b", Some("example.com"), Ok(("/a?b", "example.com"))),
            (
                "http://other.com:80/a",
                Some("example.com"),
                Ok(("/a", "other.com:80")),
            ),
            (
                "http://other.com",
                Some("example.com"),
                Ok(("/", "other.com")),
            ),
            ("http://user@other.com/", None, Ok(("/", "other.com"))),
            ("*", Some("example.com"), Ok(("*", "example.com"))),
            ("/%zz", Some("example.com"), Err(BadRequest::Escape)),
            ("/", None, Err(BadRequest::Host)),
            ("/", Some("a/b"), Err(BadRequest::Host)),
        ] {
            let mut request = Request::get(target);
            if let Some(host) = host {
                request = request.header(HOST, host);
            }
            let (mut head, ()) = request.body(()).unwrap().into_parts();
            let result = normalize(&mut head).map(|()| {
                (
                    head.uri.to_string(),
                    head.headers[HOST].to_str().unwrap().to_owned(),
                )
            });
            let shown = result
                .as_ref()
                .map(|(uri, host)| (uri.as_str(), host.as_str()));
            assert_eq!(shown, expected.as_ref().copied(), "{target}");
        }
    }

    #[test]
    fn cookies_of_http2_become_one_field() {
        for (version, expected) in [
            (Version::HTTP_2, vec!["a=1; b=2; c=3"]),
            (Version::HTTP_11, vec!["a=1", "b=2", "c=3"]),
        ] {
            let mut request = Request::get("http://example.com/").version(version);
            for cookie in ["a=1", "b=2", "c=3"] {
                request = request.header(COOKIE, cookie);
            }
            let (mut head, ()) = request.body(()).unwrap().into_parts();
            normalize(&mut head).unwrap();
            let cookies: Vec<_> = head.headers.get_all(COOKIE).iter().collect();
            assert_eq!(cookies, expected, "{version:?}");
        }
    }

    #[test]
    fn two_hosts_are_refused() {
        let request = Request::get("/")
            .header(HOST, "a")
            .header(HOST, "b")
            .body(())
            .unwrap();
        assert_eq!(
            normalize(&mut request.into_parts().0),
            Err(BadRequest::Host)
        );
    }
}
