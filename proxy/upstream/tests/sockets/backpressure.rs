use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::peer::{Upstream, client, get, request, run, settle, spawn_send};

const SIZE: usize = 64 << 20;
/// Kernel buffers on both sides, and one read buffer.
const BOUND: usize = 16 << 20;
const CHUNK: &[u8] = &[7; 64 << 10];

#[test]
fn a_slow_client_slows_the_upstream_down() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let target = upstream.target();
        let sending = spawn_send(&client, &target, get("/"));
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection
            .write(&format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n"
            ))
            .await;
        let mut response = sending.await.unwrap().unwrap();
        let written = Rc::new(Cell::new(0));
        let count = Rc::clone(&written);
        tokio::task::spawn_local(async move {
            while count.get() < SIZE {
                connection.stream.write_all(CHUNK).await.unwrap();
                count.set(count.get() + CHUNK.len());
            }
        });
        let mut before = usize::MAX;
        while before != written.get() {
            before = written.get();
            settle().await;
        }
        assert!(before < BOUND, "{before} bytes were taken that nobody read");
        let mut read = 0;
        while let Some(frame) = response.body_mut().frame().await {
            read += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(read, SIZE);
    });
}

#[test]
fn a_slow_upstream_slows_the_client_down() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let target = upstream.target();
        let produced = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&produced);
        let frames = (0..SIZE / CHUNK.len()).map(move |_| {
            count.fetch_add(CHUNK.len(), Ordering::Relaxed);
            Ok(Frame::data(Bytes::from_static(CHUNK)))
        });
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        let mut request = request("POST", "/", body);
        request.headers_mut().insert("content-length", SIZE.into());
        let sending = spawn_send(&client, &target, request);
        let mut connection = upstream.accept().await;
        connection.head().await;
        let mut before = usize::MAX;
        while before != produced.load(Ordering::Relaxed) {
            before = produced.load(Ordering::Relaxed);
            settle().await;
        }
        assert!(
            before < BOUND,
            "{before} bytes were produced that nobody took"
        );
        let mut read = connection.unread().len();
        let mut buffer = vec![0; CHUNK.len()];
        while read < SIZE {
            read += connection.stream.read(&mut buffer).await.unwrap();
        }
        assert_eq!(read, SIZE);
        connection.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        sending.await.unwrap().unwrap();
    });
}
