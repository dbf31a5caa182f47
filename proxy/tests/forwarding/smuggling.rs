use serde_json::json;

use crate::peer::{OK, Proxy, Upstream, run};

/// What is answered to bytes that must not reach an upstream.
async fn refused(request: &str) -> String {
    let upstream = Upstream::bind().await;
    let proxy = Proxy::start(json!({}), &[upstream.address]).await;
    let mut client = proxy.send(request).await;
    tokio::select! {
        head = client.head() => head,
        _ = upstream.accept() => panic!("{request:?} was forwarded"),
    }
}

#[test]
fn requests_of_doubtful_length_are_refused() {
    run(async {
        for (lines, status) in [
            ("Content-Length: 5\r\nContent-Length: 6\r\n", "400"),
            ("Content-Length: 5, 6\r\n", "400"),
            ("Content-Length: +5\r\n", "400"),
            ("Content-Length: 0x5\r\n", "400"),
            ("Content-Length: -1\r\n", "400"),
            ("Content-Length:\r\n", "400"),
            ("Content-Length : 5\r\n", "400"),
            ("Transfer-Encoding: identity\r\n", "400"),
            ("Transfer-Encoding: chunked, identity\r\n", "400"),
            ("Transfer-Encoding: xchunked\r\n", "400"),
            ("Transfer-Encoding : chunked\r\n", "400"),
            ("Transfer-Encoding: gzip, chunked\r\n", "501"),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                "501",
            ),
            (" folded: 1\r\n", "400"),
            ("X: 1\r\n Transfer-Encoding: chunked\r\n", "400"),
            ("X: a\0b\r\n", "400"),
        ] {
            let head = refused(&format!(
                "POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n0\r\n\r\n"
            ))
            .await;
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status} ")),
                "{lines:?}: {head}"
            );
        }
        let head =
            refused("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        assert!(head.contains(" 400 "), "{head}");
    });
}

#[test]
fn chunks_go_before_a_length_and_end_the_connection() {
    run(async {
        for lines in [
            "Content-Length: 40\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 40\r\n",
        ] {
            let upstream = Upstream::bind().await;
            let proxy = Proxy::start(json!({}), &[upstream.address]).await;
            let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
            let mut client = proxy
                .send(&format!(
                    "POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n0\r\n\r\n{smuggled}"
                ))
                .await;
            let mut connection = upstream.accept().await;
            let head = connection.head().await;
            assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
            assert!(!head.contains("content-length"), "{head}");
            connection.read_to("0\r\n\r\n").await;
            connection.write(OK).await;
            let answer = client.rest().await;
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        }
    });
}

#[test]
fn an_equal_length_said_twice_is_sent_once() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let twice = "Content-Length: 2\r\nContent-Length: 2\r\n";
        let mut client = proxy
            .send(&format!("POST / HTTP/1.1\r\nHost: a\r\n{twice}\r\nhi"))
            .await;
        let mut connection = upstream.accept().await;
        let head = connection.head().await;
        assert_eq!(head.matches("content-length: 2\r\n").count(), 1, "{head}");
        connection.read_to("hi").await;
        connection.write(OK).await;
        client.read_to("ok").await;
    });
}

#[test]
fn a_connection_field_hides_neither_host_nor_length() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let lines = "Host: a\r\nConnection: host, content-length, x-forwarded-for\r\n";
        let mut client = proxy
            .send(&format!(
                "POST / HTTP/1.1\r\n{lines}Content-Length: 2\r\n\r\nhi"
            ))
            .await;
        let mut connection = upstream.accept().await;
        let head = connection.head().await;
        for line in [
            "host: a\r\n",
            "content-length: 2\r\n",
            "x-forwarded-for: 127.0.0.1\r\n",
        ] {
            assert!(head.contains(line), "{head}");
        }
        connection.write(OK).await;
        client.read_to("ok").await;
    });
}

#[test]
fn an_upgrade_to_http2_is_not_passed_on() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let lines = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n";
        let mut client = proxy
            .send(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
            .await;
        let mut connection = upstream.accept().await;
        let head = connection.head().await;
        assert!(
            !head.contains("upgrade") && !head.contains("http2-settings"),
            "{head}"
        );
        connection.write(OK).await;
        client.read_to("ok").await;
    });
}
