use serde_json::json;

use super::{Cached, field, request, response, status_of};
use crate::peer::{Proxy, Upstream, run};

#[test]
fn response_is_kept_for_others() {
    run(async {
        let mut site = Cached::start().await;
        let text = response("cache-control: s-maxage=60\r\nx-app: 1\r\n", "hello");
        let (head, body) = site.fetch("", &text).await;
        assert_eq!(status_of(&head), "Portico; fwd=uri-miss; stored");
        assert_eq!((body.as_str(), field(&head, "age")), ("hello", None));

        let (head, body) = site.kept("").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(status_of(&head).starts_with("Portico; hit; ttl="), "{head}");
        assert_eq!(body, "hello");
        assert_eq!(field(&head, "x-app"), Some("1"));
        assert!(field(&head, "age").is_some() && field(&head, "date").is_some());
    });
}

#[test]
fn head_is_answered_from_what_get_was() {
    run(async {
        let mut site = Cached::start().await;
        let text = response("cache-control: max-age=60\r\n", "hello");
        // By itself it is asked for, and gives nothing to keep.
        let head = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 5\r\n\r\n";
        for _ in 0..2 {
            let mut client = site.proxy.send(&request("HEAD", "/", "")).await;
            assert!(site.asked().await.starts_with("HEAD / "));
            site.answer(head).await;
            assert_eq!(status_of(&client.head().await), "Portico; fwd=uri-miss");
        }
        site.fetch("", &text).await;
        let mut client = site.proxy.send(&request("HEAD", "/", "")).await;
        let head = client.head().await;
        assert!(status_of(&head).contains("; hit;"), "{head}");
        assert_eq!(field(&head, "content-length"), Some("5"));
        assert_eq!(client.unread(), b"");
    });
}

#[test]
fn what_is_for_one_client_is_not_kept() {
    run(async {
        let mut site = Cached::with(json!({"default_ttl": "1m"})).await;
        for (client, app) in [
            ("", "cache-control: private, max-age=60\r\n"),
            ("", "cache-control: no-store\r\n"),
            ("", "cache-control: max-age=60\r\nset-cookie: a=b\r\n"),
            ("", "cache-control: max-age=60\r\nvary: *\r\n"),
            (
                "authorization: Basic eDp5\r\n",
                "cache-control: max-age=60\r\n",
            ),
            ("cookie: session=1\r\n", ""),
            (
                "cache-control: no-store\r\n",
                "cache-control: max-age=60\r\n",
            ),
        ] {
            for _ in 0..2 {
                let (head, body) = site.fetch(client, &response(app, "mine")).await;
                assert!(!status_of(&head).contains("stored"), "{client}{app}{head}");
                assert_eq!(body, "mine");
            }
        }
        site.fetch("", &response("", "ours")).await;
        assert_eq!(site.kept("").await.1, "ours");
    });
}

#[test]
fn sites_and_queries_do_not_share() {
    run(async {
        let mut site = Cached::start().await;
        let of =
            |host: &str, target: &str| format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let all = [
            ("a.test", "/"),
            ("b.test", "/"),
            ("a.test", "/?x"),
            ("a.test", "/?y"),
        ];
        for (host, target) in all {
            let text = response("cache-control: max-age=60\r\n", &format!("{host}{target}"));
            site.exchange(&of(host, target), &text).await;
        }
        for (host, target) in all {
            let (_, body) = site.kept_for(&of(host, target)).await;
            assert_eq!(body, format!("{host}{target}"));
        }
        let (_, body) = site.kept_for(&of("A.test:80", "/?x")).await;
        assert_eq!(body, "a.test/?x");
    });
}

#[test]
fn requests_are_told_apart_by_what_the_app_varies_by() {
    run(async {
        let mut site = Cached::start().await;
        let text = |body| {
            response(
                "cache-control: max-age=60\r\nvary: accept-language\r\n",
                body,
            )
        };
        site.fetch("accept-language: de\r\n", &text("hallo")).await;
        let (head, _) = site.fetch("accept-language: fr\r\n", &text("salut")).await;
        assert_eq!(status_of(&head), "Portico; fwd=vary-miss; stored");
        assert_eq!(site.kept("accept-language: de\r\n").await.1, "hallo");
        assert_eq!(site.kept("accept-language:  fr \r\n").await.1, "salut");
    });
}

#[test]
fn body_that_breaks_off_is_not_kept() {
    run(async {
        for framing in ["content-length: 100\r\n", "transfer-encoding: chunked\r\n"] {
            let mut site = Cached::start().await;
            let mut client = site.ask("").await;
            site.asked().await;
            site.answer(&format!(
                "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n{framing}\r\n4\r\npart\r\n"
            ))
            .await;
            client.read_to("part").await;
            site.connection = None;
            assert!(!client.rest().await.contains("0\r\n\r\n"));
            let (head, _) = site.fetch("", &response("", "new")).await;
            assert!(status_of(&head).contains("fwd=uri-miss"), "{head}");
        }
    });
}

#[test]
fn body_that_is_too_large_is_passed_on_and_not_kept() {
    run(async {
        let mut site = Cached::with(json!({"max_body": 8})).await;
        let (head, body) = site
            .fetch("", &response("cache-control: max-age=60\r\n", "123456789"))
            .await;
        assert_eq!(
            (status_of(&head), body.as_str()),
            ("Portico; fwd=uri-miss", "123456789")
        );
        // Where the length is not announced, it turns out on the way.
        let mut client = site.ask("").await;
        site.asked().await;
        site.answer(
            "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\r\n\
             4\r\n1234\r\n",
        )
        .await;
        client.read_to("4\r\n1234\r\n").await;
        site.answer("5\r\n56789\r\n").await;
        client.read_to("5\r\n56789\r\n").await;
        site.answer("2\r\nab\r\n0\r\n\r\n").await;
        client.read_to("2\r\nab\r\n0\r\n\r\n").await;
        let (head, _) = site.fetch("", &response("", "new")).await;
        assert!(status_of(&head).contains("fwd=uri-miss"), "{head}");
    });
}

#[test]
fn body_goes_to_the_client_while_it_comes_and_is_kept_at_its_end() {
    run(async {
        let mut site = Cached::start().await;
        let mut client = site.ask("").await;
        site.asked().await;
        site.answer(
            "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\r\n\
             5\r\nhello\r\n",
        )
        .await;
        client.read_to("5\r\nhello\r\n").await;
        site.answer("6\r\n world\r\n0\r\n\r\n").await;
        client.read_to("6\r\n world\r\n0\r\n\r\n").await;
        let (head, body) = site.kept("").await;
        assert_eq!(
            (body.as_str(), field(&head, "content-length")),
            ("hello world", Some("11"))
        );
    });
}

#[test]
fn trailers_are_passed_on_and_such_a_response_is_not_kept() {
    run(async {
        let mut site = Cached::start().await;
        let mut client = site.ask("te: trailers\r\n").await;
        site.asked().await;
        site.answer(
            "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntrailer: x-sum\r\n\
             transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n",
        )
        .await;
        client.read_to("x-sum: 1\r\n\r\n").await;
        let (head, _) = site.fetch("", &response("", "new")).await;
        assert!(status_of(&head).contains("fwd=uri-miss"), "{head}");
    });
}

#[test]
fn fields_that_the_site_sets_are_every_answers_own() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start_with(json!([{"handle": [
            {"handler": "headers", "response": {"set": {"X-Id": ["{http.request.uuid}"]}}},
            {"handler": "cache"},
            {"handler": "reverse_proxy", "upstreams": [{"dial": upstream.address.to_string()}]},
        ]}]))
        .await;
        let mut site = Cached {
            proxy,
            upstream,
            connection: None,
        };
        let (head, _) = site
            .fetch("", &response("cache-control: max-age=60\r\n", "x"))
            .await;
        let first = field(&head, "x-id").unwrap().to_owned();
        let (head, _) = site.kept("").await;
        let ids: Vec<_> = head
            .lines()
            .filter(|line| line.starts_with("x-id:"))
            .collect();
        assert_eq!(ids.len(), 1, "{head}");
        assert!(!ids[0].contains(&first), "{head}");
    });
}

#[test]
fn upgrades_and_requests_with_bodies_go_by() {
    run(async {
        let mut site = Cached::start().await;
        site.fetch("", &response("cache-control: max-age=60\r\n", "kept"))
            .await;
        let body = "GET / HTTP/1.1\r\nhost: app.test\r\ncontent-length: 1\r\n\r\nx";
        let (head, answer) = site
            .exchange(body, &response("cache-control: max-age=60\r\n", "own"))
            .await;
        assert_eq!(
            (status_of(&head), answer.as_str()),
            ("Portico; fwd=bypass", "own")
        );
        let upgrade = request("GET", "/", "connection: upgrade\r\nupgrade: websocket\r\n");
        let mut client = site.proxy.send(&upgrade).await;
        site.asked().await;
        site.answer(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        )
        .await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "));
        site.answer("ping").await;
        client.read_to("ping").await;
        site.connection = None;
        assert_eq!(site.kept("").await.1, "kept");
    });
}
