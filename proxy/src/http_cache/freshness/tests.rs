use http::HeaderValue;
use http::header::CACHE_CONTROL;

use super::*;

fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(name, HeaderValue::from_static(value));
    }
    headers
}

fn now() -> SystemTime {
    httpdate::parse_http_date(NOW).unwrap()
}

fn freshness(lines: &[(HeaderName, &'static str)], policy: &Policy) -> Freshness {
    let headers = headers(lines);
    let directives = ResponseDirectives::parse(&headers);
    Freshness::of(StatusCode::OK, &headers, &directives, now(), policy)
}

const NOW: &str = "Sun, 22 Nov 2026 10:00:00 GMT";
const EARLIER: &str = "Sun, 22 Nov 2026 09:59:30 GMT";
const LATER: &str = "Sun, 22 Nov 2026 10:01:00 GMT";

fn windows() -> Policy {
    Policy {
        stale_while_revalidate: Duration::from_secs(10),
        stale_if_error: Duration::from_secs(100),
        ..Policy::default()
    }
}

#[test]
fn lifetime_is_what_the_server_says_last() {
    for (lines, expected) in [
        (&[][..], None),
        (&[(CACHE_CONTROL, "public")], None),
        (&[(CACHE_CONTROL, "max-age=60")], Some(60)),
        (&[(CACHE_CONTROL, "max-age=60, s-maxage=5")], Some(5)),
        (&[(CACHE_CONTROL, "s-maxage=0, max-age=60")], Some(0)),
        (&[(EXPIRES, LATER), (DATE, NOW)], Some(60)),
        (&[(EXPIRES, LATER), (DATE, EARLIER)], Some(90)),
        (&[(EXPIRES, LATER)], Some(60)),
        (&[(EXPIRES, EARLIER), (DATE, NOW)], Some(0)),
        (&[(EXPIRES, "0")], Some(0)),
        (&[(EXPIRES, LATER), (CACHE_CONTROL, "max-age=1")], Some(1)),
        (&[(EXPIRES, LATER), (CACHE_CONTROL, "max-age=x")], Some(0)),
    ] {
        let found = freshness(lines, &Policy::default());
        assert_eq!(
            (found.is_explicit, found.lifetime),
            (expected.is_some(), expected.unwrap_or(0)),
            "{lines:?}"
        );
    }
}

#[test]
fn lifetime_of_the_caddyfile_is_for_what_says_nothing() {
    let policy = Policy {
        default_ttl: Duration::from_secs(7),
        ..Policy::default()
    };
    let found = freshness(&[], &policy);
    assert_eq!((found.lifetime, found.is_explicit), (7, false));
    let found = freshness(&[(CACHE_CONTROL, "max-age=0")], &policy);
    assert_eq!((found.lifetime, found.is_explicit), (0, true));
    let directives = ResponseDirectives::default();
    let status = StatusCode::FOUND;
    let found = Freshness::of(status, &HeaderMap::new(), &directives, now(), &policy);
    assert_eq!(found.lifetime, 0);
}

#[test]
fn windows_past_the_lifetime_are_the_servers_and_then_the_caddyfiles() {
    for (value, expected) in [
        ("max-age=60", (10, 100)),
        ("s-maxage=60", (10, 100)),
        (
            "max-age=60, stale-while-revalidate=3, stale-if-error=4",
            (3, 4),
        ),
        ("max-age=60, stale-while-revalidate=0", (0, 100)),
        ("max-age=60, must-revalidate, stale-if-error=4", (0, 0)),
        ("max-age=60, proxy-revalidate", (0, 0)),
        ("no-cache", (0, 0)),
    ] {
        let found = freshness(&[(CACHE_CONTROL, value)], &windows());
        assert_eq!(
            (found.while_revalidate, found.if_error),
            expected,
            "{value}"
        );
    }
}

#[test]
fn age_counts_from_the_origin() {
    let delay = Duration::from_secs(3);
    for (lines, expected) in [
        (&[][..], 3),
        (&[(DATE, NOW)], 3),
        (&[(DATE, LATER)], 3),
        (&[(DATE, EARLIER)], 30),
        (&[(DATE, EARLIER), (AGE, "20")], 30),
        (&[(DATE, EARLIER), (AGE, "40")], 43),
        (&[(AGE, "soon")], 3),
        (&[(AGE, "-1")], 3),
        (&[(AGE, "7, 9")], 10),
        (&[(AGE, "7"), (AGE, "9")], 10),
    ] {
        assert_eq!(
            initial_age(&headers(lines), now(), delay),
            expected,
            "{lines:?}"
        );
    }
}

#[test]
fn requests_get_what_is_fresh_enough_for_them() {
    use Use::*;

    for (response, age, request, expected) in [
        ("max-age=60", 59, "", Fresh),
        ("max-age=60", 60, "", WhileRevalidating),
        ("max-age=60", 69, "", WhileRevalidating),
        ("max-age=60", 70, "", AfterValidation),
        ("max-age=60", 10, "max-age=10", Fresh),
        ("max-age=60", 11, "max-age=10", AfterRequestedValidation),
        ("max-age=60", 0, "no-cache", AfterRequestedValidation),
        ("max-age=60", 50, "min-fresh=10", Fresh),
        ("max-age=60", 51, "min-fresh=10", AfterRequestedValidation),
        ("max-age=60", 51, "min-fresh=x", AfterRequestedValidation),
        ("max-age=60", 200, "max-stale", Stale),
        ("max-age=60", 160, "max-stale=100", Stale),
        ("max-age=60", 161, "max-stale=100", AfterValidation),
        (
            "max-age=60",
            200,
            "max-stale, max-age=100",
            AfterRequestedValidation,
        ),
        ("s-maxage=60", 200, "max-stale", AfterValidation),
        (
            "max-age=60, must-revalidate",
            61,
            "max-stale",
            AfterValidation,
        ),
        ("max-age=60, proxy-revalidate", 61, "", AfterValidation),
        ("max-age=60, no-cache", 1, "", AfterValidation),
        ("max-age=60, no-cache", 1, "max-stale", AfterValidation),
        ("max-age=0", 0, "", WhileRevalidating),
    ] {
        let found = freshness(&[(CACHE_CONTROL, response)], &windows());
        let request_headers = headers(&[(CACHE_CONTROL, request)]);
        let directives = RequestDirectives::parse(&request_headers);
        assert_eq!(
            found.use_at(age, &directives),
            expected,
            "{response} at {age} for {request:?}"
        );
    }
}

#[test]
fn failures_are_stood_in_for_within_their_window() {
    for (response, age, expected) in [
        ("max-age=60", 30, true),
        ("max-age=60", 159, true),
        ("max-age=60", 160, false),
        ("max-age=60, stale-if-error=5", 65, false),
        ("max-age=60, must-revalidate", 61, false),
        ("max-age=60, no-cache", 1, false),
    ] {
        let found = freshness(&[(CACHE_CONTROL, response)], &windows());
        assert_eq!(
            found.allows_after_error(age),
            expected,
            "{response} at {age}"
        );
    }
}
