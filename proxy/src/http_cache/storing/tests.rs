use std::time::SystemTime;

use http::HeaderValue;
use http::header::{CACHE_CONTROL, DATE, EXPIRES};

use super::*;
use crate::http_cache::Policy;

const PLAIN: Asker = Asker {
    is_get: true,
    has_authorization: false,
    has_cookie: false,
};

const USER: Asker = Asker {
    has_authorization: true,
    ..PLAIN
};

const VISITOR: Asker = Asker {
    has_cookie: true,
    ..PLAIN
};

fn is_kept(
    asker: Asker,
    status: u16,
    lines: &[(HeaderName, &'static str)],
    default_ttl: u64,
) -> bool {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(name, HeaderValue::from_static(value));
    }
    let status = StatusCode::from_u16(status).unwrap();
    let directives = ResponseDirectives::parse(&headers);
    let policy = Policy {
        default_ttl: std::time::Duration::from_secs(default_ttl),
        ..Policy::default()
    };
    let received = SystemTime::UNIX_EPOCH;
    let freshness = Freshness::of(status, &headers, &directives, received, &policy);
    is_storable(asker, status, &headers, &directives, &freshness)
}

#[test]
fn responses_are_kept_that_say_they_may_be() {
    const CC: HeaderName = CACHE_CONTROL;
    let head = Asker {
        is_get: false,
        ..PLAIN
    };
    for (asker, status, lines, expected) in [
        (PLAIN, 200, &[(CC, "max-age=60")][..], true),
        (PLAIN, 200, &[(CC, "s-maxage=60")], true),
        (
            PLAIN,
            200,
            &[(EXPIRES, "Thu, 01 Jan 1970 00:01:00 GMT")],
            true,
        ),
        (PLAIN, 200, &[(EXPIRES, "0")], false),
        (PLAIN, 200, &[], false),
        (PLAIN, 200, &[(ETAG, "\"a\"")], false),
        (PLAIN, 200, &[(CC, "public")], false),
        (PLAIN, 200, &[(CC, "public"), (ETAG, "\"a\"")], true),
        (PLAIN, 200, &[(CC, "max-age=0")], false),
        (
            PLAIN,
            200,
            &[(CC, "max-age=0"), (LAST_MODIFIED, DATE.as_str())],
            true,
        ),
        (PLAIN, 200, &[(CC, "no-cache")], false),
        (PLAIN, 200, &[(CC, "no-cache"), (ETAG, "\"a\"")], true),
        (PLAIN, 200, &[(CC, "no-cache, max-age=60")], false),
        (head, 200, &[(CC, "max-age=60")], false),
        (PLAIN, 200, &[(CC, "max-age=60, no-store")], false),
        (PLAIN, 200, &[(CC, "max-age=60, private")], false),
        (PLAIN, 200, &[(CC, "max-age=60, private=\"x\"")], false),
        (
            PLAIN,
            200,
            &[(CC, "max-age=60"), (SET_COOKIE, "a=b")],
            false,
        ),
        (PLAIN, 200, &[(CC, "max-age=60"), (TRAILER, "x")], false),
        (PLAIN, 206, &[(CC, "max-age=60")], false),
        (PLAIN, 304, &[(CC, "max-age=60")], false),
        (PLAIN, 404, &[(CC, "max-age=60")], true),
        (PLAIN, 302, &[(CC, "max-age=60")], true),
        (PLAIN, 500, &[(CC, "max-age=60")], false),
        (PLAIN, 418, &[(CC, "max-age=60")], false),
        (
            PLAIN,
            200,
            &[(CC, "max-age=60, no-store, must-understand")],
            true,
        ),
        (
            PLAIN,
            418,
            &[(CC, "max-age=60, no-store, must-understand")],
            false,
        ),
        (USER, 200, &[(CC, "max-age=60")], false),
        (USER, 200, &[(CC, "max-age=60, public")], true),
        (USER, 200, &[(CC, "s-maxage=60")], true),
        (USER, 200, &[(CC, "max-age=60, must-revalidate")], true),
        (USER, 200, &[(CC, "max-age=60, proxy-revalidate")], false),
        (VISITOR, 200, &[(CC, "max-age=60")], true),
    ] {
        assert_eq!(
            is_kept(asker, status, lines, 0),
            expected,
            "{asker:?} {status} {lines:?}"
        );
    }
}

#[test]
fn what_says_nothing_is_kept_for_strangers_only() {
    for (asker, status, expected) in [
        (PLAIN, 200, true),
        (PLAIN, 404, true),
        (PLAIN, 302, false),
        (PLAIN, 500, false),
        (USER, 200, false),
        (VISITOR, 200, false),
    ] {
        assert_eq!(
            is_kept(asker, status, &[], 60),
            expected,
            "{asker:?} {status}"
        );
    }
    assert!(!is_kept(PLAIN, 200, &[(SET_COOKIE, "a=b")], 60));
    assert!(!is_kept(PLAIN, 200, &[(CACHE_CONTROL, "private")], 60));
}

#[test]
fn fields_of_the_connection_are_not_kept() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("connection", "close, X-Once"),
        ("x-once", "1"),
        ("keep-alive", "5"),
        ("set-cookie", "a=b"),
        ("upgrade", "h2c"),
        ("x-kept", "1"),
    ] {
        headers.append(name, HeaderValue::from_static(value));
    }
    strip(&mut headers);
    assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-kept"]);
}
