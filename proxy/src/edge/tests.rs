//! Whole requests through sites made of Caddyfiles.

mod files;
mod kept_files;
mod php;
mod robust;

use http::{Request, Response};

use crate::testing::{Site, echo, run, upstream};

#[test]
fn handlers_exclude_each_other() {
    run(async {
        let site = Site::new(
            "http:// {
                handle /a/* {
                    respond \"a {path}\"
                }
                handle_path /b/* {
                    respond \"b {path}\"
                }
                handle {
                    respond \"rest {path}\" 418
                }
            }",
        );
        assert_eq!(site.get("/a/x").await.body, "a /a/x");
        assert_eq!(site.get("/b/x").await.body, "b /x");
        let rest = site.get("/c").await;
        assert_eq!((rest.status.as_u16(), rest.body.as_str()), (418, "rest /c"));
        assert_eq!(rest.header("content-type"), "text/plain; charset=utf-8");
    });
}

#[test]
fn error_routes_answer_errors() {
    run(async {
        let site = Site::new(
            "http:// {
                header X-Early yes
                encode gzip
                handle /missing {
                    error \"nothing here\" 404
                }
                respond /fine ok
                rewrite /moved /elsewhere
                error /moved 410
                error /elsewhere 503
                handle_errors 404 410 {
                    respond \"{err.status_code} {err.status_text}: {err.message} at {path}\"
                }
            }",
        );
        let missing = site.get("/missing").await;
        assert_eq!(missing.status, 404);
        assert_eq!(missing.body, "404 Not Found: nothing here at /missing");
        assert_eq!(missing.header("x-early"), "yes");
        assert_eq!(site.get("/fine").await.body, "ok");
        let moved = site.get("/moved").await;
        assert_eq!((moved.status.as_u16(), moved.body.as_str()), (503, ""));
    });
}

#[test]
fn subroute_errors_stay_within() {
    run(async {
        let site = Site::of_document(serde_json::json!({"apps": {"http": {"servers": {"a": {
            "listen": [":80"],
            "routes": [
                {"handle": [{"handler": "subroute",
                    "routes": [
                        {"match": [{"path": ["/in"]}], "handle": [
                            {"handler": "error", "status_code": 404}]}],
                    "errors": {"routes": [
                        {"match": [{"vars": {"{http.error.status_code}": ["404"]}}],
                         "handle": [{"handler": "headers",
                            "response": {"set": {"X-Error": ["{http.error.status_code}"]}}}]}]}}]},
                {"match": [{"path": ["/after"]}], "handle": [
                    {"handler": "error", "status_code": 404}]},
                {"handle": [{"handler": "static_response", "body": "end"}]},
            ],
        }}}}}));
        // The error stays the request's, so its status is what is answered with. What follows the
        // subroute is within it too, but its error routes are run only once.
        for (path, body) in [("/in", "end"), ("/after", "")] {
            let answer = site.get(path).await;
            assert_eq!(
                (answer.status.as_u16(), answer.body.as_str()),
                (404, body),
                "{path}"
            );
            assert_eq!(answer.header("x-error"), "404", "{path}");
        }
        assert_eq!(site.get("/other").await.status, 200);
    });
}

#[test]
fn many_sites_are_found_by_host() {
    run(async {
        let mut caddyfile = String::new();
        for number in 0..200 {
            caddyfile.push_str(&format!(
                "http://site{number}.test {{\nrespond \"site {number}\"\n}}\n"
            ));
        }
        caddyfile.push_str("http://*.wild.test {\nrespond {labels.2}\n}\n");
        caddyfile.push_str("http://x.wild.test {\nrespond exact\n}\n");
        let site = Site::new(&caddyfile);
        let get = async |host: &str| site.send(Request::get("/").header("host", host)).await.body;
        assert_eq!(get("site0.test").await, "site 0");
        assert_eq!(get("SITE199.test:80").await, "site 199");
        assert_eq!(get("a.wild.test").await, "a");
        assert_eq!(get("x.wild.test").await, "exact");
        assert_eq!(get("site200.test").await, "");
    });
}

#[test]
fn routes_without_host_keep_their_place() {
    run(async {
        let host = |host: &str, body: &str, terminal: bool| {
            serde_json::json!({"match": [{"host": [host]}], "terminal": terminal, "handle": [
                {"handler": "headers", "response": {"add": {"X-Seen": [body]}}}]})
        };
        let any = |seen: &str| {
            serde_json::json!({"handle": [
                {"handler": "headers", "response": {"add": {"X-Seen": [seen]}}}]})
        };
        let routes = [
            host("a.test", "1", false),
            any("2"),
            host("b.test", "3", true),
            host("a.test", "4", false),
            host("*.test", "5", true),
            any("6"),
            host("c.other", "7", false),
        ];
        let site = Site::of_document(serde_json::json!({"apps": {"http": {"servers": {"s": {
            "listen": [":80"], "routes": routes,
        }}}}}));
        for (host, expected) in [
            ("a.test", "1, 2, 4, 5"),
            ("b.test", "2, 3"),
            ("x.y", "2, 6"),
            ("c.other", "2, 6, 7"),
        ] {
            let answer = site.send(Request::get("/").header("host", host)).await;
            assert_eq!(answer.header("x-seen"), expected, "{host}");
        }
    });
}

#[test]
fn fields_are_changed_at_once_or_at_last() {
    run(async {
        let app = upstream(|_, _| {
            Response::builder()
                .header("server", "gunicorn")
                .header("x-both", "theirs")
                .header("x-powered-by", "PHP")
                .body(String::new())
                .unwrap()
        })
        .await;
        let site = Site::new(&format!(
            "http:// {{
                header X-Both ours
                header /defer {{
                    -X-Powered-By
                    -Server
                    X-Both replaced
                    defer
                }}
                header ?X-Default fallback
                header >X-Last last
                reverse_proxy {app}
            }}"
        ));
        let plain = site.get("/").await;
        assert_eq!(plain.header("server"), "gunicorn");
        assert_eq!(plain.header("x-both"), "ours, theirs");
        assert_eq!(plain.header("x-powered-by"), "PHP");
        assert_eq!(plain.header("x-default"), "fallback");
        assert_eq!(plain.header("x-last"), "last");
        let deferred = site.get("/defer").await;
        assert_eq!(deferred.header("server"), "");
        assert_eq!(deferred.header("x-both"), "replaced");
        assert_eq!(deferred.header("x-powered-by"), "");
    });
}

#[test]
fn requests_are_changed_on_their_way() {
    run(async {
        let app = echo().await;
        let site = Site::new(&format!(
            "http:// {{
                request_header X-Added \"{{host}} {{method}}\"
                request_header -X-Gone*
                uri strip_prefix /api
                uri query +added 1
                reverse_proxy {app}
            }}"
        ));
        let request = Request::get("http://example.com/api/x?a=b")
            .header("x-gone-one", "1")
            .header("x-kept", "2");
        let body = site.send(request).await.body;
        assert!(body.starts_with("GET /x?a=b&added=1\n"), "{body}");
        assert!(body.contains("x-added: example.com GET\n"), "{body}");
        assert!(
            body.contains("x-kept: 2\n") && !body.contains("x-gone"),
            "{body}"
        );
    });
}

#[test]
fn redirects_say_where() {
    run(async {
        let site = Site::new(
            "http:// {
                redir /old/* /new{uri} permanent
                redir https://example.org{uri}
            }",
        );
        let old = site.get("/old/x?a=b").await;
        assert_eq!(
            (old.status.as_u16(), old.header("location")),
            (301, "/new/old/x?a=b".into())
        );
        let other = site.get("/x").await;
        assert_eq!(
            (other.status.as_u16(), other.header("location")),
            (302, "https://example.org/x".into())
        );
        assert_eq!(other.header("content-type"), "");
    });
}

#[test]
fn requests_that_are_malformed_are_refused() {
    run(async {
        let site = Site::new("http:// {\nrespond ok\n}");
        assert_eq!(site.send(Request::get("/")).await.status, 400);
        assert_eq!(site.get("/%zz").await.status, 400);
        let connect = Request::builder().method("CONNECT").uri("example.com:443");
        assert_eq!(site.send(connect).await.status, 405);
        let old = Request::get("/").version(http::Version::HTTP_10);
        assert_eq!(site.send(old).await.body, "ok");
    });
}

#[test]
fn challenges_are_answered_before_routes() {
    run(async {
        let site = Site::new("http:// {\nrespond routed\n}");
        let challenges = &site.worker.shared.challenges;
        challenges.insert("token".to_owned(), "token.thumbprint".to_owned());
        let path = "/.well-known/acme-challenge/token";
        assert_eq!(site.get(path).await.body, "token.thumbprint");
        assert_eq!(
            site.get("/.well-known/acme-challenge/other").await.body,
            "routed"
        );
        challenges.remove("token");
        assert_eq!(site.get(path).await.body, "routed");
    });
}

#[test]
fn bodies_are_limited() {
    run(async {
        let app = echo().await;
        let site = Site::new(&format!(
            "http:// {{\nrequest_body {{\nmax_size 5B\n}}\nreverse_proxy {app}\n}}"
        ));
        let post = || Request::post("http://example.com/").header("content-length", "5");
        assert!(
            site.send_with(post(), "12345")
                .await
                .body
                .ends_with("\n\n12345")
        );
    });
}

#[test]
fn named_routes_are_invoked() {
    run(async {
        let site = Site::new(
            "&(hello) {
                respond \"hello {path}\"
            }
            http:// {
                invoke /a hello
                respond other
            }",
        );
        assert_eq!(site.get("/a").await.body, "hello /a");
        assert_eq!(site.get("/b").await.body, "other");
    });
}

#[test]
fn maps_set_placeholders() {
    run(async {
        let site = Site::of_document(serde_json::json!({"apps": {"http": {"servers": {"a": {
            "listen": [":80"],
            "routes": [{"handle": [
                {
                    "handler": "map",
                    "source": "{http.request.uri.path}",
                    "destinations": ["{kind}", "{rest}"],
                    "mappings": [
                        {"input": "/a", "outputs": ["first", "one"]},
                        {"input_regexp": "^/b/(.*)$", "outputs": ["second", "${1}"]},
                    ],
                    "defaults": ["other", "-"],
                },
                {"handler": "static_response", "body": "{kind} {rest}"},
            ]}],
        }}}}}));
        assert_eq!(site.get("/a").await.body, "first one");
        assert_eq!(site.get("/b/xy").await.body, "second xy");
        assert_eq!(site.get("/c").await.body, "other -");
    });
}

#[test]
fn responses_are_intercepted() {
    run(async {
        let app = upstream(|head, _| {
            let status = head.uri.path()[1..].parse::<u16>().unwrap();
            Response::builder()
                .status(status)
                .header("x-app", "1")
                .body("app".to_owned())
                .unwrap()
        })
        .await;
        let site = Site::new(&format!(
            "http:// {{
                intercept {{
                    @bad status 5xx
                    handle_response @bad {{
                        respond \"replaced {{resp.status_code}} {{resp.header.X-App}}\" 200
                    }}
                    @gone status 404
                    replace_status @gone 410
                }}
                reverse_proxy {app}
            }}"
        ));
        assert_eq!(site.get("/500").await.body, "replaced 500 1");
        let gone = site.get("/404").await;
        assert_eq!((gone.status.as_u16(), gone.body.as_str()), (410, "app"));
        assert_eq!(site.get("/200").await.body, "app");
    });
}
