use serde_json::json;

use crate::peer::{GET, Proxy, Upstream, fields, run};

#[test]
fn fields_of_the_upstreams_connection_stay_behind() {
    run(async {
        let upstream = Upstream::bind().await;
        let handler = json!({"headers": {"response": {
            "set": {"X-Added": ["1"]}, "delete": ["X-Powered-By"],
        }}});
        let proxy = Proxy::start(handler, &[upstream.address]).await;
        let mut client = proxy.send(GET).await;
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection
            .write(
                "HTTP/1.1 200 OK\r\nConnection: X-Private, close\r\nX-Private: 1\r\n\
                 Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2\r\n\
                 Alt-Svc: h3=\":1\"\r\nServer: app\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                 X-Powered-By: x\r\nContent-Length: 0\r\n\r\n",
            )
            .await;
        let head = client.head().await;
        assert_eq!(
            fields(&head),
            [
                "content-length: 0",
                "date: Sun, 06 Nov 1994 08:49:37 GMT",
                "server: app",
                "via: 1.1 Portico",
                "x-added: 1",
            ]
        );
    });
}

#[test]
fn responses_without_content_are_framed_right() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let mut client = proxy.connect().await;
        let mut connection = None;
        for (method, answer, length) in [
            (
                "HEAD",
                "200 OK\r\ncontent-length: 5\r\n\r\n",
                Some("content-length: 5"),
            ),
            ("HEAD", "200 OK\r\ntransfer-encoding: chunked\r\n\r\n", None),
            ("GET", "204 No Content\r\n\r\n", None),
            ("GET", "304 Not Modified\r\netag: \"x\"\r\n\r\n", None),
            (
                "GET",
                "200 OK\r\ncontent-length: 0\r\n\r\n",
                Some("content-length: 0"),
            ),
        ] {
            client
                .write(&format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"))
                .await;
            let connection = match &mut connection {
                Some(connection) => connection,
                none => none.insert(upstream.accept().await),
            };
            connection.head().await;
            connection.write(&format!("HTTP/1.1 {answer}")).await;
            let head = client.head().await;
            let found = fields(&head)
                .into_iter()
                .find(|line| line.starts_with("content-length"));
            assert_eq!(found, length, "{method} {answer}");
            assert!(!head.contains("transfer-encoding"), "{head}");
            assert!(client.unread().is_empty());
        }
    });
}

#[test]
fn a_body_that_breaks_off_is_seen_to_break_off() {
    run(async {
        for framing in ["content-length: 100", "transfer-encoding: chunked"] {
            let upstream = Upstream::bind().await;
            let proxy = Proxy::start(json!({}), &[upstream.address]).await;
            let mut client = proxy.send(GET).await;
            let mut connection = upstream.accept().await;
            connection.head().await;
            connection
                .write(&format!(
                    "HTTP/1.1 200 OK\r\n{framing}\r\n\r\n4\r\npart\r\n"
                ))
                .await;
            client.read_to("part").await;
            drop(connection);
            let rest = client.rest().await;
            assert!(!rest.contains("0\r\n\r\n"), "{rest:?} looks complete");
            let log = proxy.log();
            assert!(log.contains("the upstream broke off its response"), "{log}");
        }
    });
}

#[test]
fn both_framings_at_once_are_chunks() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let mut client = proxy.send(GET).await;
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection
            .write(
                "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n\
                 2\r\nok\r\n0\r\n\r\n",
            )
            .await;
        let head = client.head().await;
        assert!(!head.contains("content-length"), "{head}");
        assert_eq!(client.read_to("0\r\n\r\n").await, "2\r\nok\r\n0\r\n\r\n");
    });
}

#[test]
fn what_cannot_be_forwarded_is_a_bad_gateway() {
    run(async {
        for answer in [
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            "garbage\r\n\r\n",
            "",
        ] {
            let upstream = Upstream::bind().await;
            let proxy = Proxy::start(json!({}), &[upstream.address]).await;
            // A GET without an answer would be sent again.
            let mut client = proxy.send(&GET.replacen("GET", "DELETE", 1)).await;
            let mut connection = upstream.accept().await;
            connection.head().await;
            connection.write(answer).await;
            drop(connection);
            let head = client.head().await;
            assert!(head.starts_with("HTTP/1.1 502 "), "{answer:?}: {head}");
        }
    });
}

#[test]
fn trailers_are_passed_on_where_the_client_takes_them() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let mut client = proxy
            .send(
                "POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntrailer: x-up\r\n\
                 transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-up: 1\r\n\r\n",
            )
            .await;
        let mut connection = upstream.accept().await;
        assert!(connection.head().await.contains("trailer: x-up\r\n"));
        assert_eq!(
            connection.read_to("x-up: 1\r\n\r\n").await,
            "2\r\nhi\r\n0\r\nx-up: 1\r\n\r\n"
        );
        connection
            .write(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-down\r\n\r\n\
                 2\r\nok\r\n0\r\nx-down: 2\r\n\r\n",
            )
            .await;
        assert!(client.head().await.contains("trailer: x-down\r\n"));
        assert_eq!(
            client.read_to("x-down: 2\r\n\r\n").await,
            "2\r\nok\r\n0\r\nx-down: 2\r\n\r\n"
        );
    });
}

#[test]
fn certain_responses_are_handled_by_routes() {
    run(async {
        let upstream = Upstream::bind().await;
        let handler = json!({"handle_response": [
            {"match": {"status_code": [404]}, "routes": [{"handle": [{
                "handler": "static_response", "status_code": 200,
                "body": "was {http.reverse_proxy.status_code}",
            }]}]},
            {"match": {"status_code": [3]}, "status_code": 203},
        ]});
        let proxy = Proxy::start(handler, &[upstream.address]).await;
        let mut client = proxy.send(GET).await;
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection
            .write("HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\ngone")
            .await;
        assert!(client.head().await.starts_with("HTTP/1.1 200 OK\r\n"));
        client.read_to("was 404").await;

        client.write(GET).await;
        // The response that nobody wanted took its connection with it.
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection
            .write("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n")
            .await;
        assert!(client.head().await.starts_with("HTTP/1.1 203 "));
    });
}
