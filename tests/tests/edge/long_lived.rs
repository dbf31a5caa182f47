//! Connections that stay open: WebSockets and server-sent events.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use tests::stack::{Stack, demo_site};
use tests::upstream::Upstream;
use tests::websocket::Socket;

#[tokio::test(flavor = "multi_thread")]
async fn websocket_messages_go_both_ways() -> anyhow::Result<()> {
    let (stack, _upstream) = Stack::start_demo().await?;
    let mut socket = Socket::open(stack.connect().await?, "wss://localhost/ws").await?;
    assert_eq!(socket.exchange("hello").await?, "hello");
    let long = "x".repeat(200_000);
    assert_eq!(socket.exchange(&long).await?, long);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_ends_when_the_app_ends() -> anyhow::Result<()> {
    let (stack, _upstream) = Stack::start_demo().await?;
    let mut raw = stack.raw().await?;
    raw.send(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await?;
    let head = raw.head().await?;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.to_lowercase().contains("upgrade: websocket"), "{head}");
    // No client frame may be unmasked, so the app closes the connection.
    raw.send("\u{1}\u{0}").await?;
    raw.read_to_end().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_passed_on_at_once() -> anyhow::Result<()> {
    let mut stack = Stack::new()?;
    let upstream = Upstream::start(stack.folder()).await?;
    let site = demo_site("localhost", &upstream).replacen('{', "{\n\tencode zstd gzip\n", 1);
    stack.write_caddyfile(&site)?;
    stack.start_all().await?;
    for accepted in ["identity", "gzip"] {
        let response = stack
            .client()?
            .get(stack.https("localhost", "/events?every_ms=3600000"))
            .header("accept-encoding", accepted)
            .send()
            .await?;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let first = tokio::time::timeout(Duration::from_secs(10), response.bytes_stream().next())
            .await
            .with_context(|| format!("the first event is held back ({accepted})"))?
            .context("no event")??;
        assert!(!first.is_empty());
    }
    Ok(())
}
