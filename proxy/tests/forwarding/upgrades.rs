use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::peer::{GET, OK, Peer, Proxy, Upstream, fields, run};

const ASKING: &str = "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
                      Upgrade: WebSocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                         Upgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\n";

async fn open(proxy: &Proxy, upstream: &Upstream) -> (Peer, Peer) {
    let mut client = proxy.send(ASKING).await;
    let mut connection = upstream.accept().await;
    let head = connection.head().await;
    assert_eq!(
        fields(&head),
        [
            "connection: Upgrade",
            "host: a",
            "sec-websocket-key: x",
            "sec-websocket-version: 13",
            "upgrade: websocket",
            "via: 1.1 Portico",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: a",
            "x-forwarded-proto: http",
        ]
    );
    connection.write(SWITCHING).await;
    let head = client.head().await;
    assert!(
        head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{head}"
    );
    for line in [
        "upgrade: websocket",
        "connection: Upgrade",
        "sec-websocket-accept: y",
    ] {
        assert!(head.contains(line), "{head}");
    }
    (client, connection)
}

#[test]
fn what_is_upgraded_is_a_tunnel_with_two_ends() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let (mut client, mut connection) = open(&proxy, &upstream).await;
        connection.write("hello from the app;").await;
        client.read_to("hello from the app;").await;
        client.write("hello from the browser;").await;
        connection.read_to("hello from the browser;").await;

        // One end may be over while the other goes on.
        client.stream.shutdown().await.unwrap();
        assert_eq!(connection.rest().await, "");
        connection.write("still here;").await;
        client.read_to("still here;").await;
        drop(connection);
        assert_eq!(client.rest().await, "");
    });
}

#[test]
fn a_tunnel_outlives_a_reload_for_as_long_as_it_may() {
    run(async {
        let upstream = Upstream::bind().await;
        let mut lasting = Proxy::start(json!({}), &[upstream.address]).await;
        let (mut client, mut connection) = open(&lasting, &upstream).await;
        lasting.reload().await;
        connection.write("still here;").await;
        client.read_to("still here;").await;

        let handler = json!({"stream_close_delay": "10ms"});
        let mut ending = Proxy::start(handler, &[upstream.address]).await;
        let (mut client, mut connection) = open(&ending, &upstream).await;
        connection.write("before;").await;
        client.read_to("before;").await;
        ending.reload().await;
        assert_eq!(client.rest().await, "");
    });
}

#[test]
fn bytes_sent_along_with_the_switch_are_not_lost() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let mut client = proxy.send(&format!("{ASKING}early;")).await;
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection.write(&format!("{SWITCHING}early too;")).await;
        client.head().await;
        client.read_to("early too;").await;
        connection.read_to("early;").await;
    });
}

#[test]
fn an_upstream_may_answer_without_switching() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let mut client = proxy.send(ASKING).await;
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection
            .write("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno")
            .await;
        assert!(client.head().await.starts_with("HTTP/1.1 403 "));
        client.read_to("no").await;
        client.write(GET).await;
        connection.head().await;
        connection.write(OK).await;
        client.read_to("ok").await;
    });
}

#[test]
fn an_upstream_may_not_switch_to_something_else() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let mut client = proxy.send(ASKING).await;
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection
            .write(&SWITCHING.replace("websocket", "other"))
            .await;
        assert!(client.head().await.starts_with("HTTP/1.1 502 "));
    });
}
