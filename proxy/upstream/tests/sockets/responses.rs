use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use upstream::SendErrorKind;

use crate::peer::{Outgoing, Upstream, client, get, request, run, settle, spawn_send, text};

#[test]
fn sizes_are_known_where_the_upstream_says_them() {
    run(async {
        let cases = [
            (
                "GET",
                "200 OK\r\ncontent-length: 3\r\n\r\nabc",
                Some(3),
                "abc",
            ),
            (
                "GET",
                "200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
                None,
                "a",
            ),
            ("HEAD", "200 OK\r\ncontent-length: 3\r\n\r\n", Some(0), ""),
            (
                "GET",
                "304 Not Modified\r\ncontent-length: 3\r\n\r\n",
                Some(0),
                "",
            ),
            ("GET", "204 No Content\r\n\r\n", Some(0), ""),
            ("GET", "200 OK\r\ncontent-length: 0\r\n\r\n", Some(0), ""),
        ];
        let (upstream, client) = (Upstream::bind().await, client());
        let target = upstream.target();
        let mut connection = None;
        for (method, answer, size, body) in cases {
            let sending = spawn_send(&client, &target, request(method, "/", crate::peer::empty()));
            let connection = match &mut connection {
                Some(connection) => connection,
                none => none.insert(upstream.accept().await),
            };
            connection.head().await;
            connection.write(&format!("HTTP/1.1 {answer}")).await;
            let response = sending.await.unwrap().unwrap();
            assert_eq!(response.body().size_hint().exact(), size, "{answer}");
            assert_eq!(response.body().is_end_stream(), size == Some(0), "{answer}");
            assert_eq!(text(response).await, body);
        }
    });
}

#[test]
fn a_body_that_breaks_off_is_an_error() {
    run(async {
        for head in ["content-length: 100", "transfer-encoding: chunked"] {
            let (upstream, client) = (Upstream::bind().await, client());
            let target = upstream.target();
            let sending = spawn_send(&client, &target, get("/"));
            let mut connection = upstream.accept().await;
            connection.head().await;
            connection
                .write(&format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n4\r\npart\r\n"))
                .await;
            let response = sending.await.unwrap().unwrap();
            drop(connection);
            assert!(response.into_body().collect().await.is_err(), "{head}");
        }
    });
}

#[test]
fn a_body_without_a_length_ends_with_the_connection() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let target = upstream.target();
        let sending = spawn_send(&client, &target, get("/"));
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection
            .write("HTTP/1.0 200 OK\r\n\r\nuntil the end")
            .await;
        drop(connection);
        assert_eq!(text(sending.await.unwrap().unwrap()).await, "until the end");
    });
}

#[test]
fn trailers_go_both_ways() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let target = upstream.target();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", HeaderValue::from_static("up"));
        let frames = [
            Frame::data(Bytes::from_static(b"data")),
            Frame::trailers(trailers),
        ];
        let body: Outgoing =
            StreamBody::new(futures_util::stream::iter(frames.map(Ok))).boxed_unsync();
        let mut asked = request("POST", "/", body);
        asked
            .headers_mut()
            .insert("trailer", HeaderValue::from_static("x-checksum"));
        let sending = spawn_send(&client, &target, asked);
        let mut connection = upstream.accept().await;
        connection.head().await;
        assert_eq!(
            connection.read_to("0\r\nx-checksum: up\r\n\r\n").await,
            "4\r\ndata\r\n0\r\nx-checksum: up\r\n\r\n"
        );
        connection
            .write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n")
            .await;
        connection
            .write("2\r\nok\r\n0\r\nx-sum: down\r\n\r\n")
            .await;
        let collected = sending
            .await
            .unwrap()
            .unwrap()
            .into_body()
            .collect()
            .await
            .unwrap();
        assert_eq!(collected.trailers().unwrap()["x-sum"], "down");

        // The connection is good for more.
        let sending = spawn_send(&client, &target, get("/"));
        connection.head().await;
        connection.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        sending.await.unwrap().unwrap();
    });
}

#[test]
fn informational_responses_are_passed_over() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let target = upstream.target();
        let sending = spawn_send(&client, &target, get("/"));
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection
            .write("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
            .await;
        settle().await;
        connection
            .write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await;
        assert_eq!(text(sending.await.unwrap().unwrap()).await, "ok");
    });
}

#[test]
fn what_is_not_http_is_told_apart_from_what_is_gone() {
    run(async {
        for (answer, kind) in [
            ("SSH-2.0-OpenSSH_9.2\r\n", SendErrorKind::Protocol),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
                SendErrorKind::Protocol,
            ),
            ("", SendErrorKind::Closed),
        ] {
            let (upstream, client) = (Upstream::bind().await, client());
            let target = upstream.target();
            let sending = spawn_send(&client, &target, get("/"));
            let mut connection = upstream.accept().await;
            connection.head().await;
            connection.write(answer).await;
            drop(connection);
            let error = sending.await.unwrap().unwrap_err();
            assert_eq!(error.kind, kind, "{answer:?}: {error:?}");
            assert!(error.unsent.is_none() && !error.is_reused);
        }
    });
}

#[test]
fn a_failing_request_body_is_not_the_upstreams_fault() {
    run(async {
        let upstream = Upstream::bind().await;
        let client = upstream::Client::new(proto::sidecar::dns::Resolver::from_system().unwrap());
        let target = upstream.target();
        let frames = [
            Ok(Frame::data(Bytes::from_static(b"part"))),
            Err(std::io::Error::other("the client left")),
        ];
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        let request = http::Request::post("/")
            .header("host", "a")
            .body(body)
            .unwrap();
        let (sent, ()) = tokio::join!(client.send(&target, request), async {
            upstream.accept().await.closed().await;
        });
        let error = sent.unwrap_err();
        assert_eq!(error.kind, SendErrorKind::RequestBody);
        let cause = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source())
            .last()
            .unwrap();
        assert_eq!(cause.to_string(), "the client left");
    });
}

#[test]
fn a_body_of_unknown_length_is_sent_with_any_method() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let target = upstream.target();
        let frames = [Ok(Frame::data(Bytes::from_static(b"data")))];
        let body: Outgoing = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        let sending = spawn_send(&client, &target, request("GET", "/", body));
        let mut connection = upstream.accept().await;
        assert!(
            connection
                .head()
                .await
                .contains("transfer-encoding: chunked\r\n")
        );
        assert_eq!(
            connection.read_to("0\r\n\r\n").await,
            "4\r\ndata\r\n0\r\n\r\n"
        );
        connection.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        sending.await.unwrap().unwrap();
    });
}
