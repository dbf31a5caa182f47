use super::{Cached, field, request, response, status_of};
use crate::peer::run;

const STALE: &str = "cache-control: max-age=60\r\nage: 70\r\netag: \"1\"\r\n\
                     last-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nx-version: 1\r\n";

#[test]
fn stale_response_is_validated_and_brought_up_to_date() {
    run(async {
        let mut site = Cached::start().await;
        site.fetch("", &response(STALE, "body")).await;
        let mut client = site
            .ask("if-none-match: \"other\"\r\nrange: bytes=1-2\r\n")
            .await;
        let asked = site.asked().await;
        assert_eq!(field(&asked, "if-none-match"), Some("\"1\""));
        assert_eq!(
            field(&asked, "if-modified-since"),
            Some("Sun, 06 Nov 1994 08:49:37 GMT")
        );
        assert_eq!(field(&asked, "range"), None);
        site.answer(
            "HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\ncache-control: max-age=600\r\n\
             x-version: 2\r\nset-cookie: a=b\r\n\r\n",
        )
        .await;
        let (head, body) = super::read(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 206 "), "{head}");
        assert_eq!(
            status_of(&head),
            "Portico; fwd=stale; fwd-status=304; stored"
        );
        assert_eq!(field(&head, "set-cookie"), Some("a=b"));
        assert_eq!(body, "od");

        let (head, body) = site.kept("").await;
        assert_eq!(body, "body");
        assert_eq!(field(&head, "x-version"), Some("2"));
        assert_eq!(field(&head, "content-length"), Some("4"));
        assert_eq!(field(&head, "set-cookie"), None);
    });
}

#[test]
fn fields_of_the_body_stay_with_it() {
    run(async {
        let mut site = Cached::start().await;
        site.fetch("", &response(STALE, "body")).await;
        let mut client = site.ask("").await;
        site.asked().await;
        site.answer(
            "HTTP/1.1 304 Not Modified\r\netag: \"other\"\r\ncontent-md5: x\r\ncontent-digest: y\r\n\
             content-length: 9\r\n\r\n",
        )
        .await;
        let (head, body) = super::read(&mut client).await;
        assert_eq!(field(&head, "etag"), Some("\"1\""));
        assert_eq!(field(&head, "content-length"), Some("4"));
        for name in ["content-md5", "content-digest"] {
            assert_eq!(field(&head, name), None, "{name}");
        }
        assert_eq!(body, "body");
    });
}

#[test]
fn response_that_changed_takes_the_place_of_the_one_before() {
    run(async {
        let mut site = Cached::start().await;
        site.fetch("", &response(STALE, "old")).await;
        let new = response("cache-control: max-age=60\r\netag: \"2\"\r\n", "new");
        let (head, body) = site.fetch("", &new).await;
        assert_eq!(
            (status_of(&head), body.as_str()),
            ("Portico; fwd=stale; stored", "new")
        );
        assert_eq!(site.kept("").await.1, "new");
    });
}

#[test]
fn response_that_is_always_to_be_validated_is() {
    run(async {
        let mut site = Cached::start().await;
        let lines = "cache-control: no-cache\r\netag: \"1\"\r\n";
        site.fetch("", &response(lines, "body")).await;
        for _ in 0..2 {
            let mut client = site.ask("").await;
            assert_eq!(field(&site.asked().await, "if-none-match"), Some("\"1\""));
            site.answer("HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n")
                .await;
            let (head, body) = super::read(&mut client).await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            assert_eq!(body, "body");
        }
    });
}

#[test]
fn response_that_may_not_be_kept_any_more_is_forgotten() {
    run(async {
        let mut site = Cached::start().await;
        site.fetch("", &response(STALE, "body")).await;
        let private = "HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\ncache-control: private\r\n\r\n";
        let (head, body) = site.fetch("", private).await;
        assert_eq!(status_of(&head), "Portico; fwd=stale; fwd-status=304");
        assert_eq!(body, "body");
        let (head, _) = site.fetch("", &response("", "new")).await;
        assert_eq!(status_of(&head), "Portico; fwd=uri-miss");
    });
}

#[test]
fn clients_conditions_are_decided_on_what_is_kept() {
    run(async {
        let mut site = Cached::start().await;
        let lines = "cache-control: max-age=60\r\netag: \"1\"\r\ncontent-type: text/plain\r\n";
        // The app is asked for the whole, and the client gets what it asked for.
        let mut client = site.ask("if-none-match: W/\"1\"\r\n").await;
        assert_eq!(field(&site.asked().await, "if-none-match"), None);
        site.answer(&response(lines, "body")).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 304 "), "{head}");
        for (condition, status, body) in [
            ("if-none-match: \"0\", \"1\"\r\n", "304", ""),
            ("if-none-match: \"2\"\r\n", "200", "body"),
            ("range: bytes=-3\r\n", "206", "ody"),
            ("range: bytes=1-1\r\nif-range: \"1\"\r\n", "206", "o"),
            ("range: bytes=1-1\r\nif-range: \"2\"\r\n", "200", "body"),
            ("range: bytes=0-0,2-2\r\n", "200", "body"),
            ("range: bytes=9-\r\n", "416", ""),
        ] {
            let (head, found) = site.kept(condition).await;
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status} ")),
                "{condition}{head}"
            );
            assert_eq!(found, body, "{condition}");
        }
        let (head, _) = site.kept("range: bytes=1-2\r\n").await;
        assert_eq!(field(&head, "content-range"), Some("bytes 1-2/4"));
    });
}

#[test]
fn ranges_of_what_is_not_kept_are_the_apps() {
    run(async {
        let mut site = Cached::start().await;
        let mut client = site.ask("range: bytes=0-1\r\n").await;
        assert_eq!(field(&site.asked().await, "range"), Some("bytes=0-1"));
        site.answer(
            "HTTP/1.1 206 Partial Content\r\ncache-control: max-age=60\r\n\
             content-range: bytes 0-1/4\r\ncontent-length: 2\r\n\r\nbo",
        )
        .await;
        let (head, body) = super::read(&mut client).await;
        assert_eq!(
            (status_of(&head), body.as_str()),
            ("Portico; fwd=uri-miss", "bo")
        );
        let (head, _) = site.fetch("", &response("", "body")).await;
        assert_eq!(status_of(&head), "Portico; fwd=uri-miss");
    });
}

#[test]
fn conditions_for_the_app_reach_it() {
    run(async {
        let mut site = Cached::start().await;
        site.fetch("", &response("cache-control: max-age=60\r\n", "kept"))
            .await;
        let mut client = site
            .proxy
            .send(&request("GET", "/", "if-match: \"9\"\r\n"))
            .await;
        assert_eq!(field(&site.asked().await, "if-match"), Some("\"9\""));
        site.answer("HTTP/1.1 412 Precondition Failed\r\ncontent-length: 0\r\n\r\n")
            .await;
        assert!(client.head().await.starts_with("HTTP/1.1 412 "));
    });
}
