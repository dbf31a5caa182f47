use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::peer::{GET, OK, Peer, Proxy, Upstream, run};

const CHUNK: &[u8] = &[7; 64 << 10];

/// How many bytes two connections and the proxy between them may hold: the kernel lets the buffers of
/// their four sockets grow up to its limits, which differ from machine to machine.
fn bound() -> usize {
    let limit = |name: &str| {
        let limits = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap();
        let largest = limits.split_whitespace().nth(2).unwrap();
        largest.parse::<usize>().unwrap()
    };
    2 * (limit("tcp_rmem") + limit("tcp_wmem")) + (2 << 20)
}

/// Writes until nothing more is taken for a while; returns how much was.
async fn fill(stream: &mut TcpStream, size: usize) -> usize {
    let mut written = 0;
    while written < size {
        let chunk = &CHUNK[..CHUNK.len().min(size - written)];
        match timeout(Duration::from_millis(500), stream.write(chunk)).await {
            Ok(count) => written += count.unwrap(),
            Err(_stalled) => break,
        }
    }
    written
}

/// Writes the rest on one side and reads all on the other.
async fn finish(from: &mut TcpStream, mut written: usize, size: usize, to: &mut Peer) -> usize {
    let writing = async {
        while written < size {
            written += from
                .write(&CHUNK[..CHUNK.len().min(size - written)])
                .await
                .unwrap();
        }
    };
    let reading = async {
        let mut read = to.unread().len();
        let mut buffer = vec![0; CHUNK.len()];
        while read < size {
            read += to.stream.read(&mut buffer).await.unwrap();
        }
        read
    };
    tokio::join!(writing, reading).1
}

#[test]
fn a_download_waits_for_a_slow_client() {
    run(async {
        let size = 2 * bound();
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let mut client = proxy.send(GET).await;
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection
            .write(&format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n"
            ))
            .await;
        let written = fill(&mut connection.stream, size).await;
        assert!(
            written < bound(),
            "{written} bytes were taken that nobody read"
        );
        client.head().await;
        assert_eq!(
            finish(&mut connection.stream, written, size, &mut client).await,
            size
        );
    });
}

#[test]
fn an_upload_waits_for_a_slow_upstream() {
    run(async {
        let size = 2 * bound();
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let mut client = proxy
            .send(&format!(
                "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n"
            ))
            .await;
        let mut connection = upstream.accept().await;
        connection.head().await;
        let written = fill(&mut client.stream, size).await;
        assert!(
            written < bound(),
            "{written} bytes were taken that nobody read"
        );
        assert_eq!(
            finish(&mut client.stream, written, size, &mut connection).await,
            size
        );
        connection.write(OK).await;
        client.read_to("ok").await;
    });
}

#[test]
fn events_are_passed_on_one_by_one() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let mut client = proxy.send(GET).await;
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection
            .write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        // The head comes before the first event, and each event before the next one is sent.
        client.head().await;
        for _ in 0..3 {
            connection.write("9\r\ndata: x\n\n\r\n").await;
            assert_eq!(client.read_to("\n\n\r\n").await, "9\r\ndata: x\n\n\r\n");
        }
        connection.write("0\r\n\r\n").await;
        client.read_to("0\r\n\r\n").await;
    });
}

#[test]
fn both_directions_stream_at_once() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let mut client = proxy
            .send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection
            .write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        client.head().await;
        for _ in 0..3 {
            client.write("4\r\nping\r\n").await;
            connection.read_to("4\r\nping\r\n").await;
            connection.write("4\r\npong\r\n").await;
            client.read_to("4\r\npong\r\n").await;
        }
        client.write("0\r\n\r\n").await;
        connection.read_to("0\r\n\r\n").await;
        connection.write("0\r\n\r\n").await;
        client.read_to("0\r\n\r\n").await;
        // Both connections are good for another request.
        client.write(GET).await;
        connection.head().await;
        connection.write(OK).await;
        client.read_to("ok").await;
    });
}

#[test]
fn an_answer_before_the_end_of_the_upload_is_passed_on() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let mut client = proxy
            .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\npart")
            .await;
        let mut connection = upstream.accept().await;
        connection.read_to("part").await;
        connection
            .write("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig")
            .await;
        assert!(client.head().await.starts_with("HTTP/1.1 413 "));
        client.read_to("big").await;
        connection.rest().await;
    });
}
