//! Reload, drain and the spread over workers.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{self, Client, Running, wait_until};

#[tokio::test]
async fn reload_keeps_connections_and_sockets_that_stay() {
    let running = Running::plain(2, |_| {}).await;
    let tcp = TcpStream::connect(running.address).await.unwrap();
    let mut client = Client::over(tcp, false).await;
    client.get("/").await;
    let mut other = support::listener("127.0.0.1:0");
    other.max_header_bytes = 10_000;
    let mut same = support::listener("127.0.0.1:0");
    same.address = running.configured;

    running
        .server
        .apply(vec![same.clone(), other.clone()])
        .await
        .unwrap();
    assert_eq!(client.get("/kept").await, "/kept");
    let addresses = running.server.local_addresses();
    assert!(addresses.contains(&(running.configured, running.address)));
    // Both are `127.0.0.1:0`, and one address is one listener.
    assert_eq!(addresses.len(), 1);

    running.server.apply(Vec::new()).await.unwrap();
    client.closed().await;
    TcpStream::connect(running.address).await.unwrap_err();
}

#[tokio::test]
async fn reload_with_an_impossible_address_changes_nothing() {
    let running = Running::plain(2, |_| {}).await;
    let mut same = support::listener("127.0.0.1:0");
    same.address = running.configured;
    let free = support::listener("127.0.0.2:0");
    let impossible = support::listener("192.0.2.1:80");
    let error = running
        .server
        .apply(vec![same, free, impossible])
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot listen on 192.0.2.1:80 (this host has no such address)"
    );
    assert_eq!(
        running.server.local_addresses(),
        [(running.configured, running.address)]
    );
    let tcp = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(Client::over(tcp, false).await.get("/on").await, "/on");
}

#[tokio::test]
async fn drain_finishes_what_is_being_answered() {
    for is_http2 in [false, true] {
        let running = Running::tls(2, &["a.test"]).await;
        let alpn: &[&str] = if is_http2 { &["h2"] } else { &["http/1.1"] };
        let busy = running.handshake(Some("a.test"), alpn).await.unwrap();
        let mut busy = Client::over(busy, is_http2).await;
        let idle = running.handshake(Some("a.test"), alpn).await.unwrap();
        let mut idle = Client::over(idle, is_http2).await;
        idle.get("/").await;
        let server = running.server;
        let slow = tokio::spawn(async move { (busy.get("/slow").await, busy) });
        let before = server.figures().requests;
        assert!(before <= 2);
        wait_until(|| server.figures().requests == 2).await;
        let dropped = server.drain(Duration::from_secs(20)).await;
        assert_eq!(dropped, 0);
        assert_eq!(slow.await.unwrap().0, "slow");
        idle.closed().await;
        TcpStream::connect(running.address).await.unwrap_err();
    }
}

#[tokio::test]
async fn drain_drops_what_outlasts_the_grace() {
    let running = Running::plain(1, |_| {}).await;
    let tcp = TcpStream::connect(running.address).await.unwrap();
    let mut client = Client::over(tcp, false).await;
    let never = tokio::spawn(async move { client.try_get("/never").await });
    wait_until(|| running.server.figures().requests == 1).await;
    assert_eq!(running.server.drain(Duration::from_millis(100)).await, 1);
    never.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn tunnel_is_counted_and_outlives_a_reload() {
    let running = Running::plain(1, |_| {}).await;
    let mut tcp = TcpStream::connect(running.address).await.unwrap();
    tcp.write_all(
        b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
    )
    .await
    .unwrap();
    let mut head = [0; 1024];
    let read = tcp.read(&mut head).await.unwrap();
    assert!(head[..read].starts_with(b"HTTP/1.1 101"));
    wait_until(|| running.server.figures().tunnels == 1).await;
    running.server.apply(Vec::new()).await.unwrap();
    for _ in 0..3 {
        tcp.write_all(b"ping").await.unwrap();
        let mut pong = [0; 4];
        tcp.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"ping");
    }
    assert_eq!(running.server.drain(Duration::from_millis(50)).await, 1);
    assert_eq!(tcp.read(&mut head).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn thousand_connections_are_spread_over_two_workers() {
    let running = Running::tls(2, &["a.test"]).await;
    let config = support::client_config(&["http/1.1"]);
    let mut clients = Vec::new();
    for _ in 0..1000 {
        let stream = running
            .handshake_with(config.clone(), Some("a.test"))
            .await
            .unwrap();
        clients.push(Client::over(stream, false).await);
    }
    assert_eq!(running.server.figures().connections, 1000);
    let mut by_worker = std::collections::BTreeMap::new();
    for client in &mut clients {
        *by_worker.entry(client.get("/worker").await).or_insert(0) += 1;
    }
    assert_eq!(by_worker.len(), 2, "{by_worker:?}");
    assert!(
        by_worker.values().all(|count| *count > 250),
        "{by_worker:?}"
    );
    drop(clients);
    wait_until(|| running.server.figures().connections == 0).await;
}
