//! Whatever the site and the request are, there is an answer.

use http::Request;
use proptest::prelude::*;

use crate::testing::{Site, run};

/// Lines that ask nobody else, so that every answer is the proxy's own.
const LINES: &[&str] = &[
    "@m path /a* *b",
    "@m {\nmethod GET\nheader X-A *\n}",
    "@e `{path}.startsWith('/a') ? true : int({query.n}) > 1`",
    "@r path_regexp name ^/(.)(.*)$",
    "encode br gzip",
    "cache /c* {\ndefault_ttl 1s\n}",
    "error /e* \"{uri}\" 418",
    "handle /a/* {\nrespond \"{path.0} {file.ext}\"\n}",
    "handle @m {\nheader X-M {re.name.1}\n}",
    "handle_errors {\nrespond \"{err.message}\"\n}",
    "handle_path /a* {\nrespond {uri}\n}",
    "header >X-Late {http.request.uri.query.a}",
    "header X-B \"a(.)\" \"$1\"",
    "log_append k {uri}",
    "map {path} {v} {\n~^/(.) \"${1}\"\ndefault d\n}",
    "method {header.X-Method}",
    "rate_limit {query.k} 1r/m",
    "redir @r /x{re.name.2} 302",
    "request_body {\nmax_size 1\nset {v}\n}",
    "request_header -X-*",
    "respond @e expression",
    "respond \"{query} {v} {re.1} {labels.9} {unknown}\" {query.status}",
    "rewrite /r* {path}?{query}&a={uri}",
    "route {\nuri query * a b\nuri replace % /\n}",
    "uri path_regexp /+ /",
    "uri strip_prefix /%2F",
    "uri strip_suffix {file.ext}",
    "vars a {uri}",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_site_answers_any_request(
        lines in prop::collection::vec(prop::sample::select(LINES), 0..10),
        target in "/([a-r/.*{}~]|%[0-9a-fA-F]{2}|/\\.\\./){0,12}(\\?[a-n=&%+;.]{0,12})?",
        host in "[a-zA-Z0-9.-]{1,12}(:[0-9]{1,4})?",
    ) {
        run(async {
            let Some(site) = Site::try_new(&format!("http:// {{\n{}\n}}\n", lines.join("\n"))) else {
                return;
            };
            // What is no URL cannot be sent by this client.
            let Ok(uri) = format!("http://{host}{target}").parse::<http::Uri>() else {
                return;
            };
            let request = Request::get(uri).header("x-method", "PUT").header("x-a", "1");
            let _ = site.try_send(request).await;
        });
    }
}

#[test]
fn site_is_found_among_ten_thousand() {
    let mut text = String::new();
    for number in 0..10_000 {
        text.push_str(&format!(
            "http://site{number}.test {{\nrespond \"{number}\"\n}}\n"
        ));
    }
    run(async {
        let site = Site::new(&text);
        for number in [0, 1, 4999, 9999] {
            let request = Request::get(format!("http://site{number}.test/"));
            assert_eq!(site.send(request).await.body, number.to_string());
        }
        let unknown = site.send(Request::get("http://site10000.test/")).await;
        assert_eq!(unknown.body, "");
    });
}
