//! Message framing: hop-by-hop fields, trailers, `Expect`, early answers, broken messages.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::StatusCode;
use hyper_util::rt::TokioIo;
use tests::client;
use tests::demo::{Echo, Received};
use tests::stack::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn hop_by_hop_fields_end_at_the_edge() -> anyhow::Result<()> {
    let (stack, _upstream) = Stack::start_demo().await?;
    let mut raw = stack.raw().await?;
    raw.send(
        "GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close, x-private\r\nX-Private: 1\r\n\
         Keep-Alive: timeout=5\r\nProxy-Authorization: Basic eDp5\r\nTE: trailers\r\n\
         X-Public: 2\r\n\r\n",
    )
    .await?;
    let response = raw.read_to_end().await?;
    let (head, body) = response.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let json = &body[body.find('{').expect("JSON")..=body.rfind('}').expect("JSON")];
    let echo: Echo = serde_json::from_str(json)?;
    for field in [
        "x-private",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
    ] {
        assert!(echo.header(field).is_empty(), "{field} reached the app");
    }
    assert_eq!(echo.header("x-public"), ["2"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_a_response_arrive() -> anyhow::Result<()> {
    let (stack, _upstream) = Stack::start_demo().await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stack.connect().await?)).await?;
    tokio::spawn(connection);
    let request = http::Request::get("/trailers")
        .header("host", "localhost")
        .header("te", "trailers")
        .body(Full::<Bytes>::default())?;
    let body = sender
        .send_request(request)
        .await?
        .into_body()
        .collect()
        .await?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    assert_eq!(
        trailers.get("x-checksum").map(|value| value.as_bytes()),
        Some(&b"abc123"[..])
    );
    assert_eq!(body.to_bytes(), "body\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_a_request_arrive() -> anyhow::Result<()> {
    let (stack, _upstream) = Stack::start_demo().await?;
    let mut raw = stack.raw().await?;
    raw.send(
        "POST /upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTrailer: x-checksum\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-checksum: abc123\r\n\r\n",
    )
    .await?;
    let response = raw.read_to_end().await?;
    let json = &response[response.find('{').expect("JSON")..=response.rfind('}').expect("JSON")];
    let received: Received = serde_json::from_str(json)?;
    assert_eq!(received.bytes, 5);
    assert_eq!(
        received.trailers,
        [("x-checksum".to_owned(), "abc123".to_owned())]
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_expects_100_gets_it() -> anyhow::Result<()> {
    let (stack, _upstream) = Stack::start_demo().await?;
    let mut raw = stack.raw().await?;
    raw.send(
        "POST /upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    )
    .await?;
    assert!(raw.head().await?.starts_with("HTTP/1.1 100 "));
    raw.send("hello").await?;
    assert!(raw.read_to_end().await?.contains("\"bytes\":5"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_refusal_reaches_a_client_that_still_sends() -> anyhow::Result<()> {
    let (stack, _upstream) = Stack::start_demo().await?;
    let response = stack
        .client()?
        .post(stack.https("localhost", "/early"))
        .body(vec![0; 8 * 1024 * 1024])
        .send()
        .await?;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(response.text().await?, "not read\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_cut_short_does_not_look_whole() -> anyhow::Result<()> {
    let (stack, _upstream) = Stack::start_demo().await?;
    for client in [stack.client()?, client::http1(&stack.roots()?)?] {
        let response = client.get(stack.https("localhost", "/cut")).send().await?;
        assert!(response.bytes().await.is_err());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_lengths_are_refused() -> anyhow::Result<()> {
    let (stack, _upstream) = Stack::start_demo().await?;
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: +5",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
    ] {
        let mut raw = stack.raw().await?;
        let request = format!("POST /echo HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\nhello");
        raw.send(&request).await?;
        let head = raw.head().await?;
        assert!(
            head.starts_with("HTTP/1.1 400 ") || head.starts_with("HTTP/1.1 501 "),
            "{fields}: {head}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_does_not_disturb_others() -> anyhow::Result<()> {
    let (stack, _upstream) = Stack::start_demo().await?;
    let client = stack.client()?;
    for _ in 0..20 {
        let request = client
            .get(stack.https("localhost", "/slow?ms=60000"))
            .send();
        assert!(
            tokio::time::timeout(Duration::from_millis(20), request)
                .await
                .is_err()
        );
    }
    let answer = client
        .get(stack.https("localhost", "/status/200"))
        .send()
        .await?;
    assert_eq!(answer.status(), StatusCode::OK);
    Ok(())
}
