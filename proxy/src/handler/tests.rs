//! Handlers that look at responses or bodies, in sites made of Caddyfiles.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};

use crate::testing::{Site, echo, run, upstream};

/// An app that answers with a text of the given length and type.
async fn app(length: usize, content_type: &'static str) -> String {
    upstream(move |head, _| {
        let response = Response::builder()
            .header("content-type", content_type)
            .header("etag", "\"abc\"")
            .header("accept-ranges", "bytes");
        if head
            .headers
            .get("if-none-match")
            .is_some_and(|etag| etag == "\"abc\"")
        {
            return response.status(304).body(String::new()).unwrap();
        }
        response.body("text ".repeat(length / 5)).unwrap()
    })
    .await
}

fn get() -> http::request::Builder {
    Request::get("http://example.com/")
}

#[test]
fn responses_are_compressed_as_the_client_likes() {
    run(async {
        let app = app(2000, "text/html; charset=utf-8").await;
        let site = Site::new(&format!(
            "http:// {{\nencode zstd gzip\nreverse_proxy {app}\n}}"
        ));
        for (accepted, expected) in [
            ("gzip, zstd", "zstd"),
            ("gzip", "gzip"),
            ("gzip, zstd;q=0.5", "gzip"),
            ("br", ""),
            ("", ""),
        ] {
            let answer = site.send(get().header("accept-encoding", accepted)).await;
            assert_eq!(answer.header("content-encoding"), expected, "{accepted}");
            let is_encoded = !expected.is_empty();
            assert_eq!(
                answer.body.starts_with("text text"),
                !is_encoded,
                "{accepted}"
            );
            assert_eq!(
                answer.header("accept-ranges").is_empty(),
                is_encoded,
                "{accepted}"
            );
            let etag = match expected {
                "" => "\"abc\"".to_owned(),
                coding => format!("\"abc-{coding}\""),
            };
            assert_eq!(answer.header("etag"), etag, "{accepted}");
            let vary = if is_encoded { "Accept-Encoding" } else { "" };
            assert_eq!(answer.header("vary"), vary, "{accepted}");
        }
        let known = get()
            .header("accept-encoding", "gzip")
            .header("if-none-match", "\"abc-gzip\"");
        let known = site.send(known).await;
        assert_eq!(known.status, 304);
        assert_eq!(known.header("vary"), "Accept-Encoding");
    });
}

#[test]
fn small_and_compressed_responses_stay_as_they_are() {
    run(async {
        for (length, content_type) in [(500, "text/plain"), (5000, "image/png")] {
            let app = app(length, content_type).await;
            let site = Site::new(&format!("http:// {{\nencode gzip\nreverse_proxy {app}\n}}"));
            let answer = site.send(get().header("accept-encoding", "gzip")).await;
            assert_eq!(answer.header("content-encoding"), "", "{content_type}");
            assert_eq!(answer.body.len(), length);
        }
    });
}

#[test]
fn passwords_are_asked_for_and_remembered() {
    run(async {
        let hash = bcrypt::hash("hiccup", 8).unwrap();
        let site = Site::new(&format!(
            "http:// {{
                basic_auth {{
                    Bob {hash}
                }}
                respond \"hello {{http.auth.user.id}}\"
            }}"
        ));
        let send = async |credentials: &str| {
            let value = format!("Basic {}", STANDARD.encode(credentials));
            site.send(get().header("authorization", value)).await
        };
        let refused = site.send(get()).await;
        assert_eq!(refused.status, 401);
        assert_eq!(
            refused.header("www-authenticate"),
            "Basic realm=\"restricted\""
        );
        for credentials in ["Bob:wrong", "bob:hiccup", "Eve:hiccup", "Bob", ":"] {
            assert_eq!(send(credentials).await.status, 401, "{credentials}");
        }
        assert_eq!(send("Bob:hiccup").await.body, "hello Bob");
        let began = Instant::now();
        for _ in 0..100 {
            assert_eq!(send("Bob:hiccup").await.status, 200);
        }
        // A hundred verifications at this cost take over a second.
        assert!(began.elapsed().as_millis() < 500, "{:?}", began.elapsed());
    });
}

#[test]
fn bodies_over_the_limit_are_refused() {
    run(async {
        let app = echo().await;
        let site = Site::new(&format!(
            "http:// {{
                request_body {{
                    max_size 5
                }}
                reverse_proxy {app}
            }}"
        ));
        let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let accepted = site
            .send_raw(&format!("{head}3\r\n123\r\n2\r\n45\r\n0\r\n\r\n"))
            .await;
        assert!(accepted.ends_with("\n\n12345"), "{accepted}");
        let refused = site
            .send_raw(&format!("{head}3\r\n123\r\n3\r\n456\r\n0\r\n\r\n"))
            .await;
        assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");
        let announced = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n123456";
        let refused = site.send_raw(announced).await;
        assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");
    });
}

#[test]
fn abort_closes_the_connection() {
    run(async {
        let site = Site::new("http:// {\nabort\n}");
        assert!(site.try_send(get()).await.is_err());
    });
}

#[test]
fn bodies_can_be_replaced() {
    run(async {
        let app = echo().await;
        let site = Site::new(&format!(
            "http:// {{
                request_body {{
                    set \"from {{method}}\"
                }}
                reverse_proxy {app}
            }}"
        ));
        let answer = site
            .send_with(Request::post("http://example.com/"), "original")
            .await;
        assert!(answer.body.ends_with("\n\nfrom POST"), "{}", answer.body);
        assert!(
            answer.body.contains("content-length: 9\n"),
            "{}",
            answer.body
        );
    });
}

#[test]
fn redirect_of_a_forward_auth_stops_the_request() {
    run(async {
        let gate = upstream(|head, _| {
            let response = Response::builder();
            match head.headers.get("cookie") {
                Some(user) => response.header("remote-user", user).body(String::new()),
                None => response
                    .status(302)
                    .header("location", "/login")
                    .body("no".to_owned()),
            }
            .unwrap()
        })
        .await;
        let app = echo().await;
        let site = Site::new(&format!(
            "http:// {{
                forward_auth {gate} {{
                    uri /verify
                    copy_headers Remote-User
                }}
                reverse_proxy {app}
            }}"
        ));
        let refused = site.send(get()).await;
        assert_eq!(
            (refused.status.as_u16(), refused.header("location")),
            (302, "/login".into())
        );
        let accepted = site.send(get().header("cookie", "ann")).await;
        assert!(
            accepted.body.contains("remote-user: ann\n"),
            "{}",
            accepted.body
        );
        assert!(accepted.body.starts_with("GET /\n"), "{}", accepted.body);
    });
}

#[test]
fn answers_without_content_are_framed_right() {
    run(async {
        let app = app(2000, "text/plain").await;
        let site = Site::new(&format!(
            "http:// {{
                respond /none 204
                respond /fixed hello
                encode gzip
                reverse_proxy {app}
            }}"
        ));
        let head = async |request: &str| {
            let raw = site
                .send_raw(&format!(
                    "{request} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
                ))
                .await;
            raw.to_lowercase()
        };
        let none = head("GET /none").await;
        assert!(
            none.starts_with("http/1.1 204 ") && none.ends_with("\r\n\r\n"),
            "{none}"
        );
        assert!(
            !none.contains("content-length") && !none.contains("transfer-encoding"),
            "{none}"
        );
        let fixed = head("HEAD /fixed").await;
        assert!(
            fixed.contains("content-length: 5\r\n") && fixed.ends_with("\r\n\r\n"),
            "{fixed}"
        );
        let proxied = head("HEAD /app").await;
        assert!(proxied.contains("content-length: 2000\r\n"), "{proxied}");
        assert!(proxied.ends_with("\r\n\r\n"), "{proxied}");
        let encoded = head("HEAD /app HTTP/1.1\r\naccept-encoding: gzip\r\nx-rest:").await;
        assert!(encoded.contains("content-encoding: gzip\r\n"), "{encoded}");
        assert!(!encoded.contains("content-length"), "{encoded}");
        assert!(encoded.ends_with("\r\n\r\n"), "{encoded}");
    });
}

#[test]
fn futures_of_requests_are_small() {
    run(async {
        let site = Site::new("http:// {\nrespond ok\n}");
        let size = site.size_of_request();
        assert!(size < 5 * 1024, "{size} bytes");
    });
}

#[test]
fn requests_that_come_too_often_are_refused() {
    run(async {
        let site = Site::new(
            "http:// {\nhandle_errors {\nrespond \"{err.status_code} {http.rate_limit.exceeded.name}\"\n}\n\
             rate_limit {\nzone by_tag {\nmatch {\npath /limited*\n}\nkey {header.X-Tag}\n\
             window 1h\nevents 2\n}\n}\nrespond ok\n}",
        );
        let limited = |tag| Request::get("http://example.com/limited").header("x-tag", tag);
        for _ in 0..2 {
            assert_eq!(site.send(limited("one")).await.status, 200);
        }
        let refused = site.send(limited("one")).await;
        assert_eq!(
            (refused.status.as_u16(), &*refused.body),
            (429, "429 by_tag")
        );
        let wait: u32 = refused.header("retry-after").parse().unwrap();
        assert!((3500..=3600).contains(&wait), "{wait}");
        assert_eq!(site.send(limited("two")).await.status, 200);
        for _ in 0..5 {
            assert_eq!(site.get("/open").await.status, 200);
        }
    });
}

#[test]
fn rate_is_written_in_one_line_too() {
    run(async {
        let site = Site::new("http:// {\nrate_limit {header.X-Tag} 1r/m\nrespond ok\n}");
        let tagged = || get().header("x-tag", "a");
        assert_eq!(site.send(tagged()).await.status, 200);
        assert_eq!(site.send(tagged()).await.status, 429);
    });
}

#[test]
fn responses_are_compressed_with_brotli_where_that_is_asked_for() {
    run(async {
        let app = app(2000, "text/html").await;
        let site = Site::new(&format!(
            "http:// {{\nencode {{\nbr 5\n}}\nreverse_proxy {app}\n}}"
        ));
        let answer = site.send(get().header("accept-encoding", "gzip, br")).await;
        assert_eq!(answer.header("content-encoding"), "br");
    });
}

#[test]
fn directives_without_effect_change_nothing() {
    run(async {
        let site = Site::new("http:// {\ntracing\npush /app.js\nrespond ok\n}");
        assert_eq!(site.get("/").await.body, "ok");
    });
}
