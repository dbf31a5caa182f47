//! Placeholders in texts, and their values.

use http::Request;

use super::{Template, Unknown};
use crate::error::{Error, Side};
use crate::testing::Site;

fn expand(text: &str, unknown: Unknown) -> String {
    let site = Site::new("http:// {\n}");
    let mut exchange = site.exchange(
        Request::get("http://www.Example.com:8080/a%20b/C.tar.gz?x=1&y=%26&x=2")
            .header("X-Two", "1")
            .header("X-Two", "2")
            .header("Cookie", "a=b; session=\"s\""),
    );
    exchange.variables.set("root", "/srv".to_owned());
    exchange.set_replacement("http.auth.user.id", "ann".to_owned());
    exchange.error = Some(Error::new(
        http::StatusCode::NOT_FOUND,
        Side::Downstream,
        "no page",
    ));
    Template::compile(text, unknown)
        .expand(&exchange)
        .into_owned()
}

#[test]
fn values_are_those_of_caddy() {
    for (name, expected) in [
        ("http.request.host", "www.Example.com"),
        ("http.request.port", "8080"),
        ("http.request.hostport", "www.Example.com:8080"),
        ("http.request.host.labels.0", "com"),
        ("http.request.host.labels.2", "www"),
        ("http.request.host.labels.9", ""),
        ("http.request.scheme", "http"),
        ("http.request.method", "GET"),
        ("http.request.orig_method", "GET"),
        ("http.request.proto", "HTTP/1.1"),
        ("http.request.remote", "192.0.2.1:1234"),
        ("http.request.remote.host", "192.0.2.1"),
        ("http.request.remote.port", "1234"),
        ("http.request.remote.host/24,32", "192.0.2.0/24"),
        ("http.request.local.port", "80"),
        ("http.request.uri", "/a%20b/C.tar.gz?x=1&y=%26&x=2"),
        ("http.request.uri.path", "/a b/C.tar.gz"),
        ("http.request.uri.path.dir", "/a b/"),
        ("http.request.uri.path.file", "C.tar.gz"),
        ("http.request.uri.path.file.base", "C.tar"),
        ("http.request.uri.path.file.ext", ".gz"),
        ("http.request.uri.path.0", "a b"),
        ("http.request.uri.path.1", "C.tar.gz"),
        ("http.request.uri.path.7", ""),
        ("http.request.uri.query", "x=1&y=%26&x=2"),
        ("http.request.uri.prefixed_query", "?x=1&y=%26&x=2"),
        ("http.request.uri.query.x", "1,2"),
        ("http.request.uri.query.y", "&"),
        ("http.request.uri.query.z", ""),
        (
            "http.request.uri_escaped",
            "%2Fa%2520b%2FC.tar.gz%3Fx%3D1%26y%3D%2526%26x%3D2",
        ),
        ("http.request.orig_uri.path", "/a b/C.tar.gz"),
        ("http.request.header.x-two", "1,2"),
        ("http.request.header.Nothing", ""),
        ("http.request.cookie.session", "s"),
        ("http.vars.root", "/srv"),
        ("http.vars.nothing", ""),
        ("http.vars.client_ip", "192.0.2.1"),
        ("http.auth.user.id", "ann"),
        ("http.error.status_code", "404"),
        ("http.error.status_text", "Not Found"),
        ("http.error.message", "no page"),
        ("system.slash", "/"),
        ("system.os", "linux"),
    ] {
        let text = format!("{{{name}}}");
        assert_eq!(expand(&text, Unknown::Empty), expected, "{name}");
        assert_eq!(expand(&text, Unknown::Keep), expected, "{name}");
    }
}

#[test]
fn unknown_names_are_left_out_or_kept() {
    for (text, empty, kept) in [
        ("a{nothing}b", "ab", "a{nothing}b"),
        ("{http.request.cookie.none}", "", ""),
        ("{http.regexp.x.1}", "", "{http.regexp.x.1}"),
        ("{http.request.tls.version}", "", ""),
        (
            "{\"a\": \"{http.request.port}\"}",
            "\"}",
            "{\"a\": \"8080\"}",
        ),
        (
            "\\{http.request.port\\}",
            "{http.request.port}",
            "{http.request.port}",
        ),
        (
            "{http.request.port",
            "{http.request.port",
            "{http.request.port",
        ),
        ("}{", "}{", "}{"),
        ("", "", ""),
        (
            "{http.request.port}{http.request.port}",
            "80808080",
            "80808080",
        ),
    ] {
        assert_eq!(expand(text, Unknown::Empty), empty, "{text}");
        assert_eq!(expand(text, Unknown::Keep), kept, "{text}");
    }
}

#[test]
fn constants_become_text() {
    let template = Template::compile("{system.slash}srv", Unknown::Empty);
    assert_eq!(template.as_literal(), Some("/srv"));
}

#[test]
fn time_has_its_forms() {
    let year = expand("{time.now.year}", Unknown::Empty);
    assert!(year.parse::<u16>().unwrap() >= 2026, "{year}");
    assert!(expand("{time.now.http}", Unknown::Empty).ends_with(" GMT"));
    assert!(
        expand("{time.now.unix_ms}", Unknown::Empty)
            .parse::<u64>()
            .is_ok()
    );
    let common = expand("{time.now.common_log}", Unknown::Empty);
    assert_eq!(common.len(), "02/Jan/2006:15:04:05 -0700".len(), "{common}");
}
