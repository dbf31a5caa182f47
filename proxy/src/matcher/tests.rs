//! Matchers against requests.

use http::Request;
use serde_json::{Value, json};

use super::MatcherSets;
use crate::compile::{CompileContext, Scope};
use crate::testing::Site;

/// Whether a matcher set matches a request.
fn matches(set: &Value, request: http::request::Builder) -> bool {
    let mut scope = Scope::new("", CompileContext::default());
    let set = serde_json::from_value(set.clone()).unwrap();
    let matchers = MatcherSets::compile(&[set], &mut scope);
    assert_eq!(scope.into_errors(), []);
    let site = Site::new("http:// {\n}");
    let mut exchange = site.exchange(request);
    exchange.variables.set("color", "blue".to_owned());
    matchers.matches(&mut exchange).unwrap()
}

fn get(target: &str) -> http::request::Builder {
    Request::get(format!("http://example.com{target}"))
}

#[test]
fn paths_match_as_in_caddy() {
    for (pattern, path, expected) in [
        ("/", "/", true),
        ("/foo/bar", "/", false),
        ("/foo/bar", "/foo/bar", true),
        ("/foo/bar/", "/foo/bar", false),
        ("/foo/bar*", "/foo/bar/baz", true),
        ("/foo/*", "/foo", false),
        ("/foo/*", "/foo/", true),
        ("/foo*", "/FOObar", true),
        ("/FOO", "/foo", true),
        ("*.ext", "/foo/bar.EXT", true),
        ("*substring*", "/foo/substring/bar", true),
        ("/foo/*/baz", "/foo/bar/baz", true),
        ("/foo/*/baz", "/foo/a/b/baz", false),
        ("*", "/anything", true),
        ("/admin/*", "//admin//x", true),
        ("/admin/*", "/x/../admin/y", true),
        ("/admin/*", "/%61dmin/y", true),
        ("/admin", "/./admin", true),
        ("//foo", "/foo", false),
        ("//foo", "//foo", true),
        ("/foo//*", "/foo//bar", true),
        ("/foo%2fbar", "/foo%2Fbar", true),
        ("/foo%2fbar", "/foo/bar", false),
        ("/bands/*/x", "/bands/AC%2fDC/x", false),
        ("/bands/%*/x", "/bands/AC%2fDC/x", true),
        ("/a%20b", "/a%20b", true),
        ("/a b", "/a%20b", true),
        ("/x/{http.vars.color}", "/x/blue", true),
        ("/x?y", "/xzy", true),
        ("/[ab]", "/b", true),
    ] {
        let set = json!({"path": [pattern]});
        assert_eq!(matches(&set, get(path)), expected, "{pattern} {path}");
    }
    assert!(matches(&json!({"path": ["/a", "/b"]}), get("/b")));
    assert!(!matches(&json!({"path": []}), get("/b")));
}

#[test]
fn hosts_match_by_label() {
    for (pattern, host, expected) in [
        ("example.com", "example.com", true),
        ("Example.COM", "eXample.com", true),
        ("example.com", "example.com:8080", true),
        ("example.com", "www.example.com", false),
        ("*.example.com", "www.example.com", true),
        ("*.example.com", "a.b.example.com", false),
        ("*.example.com", "example.com", false),
        ("a.*.com", "a.b.com", true),
        ("*", "localhost", true),
        ("*", "example.com", false),
        ("{http.vars.color}.com", "blue.com", true),
        ("[::1]", "[::1]:80", false),
        ("::1", "[::1]:80", true),
        ("b\u{fc}cher.de", "xn--bcher-kva.de", true),
    ] {
        let set = json!({"host": [pattern]});
        let request = Request::get("/").header("host", host);
        assert_eq!(matches(&set, request), expected, "{pattern} {host}");
    }
    let many: Vec<String> = (0..100)
        .map(|number| format!("site{number}.test"))
        .collect();
    assert!(matches(
        &json!({"host": many}),
        Request::get("http://Site42.test/")
    ));
    assert!(!matches(
        &json!({"host": many}),
        Request::get("http://site100.test/")
    ));
}

#[test]
fn fields_match_by_value() {
    for (fields, expected) in [
        (json!({"X-One": ["1"]}), true),
        (json!({"x-one": ["2", "1"]}), true),
        (json!({"X-One": ["2"]}), false),
        (json!({"X-Two": ["b"]}), true),
        (json!({"X-Two": ["a*", "z"]}), true),
        (json!({"X-Long": ["*ell*"]}), true),
        (json!({"X-Long": ["hel*"]}), true),
        (json!({"X-Long": ["*llo"]}), true),
        (json!({"X-Long": ["*"]}), true),
        (json!({"X-Long": ["ell"]}), false),
        (json!({"X-One": []}), true),
        (json!({"X-None": []}), false),
        (json!({"X-None": null}), true),
        (json!({"X-One": null}), false),
        (json!({"X-Color": ["{http.vars.color}"]}), true),
        (json!({"X-One": ["1"], "X-None": ["1"]}), false),
        (json!({"Host": ["example.com"]}), true),
    ] {
        let request = get("/")
            .header("x-one", "1")
            .header("x-two", "a")
            .header("x-two", "b")
            .header("x-color", "blue")
            .header("x-long", "hello");
        assert_eq!(
            matches(&json!({"header": fields}), request),
            expected,
            "{fields}"
        );
    }
}

#[test]
fn queries_match_by_value() {
    for (wanted, target, expected) in [
        (json!({"debug": ["1"]}), "/?debug=1", true),
        (json!({"debug": ["2"]}), "/?debug=1", false),
        (json!({"debug": ["*"]}), "/?debug=anything", true),
        (json!({"debug": ["*"]}), "/", false),
        (json!({"debug": [""]}), "/?debug", true),
        (json!({"a": ["1"], "b": ["2"]}), "/?a=1&b=2", true),
        (json!({"a": ["1"], "b": ["2"]}), "/?a=1", false),
        (json!({"a": ["1", "2"]}), "/?a=2", true),
        (json!({"a": ["1"]}), "/?a=1&b=%zz", false),
        (json!({}), "/", true),
        (json!({}), "/?a", false),
    ] {
        assert_eq!(
            matches(&json!({"query": wanted}), get(target)),
            expected,
            "{wanted} {target}"
        );
    }
}

#[test]
fn addresses_match_by_range() {
    for (ranges, expected) in [
        (json!(["192.0.2.0/24"]), true),
        (json!(["192.0.2.1"]), true),
        (json!(["192.0.2.2"]), false),
        (json!(["private_ranges"]), false),
        (json!(["2001:db8::/32", "192.0.0.0/8"]), true),
        (json!(["{http.request.remote.host}"]), true),
    ] {
        for matcher in ["remote_ip", "client_ip"] {
            let set = json!({matcher: {"ranges": ranges}});
            assert_eq!(matches(&set, get("/")), expected, "{set}");
        }
    }
}

#[test]
fn other_facts_match() {
    for (set, expected) in [
        (json!({"method": ["GET", "PUT"]}), true),
        (json!({"method": ["get"]}), true),
        (json!({"protocol": "http"}), true),
        (json!({"protocol": "https"}), false),
        (json!({"protocol": "http/1.1"}), true),
        (json!({"protocol": "http/1.0+"}), true),
        (json!({"protocol": "http/2+"}), false),
        (json!({"protocol": "grpc"}), false),
        (json!({"tls": {}}), false),
        (json!({"vars": {"color": ["red", "blue"]}}), true),
        (json!({"vars": {"{http.request.method}": ["GET"]}}), true),
        (json!({"vars": {"color": ["red"]}}), false),
        (json!({"vars_regexp": {"color": {"pattern": "^bl"}}}), true),
        (json!({"not": []}), true),
        (json!({"not": [{"method": ["GET"]}]}), false),
        (
            json!({"not": [{"method": ["PUT"]}, {"path": ["/x"]}]}),
            true,
        ),
        (json!({"not": [{"method": ["GET"], "path": ["/x"]}]}), true),
        (
            json!({"not": [{"method": ["PUT"]}, {"path": ["/*"]}]}),
            false,
        ),
        (json!({"path": ["/*"], "method": ["PUT"]}), false),
        (json!({}), true),
    ] {
        assert_eq!(matches(&set, get("/a")), expected, "{set}");
    }
}

#[test]
fn regular_expressions_capture() {
    let mut scope = Scope::new("", CompileContext::default());
    let set = json!({
        "path_regexp": {"name": "page", "pattern": "/([a-z]+)/(?P<id>[0-9]+)(x)?"},
        "header_regexp": {"X-Version": {"pattern": "^v(.*)$"}},
    });
    let set = serde_json::from_value(set).unwrap();
    let matchers = MatcherSets::compile(&[set], &mut scope);
    let site = Site::new("http:// {\n}");
    let mut exchange = site.exchange(get("//news/42").header("x-version", "v1.2"));
    assert!(matchers.matches(&mut exchange).unwrap());
    for (name, expected) in [
        ("http.regexp.page.1", "news"),
        ("http.regexp.page.id", "42"),
        ("http.regexp.page.0", "/news/42"),
        ("http.regexp.page.3", ""),
        ("http.regexp.1", "1.2"),
        ("http.regexp.id", "42"),
        ("http.regexp.page.9", "?"),
    ] {
        let template = scope.template(&format!("{{{name}}}"), crate::placeholder::Unknown::Keep);
        let expected = match expected {
            "?" => format!("{{{name}}}"),
            expected => expected.to_owned(),
        };
        assert_eq!(template.expand(&exchange), expected, "{name}");
    }
}

#[test]
fn unsupported_matchers_are_errors() {
    let errors = crate::testing::errors("http:// {\n@a expression `now() == 1`\nrespond @a ok\n}");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("match[0].expression: the expression"),
        "{errors:?}"
    );
}
