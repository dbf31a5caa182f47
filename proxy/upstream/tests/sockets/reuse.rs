use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use upstream::{SendErrorKind, Target};

use crate::peer::{Upstream, client, get, request, run, settle, spawn_send, text};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn a_connection_serves_one_request_after_the_other() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let target = upstream.target();
        let first = spawn_send(&client, &target, get("/1"));
        let mut connection = upstream.accept().await;
        assert!(connection.head().await.starts_with("GET /1 HTTP/1.1\r\n"));
        connection.write(OK).await;
        assert_eq!(text(first.await.unwrap().unwrap()).await, "ok");

        // The same connection: nobody accepts another one.
        for body in ["chunked", "empty", "sized"] {
            let sending = spawn_send(&client, &target, get("/2"));
            connection.head().await;
            connection
                .write(match body {
                    "chunked" => {
                        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
                    }
                    "empty" => "HTTP/1.1 204 No Content\r\n\r\n",
                    _ => OK,
                })
                .await;
            text(sending.await.unwrap().unwrap()).await;
        }
    });
}

#[test]
fn requests_at_the_same_time_have_connections_of_their_own() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let target = upstream.target();
        let first = spawn_send(&client, &target, get("/1"));
        let mut one = upstream.accept().await;
        let second = spawn_send(&client, &target, get("/2"));
        let mut two = upstream.accept().await;
        two.head().await;
        two.write(OK).await;
        text(second.await.unwrap().unwrap()).await;
        one.head().await;
        one.write(OK).await;
        text(first.await.unwrap().unwrap()).await;

        // The one that was used last is used again.
        let third = spawn_send(&client, &target, get("/3"));
        assert!(one.head().await.starts_with("GET /3 "));
        one.write(OK).await;
        text(third.await.unwrap().unwrap()).await;
    });
}

#[test]
fn an_idle_connection_that_was_closed_is_replaced() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let target = upstream.target();
        let first = spawn_send(&client, &target, get("/1"));
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection.write(OK).await;
        text(first.await.unwrap().unwrap()).await;
        drop(connection);
        settle().await;

        let second = spawn_send(&client, &target, get("/2"));
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection.write(OK).await;
        text(second.await.unwrap().unwrap()).await;
    });
}

#[test]
fn a_connection_that_closes_under_a_request_says_that_it_was_reused() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let target = upstream.target();
        let first = spawn_send(&client, &target, get("/1"));
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection.write(OK).await;
        text(first.await.unwrap().unwrap()).await;

        let second = spawn_send(&client, &target, get("/2"));
        connection.head().await;
        drop(connection);
        let error = second.await.unwrap().unwrap_err();
        assert_eq!(error.kind, SendErrorKind::Closed);
        assert!(error.is_reused);
        assert!(error.unsent.is_none());
    });
}

#[test]
fn connection_close_is_obeyed() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let target = upstream.target();
        for _ in 0..2 {
            let sending = spawn_send(&client, &target, get("/"));
            let mut connection = upstream.accept().await;
            connection.head().await;
            connection
                .write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
                .await;
            assert_eq!(text(sending.await.unwrap().unwrap()).await, "ok");
            connection.closed().await;
        }
    });
}

#[test]
fn a_connection_is_not_reused_before_the_request_was_taken_whole() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let target = upstream.target();
        let (never, frames) = tokio::sync::mpsc::unbounded_channel();
        let frames = tokio_stream_of(frames);
        let body = StreamBody::new(frames).boxed_unsync();
        let sending = spawn_send(&client, &target, request("POST", "/", body));
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection
            .write("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
            .await;
        let response = sending.await.unwrap().unwrap();
        assert_eq!(response.status(), 413);
        assert_eq!(text(response).await, "no");
        connection.closed().await;
        drop(never);
    });
}

type Frames = tokio::sync::mpsc::UnboundedReceiver<Bytes>;

fn tokio_stream_of(
    mut frames: Frames,
) -> impl futures_util::Stream<Item = Result<http_body::Frame<Bytes>, std::convert::Infallible>> {
    futures_util::stream::poll_fn(move |cx| {
        frames
            .poll_recv(cx)
            .map(|bytes| bytes.map(|bytes| Ok(http_body::Frame::data(bytes))))
    })
}

#[test]
fn idle_connections_are_closed_in_time() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let mut settings = upstream.settings();
        settings.keep_alive.idle_timeout = Duration::from_millis(40);
        let target = Target::new(settings).unwrap();
        let sending = spawn_send(&client, &target, get("/"));
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection.write(OK).await;
        text(sending.await.unwrap().unwrap()).await;
        connection.closed().await;
    });
}

#[test]
fn no_more_connections_than_allowed() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let mut settings = upstream.settings();
        settings.max_connections = Some(1);
        let target = Target::new(settings).unwrap();
        let first = spawn_send(&client, &target, get("/1"));
        let mut one = upstream.accept().await;
        one.head().await;
        let second = spawn_send(&client, &target, get("/2"));
        settle().await;
        assert!(!second.is_finished());
        one.write(OK).await;
        text(first.await.unwrap().unwrap()).await;
        // The waiting one may be on another worker, so the connection is not kept.
        one.closed().await;
        let mut two = upstream.accept().await;
        two.head().await;
        two.write(OK).await;
        text(second.await.unwrap().unwrap()).await;
    });
}

#[test]
fn a_dropped_request_closes_its_connection() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let target = upstream.target();
        let sending = spawn_send(&client, &target, get("/"));
        let mut connection = upstream.accept().await;
        connection.head().await;
        sending.abort();
        connection.closed().await;
    });
}

#[test]
fn a_dropped_response_closes_its_connection() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let target = upstream.target();
        let sending = spawn_send(&client, &target, get("/"));
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection
            .write("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\npart")
            .await;
        let mut response = sending.await.unwrap().unwrap();
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "part");
        drop(response);
        connection.closed().await;
    });
}

/// Tokio makes a task pause that has done much in one go, by saying "not ready" and waking it. That
/// may happen at any step of waiting for a response.
#[test]
fn a_response_is_seen_by_a_task_that_has_to_pause() {
    const BUDGET: usize = 128;
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let target = upstream.target();
        let first = spawn_send(&client, &target, get("/"));
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection.write(OK).await;
        text(first.await.unwrap().unwrap()).await;
        for left in 0..12 {
            let (client, target) = (client.clone(), target.clone());
            let waiting = tokio::task::spawn_local(async move {
                let mut sending = std::pin::pin!(client.send(&target, get("/")));
                let mut polls = 0;
                let response = std::future::poll_fn(|cx| {
                    polls += 1;
                    // The first one sends the request, the second one is for the response.
                    for _ in left..if polls == 2 { BUDGET } else { left } {
                        let burnt = std::pin::pin!(tokio::task::coop::consume_budget()).poll(cx);
                        assert!(burnt.is_ready());
                    }
                    sending.as_mut().poll(cx)
                });
                response.await.unwrap()
            });
            connection.head().await;
            let (head, rest) = OK.split_at(OK.len() - 1);
            connection.write(head).await;
            let response = waiting.await.unwrap();
            connection.write(rest).await;
            assert_eq!(text(response).await, "ok");
        }
    });
}
