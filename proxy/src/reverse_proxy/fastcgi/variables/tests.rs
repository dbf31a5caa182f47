use std::collections::BTreeMap;

use http::Request;
use serde_json::json;

use super::*;
use crate::compile::Scope;
use crate::testing::{Site, run};
use crate::uri::path::decode;

/// The variables of a request for a script below `/srv/app`.
fn variables(
    transport: serde_json::Value,
    request: http::request::Builder,
) -> BTreeMap<String, String> {
    run(async move {
        let document = serde_json::from_value(transport).unwrap();
        let fastcgi = FastCgi::compile(&document, &mut Scope::default());
        let site = Site::new("http:// {\n\trespond ok\n}");
        let mut exchange = site.exchange(request);
        exchange.variables.set("root", "/srv/app".to_owned());
        let head = exchange.head.clone();
        let decoded = decode(head.uri.path());
        let made = fastcgi.variables(&exchange, &head, &decoded, 5);
        let names = made.names();
        names
            .map(|name| {
                let value = made.get(name).unwrap();
                (name.to_owned(), String::from_utf8(value.to_vec()).unwrap())
            })
            .collect()
    })
}

fn php(request: http::request::Builder) -> BTreeMap<String, String> {
    variables(json!({"split_path": [".php"]}), request)
}

#[test]
fn scripts_are_told_what_caddy_tells_them() {
    let request = Request::post("http://example.com:8080/blog/index.php/a%20b?x=1&y")
        .header("content-type", "text/plain")
        .header("x-two", "1")
        .header("x-two", "2");
    let expected = [
        ("AUTH_TYPE", ""),
        ("CONTENT_LENGTH", "5"),
        ("CONTENT_TYPE", "text/plain"),
        ("DOCUMENT_ROOT", "/srv/app"),
        ("DOCUMENT_URI", "/blog/index.php"),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("HTTP_CONTENT_TYPE", "text/plain"),
        ("HTTP_HOST", "example.com:8080"),
        ("HTTP_X_TWO", "1, 2"),
        ("PATH_INFO", "/a b"),
        ("PATH_TRANSLATED", "/srv/app/a b"),
        ("QUERY_STRING", "x=1&y"),
        ("REMOTE_ADDR", "192.0.2.1"),
        ("REMOTE_HOST", "192.0.2.1"),
        ("REMOTE_IDENT", ""),
        ("REMOTE_PORT", "1234"),
        ("REMOTE_USER", ""),
        ("REQUEST_METHOD", "POST"),
        ("REQUEST_SCHEME", "http"),
        ("REQUEST_URI", "/blog/index.php/a%20b?x=1&y"),
        ("SCRIPT_FILENAME", "/srv/app/blog/index.php"),
        ("SCRIPT_NAME", "/blog/index.php"),
        ("SERVER_ADDR", "198.51.100.1"),
        ("SERVER_NAME", "example.com"),
        ("SERVER_PORT", "8080"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_SOFTWARE", SOFTWARE),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(php(request), BTreeMap::from(expected));
}

#[test]
fn the_configuration_adds_variables() {
    let made = variables(
        json!({
            "root": "/app",
            "split_path": [".php"],
            "env": {"APP_ENV": "prod", "WHO": "{http.request.method}", "REQUEST_METHOD": "PUT"},
        }),
        Request::get("http://example.com/x.php"),
    );
    assert_eq!(made["APP_ENV"], "prod");
    assert_eq!(made["WHO"], "GET");
    assert_eq!(made["REQUEST_METHOD"], "GET");
    assert_eq!(made["SCRIPT_FILENAME"], "/app/x.php");
    assert_eq!(made["SERVER_PORT"], "80");
    assert_eq!(made["CONTENT_TYPE"], "");
    assert!(!made.contains_key("PATH_TRANSLATED"));
}

#[test]
fn forms_are_what_a_body_without_a_type_is_taken_for() {
    let made = php(Request::post("http://example.com/x.php"));
    assert_eq!(made["CONTENT_TYPE"], "application/x-www-form-urlencoded");
}

#[test]
fn clients_cannot_set_what_only_proxies_set() {
    let request = Request::get("http://example.com/x.php")
        .header("proxy", "http://evil.test")
        .header("x_forwarded_for", "127.0.0.1")
        .header("x-real", "1");
    let made = php(request);
    let fields: Vec<_> = made
        .keys()
        .filter(|name| name.starts_with("HTTP_"))
        .collect();
    assert_eq!(fields, ["HTTP_HOST", "HTTP_X_REAL"]);
}

#[test]
fn scripts_stay_below_the_root() {
    for (path, file) in [
        ("/a/../../../etc/passwd.php", "/srv/app/etc/passwd.php"),
        ("/%2e%2e/%2e%2e/x.php", "/srv/app/x.php"),
        ("//x.php", "/srv/app/x.php"),
    ] {
        let made = php(Request::get(format!("http://example.com{path}")));
        assert_eq!(made["SCRIPT_FILENAME"], file, "{path}");
    }
}

#[test]
fn without_a_split_all_of_the_path_is_information() {
    let made = variables(json!({}), Request::get("http://example.com/a/b"));
    assert_eq!(made["SCRIPT_NAME"], "");
    assert_eq!(made["SCRIPT_FILENAME"], "/srv/app");
    assert_eq!(made["PATH_INFO"], "/a/b");
}

#[test]
fn links_to_the_root_are_resolved_where_the_proxy_sees_them() {
    let folder = tempfile::tempdir().unwrap();
    let release = folder.path().join("release");
    std::fs::create_dir(&release).unwrap();
    let current = folder.path().join("current");
    std::os::unix::fs::symlink(&release, &current).unwrap();
    let resolved = |root: &std::path::Path| {
        let transport = json!({
            "root": root, "split_path": [".php"], "resolve_root_symlink": true,
        });
        variables(transport, Request::get("http://example.com/x.php"))["DOCUMENT_ROOT"].clone()
    };
    let release = release.canonicalize().unwrap();
    assert_eq!(resolved(&current), release.to_str().unwrap());
    assert_eq!(resolved("/no/such/root".as_ref()), "/no/such/root");
}
