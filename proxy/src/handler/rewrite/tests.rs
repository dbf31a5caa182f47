//! Rewrites of method and target.

use http::Request;
use serde_json::{Value, json};

use super::Rewrite;
use crate::compile::{CompileContext, Scope};
use crate::testing::Site;

fn rewrite(options: &Value, target: &str) -> String {
    let mut scope = Scope::new("", CompileContext::default());
    let rewrite = Rewrite::compile(
        &serde_json::from_value(options.clone()).unwrap(),
        &mut scope,
    );
    assert_eq!(scope.into_errors(), []);
    let site = Site::new("http:// {\n}");
    let request = Request::get(format!("http://example.com{target}")).header("x-value", "a b&c");
    let mut exchange = site.exchange(request);
    exchange.set_replacement("http.matchers.file.relative", "/f?x%y/z".to_owned());
    rewrite.handle(&mut exchange);
    format!("{} {}", exchange.head.method, exchange.head.uri)
}

#[test]
fn targets_are_replaced_in_part() {
    for (uri, target, expected) in [
        ("/foo", "/", "/foo"),
        ("/foo", "/bar?a=b", "/foo?a=b"),
        ("/foo?c=d", "/bar?a=b", "/foo?c=d"),
        ("?c=d", "/bar?a=b", "/bar?c=d"),
        ("?", "/bar?a=b", "/bar"),
        ("/foo?", "/bar?a=b", "/foo"),
        (
            "/foo?{http.request.uri.query}&c=d",
            "/bar?a=b",
            "/foo?a=b&c=d",
        ),
        ("/foo?{http.request.uri.query}&c=d", "/bar", "/foo?c=d"),
        (
            "/index.php?p={http.request.uri.path}",
            "/foo/bar",
            "/index.php?p=%2Ffoo%2Fbar",
        ),
        ("{http.request.uri.path}/", "/a%2Fb", "/a/b/"),
        ("/x{http.request.uri.path}", "/a%3Fb", "/x/a%3Fb"),
        ("{http.matchers.file.relative}", "/", "/f%3Fx%25y/z"),
        ("/v?v={http.request.header.X-Value}", "/", "/v?v=a+b%26c"),
        ("/{http.request.header.X-Value}", "/", "/a%20b&c"),
        ("/foo#frag", "/bar", "/foo"),
        ("/a b", "/", "/a%20b"),
        ("/{http.nothing}x", "/", "/x"),
    ] {
        let result = rewrite(&json!({"uri": uri}), target);
        assert_eq!(result, format!("GET {expected}"), "{uri} on {target}");
    }
}

#[test]
fn prefixes_are_stripped() {
    for (prefix, target, expected) in [
        ("/prefix", "/prefix/foo", "/foo"),
        ("/prefix", "/prefix", "/"),
        ("prefix", "/prefix/foo?a=b", "/foo?a=b"),
        ("/prefix", "/Prefix/foo", "/foo"),
        ("/prefix", "/prefixfoo", "/foo"),
        ("/prefix", "/other/foo", "/other/foo"),
        ("/prefix", "//prefix//foo", "/foo"),
        ("//prefix", "//prefix/foo", "/foo"),
        ("/a%2Fb", "/a%2Fb/c", "/c"),
        ("/a%2Fb", "/a/b/c", "/a/b/c"),
        ("/a/b", "/a%2Fb/c", "/c"),
        ("/prefix", "/prefix/../x", "/x"),
        ("/prefix", "/prefix/a%2Fb", "/a%2Fb"),
        ("/prefix", "/prefix/a%20b", "/a%20b"),
    ] {
        let result = rewrite(&json!({"strip_path_prefix": prefix}), target);
        assert_eq!(result, format!("GET {expected}"), "{prefix} of {target}");
    }
}

#[test]
fn suffixes_are_stripped() {
    for (suffix, target, expected) in [
        (".html", "/foo.html", "/foo"),
        ("suffix", "/foo/bar/suffix", "/foo/bar/"),
        ("suffix", "/foo/bar", "/foo/bar"),
        ("b c", "/a/b%20c", "/a/"),
        ("%2fsuffix", "/foo%2fsuffix", "/foo"),
        ("/x", "/x", "/"),
    ] {
        let result = rewrite(&json!({"strip_path_suffix": suffix}), target);
        assert_eq!(result, format!("GET {expected}"), "{suffix} of {target}");
    }
}

#[test]
fn texts_are_replaced() {
    for (find, replace, limit, target, expected) in [
        (
            "findme",
            "replaced",
            0,
            "/foo/findme/bar?findme=1",
            "/foo/replaced/bar?replaced=1",
        ),
        ("a", "b", 1, "/a/a/a", "/b/a/a"),
        ("none", "x", 0, "/foo//bar", "/foo/bar"),
        ("%2F", "/", 0, "/a%2Fb", "/a/b"),
    ] {
        let options =
            json!({"uri_substring": [{"find": find, "replace": replace, "limit": limit}]});
        assert_eq!(
            rewrite(&options, target),
            format!("GET {expected}"),
            "{find} in {target}"
        );
    }
    for (find, replace, target, expected) in [
        (
            "/{2,}",
            "/",
            "/foo//bar///baz?a=b//c",
            "/foo/bar/baz?a=b//c",
        ),
        ("^/old/(.*)$", "/new/$1", "/old/x", "/new/x"),
    ] {
        let options = json!({"path_regexp": [{"find": find, "replace": replace}]});
        assert_eq!(
            rewrite(&options, target),
            format!("GET {expected}"),
            "{find} in {target}"
        );
    }
}

#[test]
fn queries_are_changed() {
    for (query, target, expected) in [
        (
            json!({"set": [{"key": "a", "val": "1"}]}),
            "/?a=2&b=3",
            "/?a=1&b=3",
        ),
        (
            json!({"add": [{"key": "a", "val": "x y"}]}),
            "/?a=2",
            "/?a=2&a=x+y",
        ),
        (json!({"delete": ["a"]}), "/?a=2", "/"),
        (
            json!({"rename": [{"key": "a", "val": "c"}]}),
            "/?a=2&b=1",
            "/?b=1&c=2",
        ),
        (
            json!({"replace": [{"key": "a", "search_regexp": "o+", "replace": "0"}]}),
            "/?a=foo&b=foo",
            "/?a=f0&b=foo",
        ),
        (
            json!({"replace": [{"key": "*", "search": "o", "replace": "x"}]}),
            "/?a=o&b=o",
            "/?a=x&b=x",
        ),
    ] {
        let options = json!({"query": query});
        assert_eq!(
            rewrite(&options, target),
            format!("GET {expected}"),
            "{options} on {target}"
        );
    }
}

#[test]
fn methods_are_replaced() {
    assert_eq!(rewrite(&json!({"method": "post"}), "/"), "POST /");
}
