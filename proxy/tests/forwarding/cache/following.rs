//! Many who want the same at once.

use std::sync::Arc;

use tokio::sync::Barrier;

use super::{Cached, read, request, response, status_of};
use crate::peer::{Peer, Upstream, run};

const KEPT: &str = "cache-control: max-age=60\r\n";

/// Clients that are sure to wait for the one that is in the lead: the proxy has read all of their
/// requests once it answers one that came behind them.
async fn followers(site: &Cached, count: usize) -> Vec<Peer> {
    let mut followers = Vec::new();
    for _ in 0..count {
        followers.push(site.ask("").await);
    }
    let nothing = request("GET", "/none", "cache-control: only-if-cached\r\n");
    let mut last = site.proxy.send(&nothing).await;
    last.head().await;
    followers
}

#[test]
fn app_is_asked_once_for_what_many_want() {
    run(async {
        let mut site = Cached::start().await;
        let mut leader = site.ask("").await;
        site.asked().await;
        let mut followers = followers(&site, 5).await;
        site.answer(&response(KEPT, "for all")).await;
        assert_eq!(read(&mut leader).await.1, "for all");
        for follower in &mut followers {
            let (head, body) = read(follower).await;
            assert_eq!(status_of(&head), "Portico; fwd=uri-miss; collapsed");
            assert_eq!(body, "for all");
        }
        assert_eq!(site.connection.unwrap().unread(), b"");
    });
}

#[test]
fn body_is_shared_while_it_comes() {
    run(async {
        let mut site = Cached::start().await;
        let mut leader = site.ask("").await;
        site.asked().await;
        let mut followers = followers(&site, 2).await;
        site.answer("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 6\r\n\r\none")
            .await;
        leader.read_to("one").await;
        followers.push(site.ask("").await);
        for follower in &mut followers {
            follower.read_to("\r\n\r\none").await;
        }
        site.answer("two").await;
        leader.read_to("two").await;
        for follower in &mut followers {
            follower.read_to("two").await;
        }
    });
}

#[test]
fn followers_ask_for_themselves_where_the_response_is_not_for_them() {
    run(async {
        let mut site = Cached::start().await;
        let mut leader = site.ask("").await;
        site.asked().await;
        let mut followers = followers(&site, 3).await;
        site.answer(&response("cache-control: private\r\n", "mine"))
            .await;
        assert_eq!(read(&mut leader).await.1, "mine");
        let Cached {
            proxy,
            upstream,
            connection,
        } = site;
        tokio::spawn(answer_together(upstream, connection.unwrap(), 3));
        for follower in &mut followers {
            assert_eq!(read(follower).await.1, "own");
        }
        // And those who come soon after wait for nobody.
        let mut next = Vec::new();
        for _ in 0..3 {
            next.push(proxy.send(&request("GET", "/", "")).await);
        }
        for client in &mut next {
            assert_eq!(read(client).await.1, "own");
        }
    });
}

/// Answers requests only when `count` of them are there at once.
async fn answer_together(upstream: Upstream, first: Peer, count: usize) {
    let all = Arc::new(Barrier::new(count));
    let mut connection = first;
    loop {
        let all = Arc::clone(&all);
        tokio::spawn(async move {
            while connection.try_head().await.is_some() {
                all.wait().await;
                let own = response("cache-control: private\r\n", "own");
                connection.write(&own).await;
            }
        });
        connection = upstream.accept().await;
    }
}

#[test]
fn follower_takes_over_from_a_client_that_goes_away() {
    run(async {
        let mut site = Cached::start().await;
        let leader = site.ask("").await;
        site.asked().await;
        let mut followers = followers(&site, 3).await;
        drop(leader);
        // The request that nobody wants any more is given up.
        assert!(site.connection.take().unwrap().try_head().await.is_none());
        site.asked().await;
        site.answer(&response(KEPT, "after all")).await;
        for follower in &mut followers {
            assert_eq!(read(follower).await.1, "after all");
        }
    });
}

#[test]
fn followers_get_the_body_whose_first_client_goes_away() {
    run(async {
        let mut site = Cached::start().await;
        let mut leader = site.ask("").await;
        site.asked().await;
        let mut followers = followers(&site, 2).await;
        site.answer("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 6\r\n\r\none")
            .await;
        leader.read_to("one").await;
        for follower in &mut followers {
            follower.read_to("\r\n\r\none").await;
        }
        drop(leader);
        site.answer("two").await;
        for follower in &mut followers {
            follower.read_to("two").await;
        }
        assert_eq!(site.kept("").await.1, "onetwo");
    });
}

#[test]
fn body_that_nobody_wants_any_more_is_given_up() {
    run(async {
        let mut site = Cached::start().await;
        let mut leader = site.ask("").await;
        site.asked().await;
        site.answer("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 6\r\n\r\none")
            .await;
        leader.read_to("one").await;
        drop(leader);
        assert!(site.connection.take().unwrap().try_head().await.is_none());
    });
}

#[test]
fn slow_client_holds_up_nobody() {
    run(async {
        let mut site = Cached::start().await;
        // Far more than sockets hold of what nobody reads.
        let body = "x".repeat(1 << 20);
        let slow = site.ask("").await;
        site.asked().await;
        let mut follower = followers(&site, 1).await.remove(0);
        site.answer(&response(KEPT, &body)).await;
        assert_eq!(read(&mut follower).await.1, body);
        drop(slow);
    });
}

#[test]
fn those_who_are_to_get_something_else_are_not_held_up_by_it() {
    run(async {
        let mut site = Cached::start().await;
        let text = |body| response("cache-control: max-age=60\r\nvary: x-lang\r\n", body);
        let mut leader = site.ask("x-lang: a\r\n").await;
        site.asked().await;
        let mut other = site.ask("x-lang: b\r\n").await;
        let barrier = followers(&site, 0).await;
        drop(barrier);
        site.answer(&text("a")).await;
        assert_eq!(read(&mut leader).await.1, "a");
        site.asked().await;
        site.answer(&text("b")).await;
        assert_eq!(read(&mut other).await.1, "b");
        assert_eq!(site.kept("x-lang: a\r\n").await.1, "a");
    });
}
