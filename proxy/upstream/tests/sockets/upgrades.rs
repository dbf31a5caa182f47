use http::HeaderValue;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio_util::sync::CancellationToken;
use upstream::{TunnelEnd, tunnel};

use crate::peer::{Upstream, client, get, run, spawn_send};

#[test]
fn an_upgraded_connection_is_the_callers() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let target = upstream.target();
        let mut request = get("/socket");
        let headers = request.headers_mut();
        headers.insert("connection", HeaderValue::from_static("upgrade"));
        headers.insert("upgrade", HeaderValue::from_static("echo"));
        let sending = spawn_send(&client, &target, request);
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection
            .write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nfirst")
            .await;
        let mut response = sending.await.unwrap().unwrap();
        assert_eq!(response.status(), 101);
        let upgrading = hyper::upgrade::on(&mut response);
        drop(response);
        let mut upgraded = TokioIo::new(upgrading.await.unwrap());
        let mut first = [0; 5];
        upgraded.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"first");
        upgraded.write_all(b"second.").await.unwrap();
        connection.read_to("second.").await;
        drop(upgraded);
        connection.closed().await;
    });
}

#[test]
fn a_tunnel_passes_each_end_on() {
    run(async {
        let (mut near, a) = duplex(64);
        let (b, mut far) = duplex(64);
        let token = CancellationToken::new();
        let tunnelling = tokio::task::spawn_local(async move {
            tunnel(TokioIo::new(a), TokioIo::new(b), token.cancelled()).await
        });
        near.write_all(b"question").await.unwrap();
        near.shutdown().await.unwrap();
        let mut asked = Vec::new();
        far.read_to_end(&mut asked).await.unwrap();
        assert_eq!(asked, b"question");

        // The other way is still open, for more than the pipe holds.
        let answer = vec![b'a'; 10_000];
        let writing = async {
            far.write_all(&answer).await.unwrap();
            far.shutdown().await.unwrap();
        };
        let mut answered = Vec::new();
        let ((), read) = tokio::join!(writing, near.read_to_end(&mut answered));
        assert_eq!(read.unwrap(), 10_000);
        let figures = tunnelling.await.unwrap();
        assert_eq!((figures.sent, figures.received), (8, 10_000));
        assert_eq!(figures.end, TunnelEnd::Finished);
    });
}

#[test]
fn a_tunnel_ends_when_cancelled() {
    run(async {
        let (mut near, a) = duplex(64);
        let (b, mut far) = duplex(64);
        let token = CancellationToken::new();
        let cancel = token.clone();
        let tunnelling = tokio::task::spawn_local(async move {
            tunnel(TokioIo::new(a), TokioIo::new(b), token.cancelled()).await
        });
        near.write_all(b"x").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'x');
        cancel.cancel();
        assert_eq!(tunnelling.await.unwrap().end, TunnelEnd::Cancelled);
        let mut rest = Vec::new();
        assert_eq!(far.read_to_end(&mut rest).await.unwrap(), 0);
    });
}

#[test]
fn a_tunnel_ends_when_a_side_fails() {
    run(async {
        let (near, a) = duplex(64);
        let (b, mut far) = duplex(64);
        let token = CancellationToken::new();
        let tunnelling = tokio::task::spawn_local(async move {
            tunnel(TokioIo::new(a), TokioIo::new(b), token.cancelled()).await
        });
        drop(near);
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();
        far.write_all(b"nobody reads this").await.unwrap();
        assert!(matches!(
            tunnelling.await.unwrap().end,
            TunnelEnd::Failed(_)
        ));
    });
}
