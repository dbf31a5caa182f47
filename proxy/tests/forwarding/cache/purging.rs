//! Responses that are removed: by unsafe requests, and by whoever runs the proxy.

use super::{Cached, request, response, status_of};
use crate::peer::run;

const KEPT: &str = "cache-control: max-age=60\r\n";

async fn keep(site: &mut Cached, target: &str) {
    site.exchange(&request("GET", target, ""), &response(KEPT, target))
        .await;
    site.kept_for(&request("GET", target, "")).await;
}

/// Whether something is kept for `target`.
async fn is_kept(site: &Cached, target: &str) -> bool {
    let lines = "cache-control: only-if-cached\r\n";
    let (head, _) = site.kept_for(&request("GET", target, lines)).await;
    head.starts_with("HTTP/1.1 200 ")
}

#[test]
fn unsafe_request_that_succeeds_invalidates() {
    run(async {
        let mut site = Cached::start().await;
        for method in ["POST", "PUT", "DELETE", "PATCH", "ODD"] {
            for status in ["200 OK", "303 See Other"] {
                keep(&mut site, "/a").await;
                let text = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                let (head, _) = site.exchange(&request(method, "/a", ""), &text).await;
                assert_eq!(status_of(&head), "Portico; fwd=method");
                assert!(!is_kept(&site, "/a").await, "{method}");
            }
        }
        keep(&mut site, "/a").await;
        for (method, status) in [
            ("POST", "400 Bad"),
            ("POST", "500 Oops"),
            ("OPTIONS", "200 OK"),
        ] {
            let text = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            site.exchange(&request(method, "/a", ""), &text).await;
            assert!(is_kept(&site, "/a").await, "{method} {status}");
        }
    });
}

#[test]
fn what_the_answer_names_is_invalidated_within_the_site() {
    run(async {
        let mut site = Cached::start().await;
        for target in ["/list", "/list/1", "/list/2"] {
            keep(&mut site, target).await;
        }
        let text = "HTTP/1.1 201 Created\r\nlocation: /list/1\r\n\
                    content-location: http://other.test/list/2\r\ncontent-length: 0\r\n\r\n";
        site.exchange(&request("POST", "/list", ""), text).await;
        assert!(!is_kept(&site, "/list").await);
        assert!(!is_kept(&site, "/list/1").await);
        assert!(is_kept(&site, "/list/2").await);
    });
}

#[test]
fn response_that_was_asked_for_before_is_not_kept_afterwards() {
    run(async {
        let mut site = Cached::start().await;
        let mut before = site.ask("").await;
        site.asked().await;
        let mut asking = site.connection.take().unwrap();
        let done = "HTTP/1.1 204 No Content\r\n\r\n";
        site.exchange(&request("POST", "/", ""), done).await;
        // Who comes after it does not wait for what was asked for before it.
        let mut after = site.ask("").await;
        site.asked().await;
        asking.write(&response(KEPT, "old")).await;
        assert_eq!(super::read(&mut before).await.1, "old");
        site.answer(&response(KEPT, "new")).await;
        assert_eq!(super::read(&mut after).await.1, "new");
        assert_eq!(site.kept("").await.1, "new");
    });
}

#[test]
fn operator_purges_what_a_url_says() {
    run(async {
        let mut site = Cached::start().await;
        let all = ["/a", "/a?q=1", "/ab", "/b"];
        for target in all {
            keep(&mut site, target).await;
        }
        for (argument, removed, left) in [
            ("http://other.test/*", 0, [true, true, true, true]),
            ("http://app.test/a?q=1", 1, [true, false, true, true]),
            ("app.test/a", 1, [false, false, true, true]),
            ("https://app.test/a*", 1, [false, false, false, true]),
            ("--all", 1, [false, false, false, false]),
        ] {
            let output = site.proxy.run(&["purge", argument]);
            assert!(output.status.success(), "{output:?}");
            let said = String::from_utf8(output.stdout).unwrap();
            let responses = if removed == 1 {
                "response"
            } else {
                "responses"
            };
            assert_eq!(
                said,
                format!("Removed {removed} {responses} from the cache\n")
            );
            for (target, left) in all.into_iter().zip(left) {
                assert_eq!(is_kept(&site, target).await, left, "{argument}: {target}");
            }
        }
        for arguments in [
            &["purge"][..],
            &["purge", "--all", "app.test/"],
            &["purge", "ftp://a/"],
        ] {
            let output = site.proxy.run(arguments);
            assert_eq!(output.status.code(), Some(2), "{output:?}");
        }
    });
}

#[test]
fn responses_outlive_a_reload_that_changes_nothing_of_their_site() {
    run(async {
        let mut site = Cached::start().await;
        keep(&mut site, "/").await;
        site.proxy.reload().await;
        assert!(is_kept(&site, "/").await);
    });
}
