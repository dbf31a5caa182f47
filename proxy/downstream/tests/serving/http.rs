//! Requests and connections: limits, timeouts, clients that leave.

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{self, Client, Running, wait_until};

#[tokio::test]
async fn http2_in_plaintext_is_recognized_where_it_is_spoken() {
    let running = Running::plain(1, |listener| listener.http2 = true).await;
    let tcp = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(Client::over(tcp, true).await.get("/a").await, "/a");
    let tcp = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(Client::over(tcp, false).await.get("/b").await, "/b");
}

#[tokio::test]
async fn head_that_is_too_large_is_refused() {
    let running = Running::plain(1, |listener| listener.max_header_bytes = 8192).await;
    let mut client = Client::over(TcpStream::connect(running.address).await.unwrap(), false).await;
    let request = Request::get("/")
        .header("host", "a.test")
        .header("x-large", "x".repeat(10_000))
        .body(support::Body::default())
        .unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(
        response.status(),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
}

#[tokio::test]
async fn client_that_is_slow_or_idle_is_given_up() {
    let running = Running::plain(1, |listener| {
        listener.timeouts.read_header = Duration::from_secs(1);
        listener.timeouts.idle = Duration::from_secs(1);
    })
    .await;
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    let mut slow = TcpStream::connect(running.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    let idle = TcpStream::connect(running.address).await.unwrap();
    let mut idle = Client::over(idle, false).await;
    idle.get("/").await;
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).await.unwrap();
    slow.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");
    idle.closed().await;
    wait_until(|| running.server.figures().connections == 0).await;
}

#[tokio::test]
async fn half_closed_client_gets_its_answer() {
    let running = Running::plain(1, |_| {}).await;
    let mut tcp = TcpStream::connect(running.address).await.unwrap();
    tcp.write_all(b"GET /half HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    tcp.shutdown().await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("/half"), "{answer:?}");
}

#[tokio::test]
async fn request_of_a_client_that_went_away_is_dropped() {
    for is_tls in [false, true] {
        let running = if is_tls {
            Running::tls(1, &["a.test"]).await
        } else {
            Running::plain(1, |_| {}).await
        };
        let tcp: Box<dyn support::Io> = if is_tls {
            Box::new(
                running
                    .handshake(Some("a.test"), &["http/1.1"])
                    .await
                    .unwrap(),
            )
        } else {
            Box::new(TcpStream::connect(running.address).await.unwrap())
        };
        let mut client = Client::over(tcp, false).await;
        {
            let asked = client.get("/never");
            tokio::pin!(asked);
            tokio::select! {
                _ = &mut asked => panic!("it never answers"),
                () = wait_until(|| running.server.figures().requests == 1) => {}
            }
        }
        assert_eq!(running.server.figures().connections, 1);
        drop(client);
        wait_until(|| running.server.figures().connections == 0).await;
    }
}

#[tokio::test]
async fn answer_survives_an_upload_that_nobody_reads() {
    let running = Running::plain(1, |_| {}).await;
    for _ in 0..20 {
        let mut tcp = TcpStream::connect(running.address).await.unwrap();
        tcp.write_all(b"POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n")
            .await
            .unwrap();
        tcp.write_all(&vec![b'x'; 3_000_000]).await.unwrap();
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).await.unwrap();
        assert!(
            answer.starts_with(b"HTTP/1.1 413"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
}

#[tokio::test]
async fn panic_of_a_handler_costs_one_connection() {
    let running = Running::plain(1, |_| {}).await;
    let tcp = TcpStream::connect(running.address).await.unwrap();
    Client::over(tcp, false)
        .await
        .try_get("/panic")
        .await
        .unwrap_err();
    let tcp = TcpStream::connect(running.address).await.unwrap();
    let mut client = Client::over(tcp, false).await;
    assert_eq!(client.get("/on").await, "/on");
    client.try_get("/abort").await.unwrap_err();
    wait_until(|| running.server.figures().connections == 0).await;
}

#[tokio::test]
async fn streamed_bodies_pass_in_both_directions() {
    let running = Running::tls(1, &["a.test"]).await;
    for is_http2 in [false, true] {
        let alpn: &[&str] = if is_http2 { &["h2"] } else { &["http/1.1"] };
        let stream = running.handshake(Some("a.test"), alpn).await.unwrap();
        let mut client = Client::over(stream, is_http2).await;
        let sent = vec![b'z'; 5_000_000];
        let request = Request::post("https://a.test/echo")
            .header("host", "a.test")
            .body(support::Body::from(sent.clone()))
            .unwrap();
        let response = client.send(request).await.unwrap();
        let received = response.into_body().collect().await.unwrap().to_bytes();
        assert!(received == sent, "{} bytes came back", received.len());
    }
}

#[tokio::test]
async fn body_that_does_not_come_is_given_up() {
    let running = Running::plain(1, |listener| {
        listener.timeouts.read = Some(Duration::from_secs(1));
    })
    .await;
    let mut stalled = TcpStream::connect(running.address).await.unwrap();
    stalled
        .write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        .await
        .unwrap();
    // One that is all there may take as long as it likes to be answered.
    let slow = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(Client::over(slow, false).await.get("/slow").await, "slow");
    let mut rest = Vec::new();
    // Whether by a reset or an end, it is over.
    let _ = stalled.read_to_end(&mut rest).await;
    assert!(
        rest.ends_with(b"half"),
        "{}",
        String::from_utf8_lossy(&rest)
    );
}

#[tokio::test]
async fn connection_at_rest_goes_on_where_it_was() {
    let plain = Running::plain(1, |_| {}).await;
    let tls = Running::tls(1, &["a.test"]).await;
    let mut unused = TcpStream::connect(plain.address).await.unwrap();
    let mut begun = TcpStream::connect(plain.address).await.unwrap();
    begun
        .write_all(b"GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /tw")
        .await
        .unwrap();
    let stream = tls.handshake(Some("a.test"), &["http/1.1"]).await.unwrap();
    let mut used = Client::over(stream, false).await;
    for path in ["/first", "/second"] {
        assert_eq!(used.get(path).await, path);
        // Longer than a connection keeps its buffers.
        tokio::time::sleep(Duration::from_millis(3500)).await;
    }
    assert_eq!(used.get("/third").await, "/third");

    let mut answer = [0; 1024];
    unused
        .write_all(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let read = unused.read(&mut answer).await.unwrap();
    assert!(answer[..read].ends_with(b"/late"));
    let read = begun.read(&mut answer).await.unwrap();
    assert!(answer[..read].ends_with(b"/one"));
    begun
        .write_all(b"o HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let read = begun.read(&mut answer).await.unwrap();
    assert!(answer[..read].ends_with(b"/two"));

    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(tls.server.drain(Duration::from_secs(10)).await, 0);
    used.closed().await;
}
