use serde_json::json;

use super::{Cached, field, request, response, status_of};
use crate::peer::run;

/// A date long ago, which makes what has it as old.
const OLD: &str = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

#[test]
fn age_counts_from_the_origin() {
    run(async {
        let mut site = Cached::start().await;
        site.fetch(
            "",
            &response("cache-control: max-age=1000\r\nage: 500\r\n", "x"),
        )
        .await;
        let (head, _) = site.kept("").await;
        let age: u64 = field(&head, "age").unwrap().parse().unwrap();
        assert!((500..600).contains(&age), "{head}");
        assert_eq!(head.matches("age: ").count(), 1, "{head}");
    });
}

#[test]
fn what_was_stale_when_it_came_is_asked_for_again() {
    run(async {
        let mut site = Cached::start().await;
        let lines = format!("cache-control: max-age=60\r\n{OLD}");
        for body in ["one", "two"] {
            let (_, found) = site.fetch("", &response(&lines, body)).await;
            assert_eq!(found, body);
        }
    });
}

#[test]
fn clients_say_how_fresh_a_response_is_to_be() {
    run(async {
        let mut site = Cached::start().await;
        let fresh = response("cache-control: max-age=1000\r\nage: 500\r\n", "x");
        site.fetch("", &fresh).await;
        for lines in [
            "cache-control: no-cache\r\n",
            "pragma: no-cache\r\n",
            "cache-control: max-age=100\r\n",
            "cache-control: min-fresh=900\r\n",
        ] {
            let (head, _) = site.fetch(lines, &fresh).await;
            assert_eq!(status_of(&head), "Portico; fwd=request; stored", "{lines}");
        }
        site.kept("cache-control: max-age=900\r\n").await;
        site.kept("cache-control: only-if-cached\r\n").await;
        let nothing = request("GET", "/nothing", "cache-control: only-if-cached\r\n");
        let (head, _) = site.kept_for(&nothing).await;
        assert!(head.starts_with("HTTP/1.1 504 "), "{head}");

        site.fetch(
            "cache-control: no-cache\r\n",
            &response("cache-control: max-age=60\r\nage: 70\r\n", "stale"),
        )
        .await;
        let (head, body) = site.kept("cache-control: max-stale=1000\r\n").await;
        assert_eq!(body, "stale");
        assert!(status_of(&head).contains("hit; ttl=-"), "{head}");
    });
}

#[test]
fn stale_response_is_given_while_one_request_refreshes_it() {
    run(async {
        let mut site = Cached::with(json!({"stale_while_revalidate": "1h"})).await;
        let stale = "cache-control: max-age=60\r\nage: 70\r\netag: \"1\"\r\n";
        site.fetch("", &response(stale, "old")).await;
        for _ in 0..3 {
            let (head, body) = site.kept("").await;
            assert_eq!(body, "old");
            assert!(status_of(&head).contains("hit; ttl=-"), "{head}");
        }
        let asked = site.asked().await;
        assert_eq!(field(&asked, "if-none-match"), Some("\"1\""));
        site.kept("").await;
        site.answer(&response("cache-control: max-age=60\r\n", "new"))
            .await;
        // It is there as soon as the proxy has read it.
        while site.kept("").await.1 != "new" {}
        assert_eq!(site.connection.unwrap().unread(), b"");
    });
}

#[test]
fn stale_response_stands_in_for_an_app_that_fails() {
    run(async {
        let mut site = Cached::start().await;
        let stale = "cache-control: max-age=60, stale-if-error=3600\r\nage: 70\r\n";
        site.fetch("", &response(stale, "old")).await;
        for failure in ["500 Oops", "502 Oops", "503 Oops", "504 Oops"] {
            let failure = format!("HTTP/1.1 {failure}\r\ncontent-length: 0\r\n\r\n");
            let (head, body) = site.fetch("", &failure).await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            assert!(
                status_of(&head).ends_with("; detail=stale-if-error"),
                "{head}"
            );
            assert_eq!(body, "old");
        }
        // Nobody listens any more.
        let Cached {
            proxy,
            upstream,
            connection,
        } = site;
        drop((upstream, connection));
        let mut client = proxy.send(&request("GET", "/", "")).await;
        let (head, body) = super::read(&mut client).await;
        assert!(
            status_of(&head).ends_with("; detail=stale-if-error"),
            "{head}"
        );
        assert_eq!(body, "old");
    });
}

#[test]
fn failure_is_passed_on_where_nothing_stale_may_be_given() {
    run(async {
        let mut site = Cached::with(json!({"stale_if_error": "1h"})).await;
        let stale = "cache-control: max-age=60, must-revalidate\r\nage: 70\r\n";
        site.fetch("", &response(stale, "old")).await;
        let (head, _) = site
            .fetch("", "HTTP/1.1 503 Oops\r\ncontent-length: 0\r\n\r\n")
            .await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert_eq!(status_of(&head), "Portico; fwd=stale");
    });
}
