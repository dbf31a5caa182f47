use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use upstream::{
    Address, BodyError, Client, ScriptLog, SendError, SendErrorKind, Target, UpstreamBody,
    Variables,
};

use crate::peer::{Accepted, Outgoing, Upstream, client, empty, full, run, settings, settle};

const END: [u8; 16] = [1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const HEAD: &str = "Status: 201 Made\r\nContent-Type: text/plain\r\n\r\n";
const SIZE: usize = 64 << 20;
/// Kernel buffers on both sides, and one read buffer.
const BOUND: usize = 16 << 20;
const CHUNK: &[u8] = &[7; 64 << 10];

type Sent = Result<Response<UpstreamBody>, SendError<Outgoing>>;

/// What scripts wrote to their standard error.
#[derive(Default)]
struct Log(Mutex<Vec<(String, Option<u16>)>>);

impl ScriptLog for Log {
    fn wrote(&self, text: &str, status: Option<StatusCode>) {
        let status = status.map(|status| status.as_u16());
        self.0.lock().push((text.to_owned(), status));
    }
}

/// The responder's side of a connection.
trait Responder {
    /// The next record: its kind and its content.
    async fn record(&mut self) -> (u8, Vec<u8>);
    /// Reads the beginning of a request; the encoded variables.
    async fn begun(&mut self) -> Vec<u8>;
    async fn put(&mut self, kind: u8, content: &[u8]);
}

impl Responder for Accepted {
    async fn record(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 8];
        self.stream.read_exact(&mut header).await.unwrap();
        assert_eq!(header[..4], [1, header[1], 0, 1]);
        let length = u16::from_be_bytes([header[4], header[5]]);
        let mut content = vec![0; usize::from(length) + usize::from(header[6])];
        self.stream.read_exact(&mut content).await.unwrap();
        (header[1], content)
    }

    async fn begun(&mut self) -> Vec<u8> {
        // A responder, whose connection is not kept.
        assert_eq!(self.record().await, (1, vec![0, 1, 0, 0, 0, 0, 0, 0]));
        let mut variables = Vec::new();
        loop {
            let (kind, content) = self.record().await;
            assert_eq!(kind, 4);
            if content.is_empty() {
                return variables;
            }
            variables.extend(content);
        }
    }

    async fn put(&mut self, kind: u8, content: &[u8]) {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        let header = [1, kind, 0, 1, high, low, 0, 0];
        self.stream.write_all(&header).await.unwrap();
        self.stream.write_all(content).await.unwrap();
    }
}

fn call(client: &Rc<Client<Outgoing>>, target: &Arc<Target>, body: Outgoing) -> JoinHandle<Sent> {
    call_with(client, target, body, Arc::default())
}

fn call_with(
    client: &Rc<Client<Outgoing>>,
    target: &Arc<Target>,
    body: Outgoing,
    log: Arc<Log>,
) -> JoinHandle<Sent> {
    let (client, target) = (Rc::clone(client), Arc::clone(target));
    tokio::task::spawn_local(async move {
        let mut variables = Variables::default();
        variables.set("SCRIPT_FILENAME", &b"/app/x.php"[..]);
        client.call(&target, &variables, body, log).await
    })
}

#[test]
fn a_script_is_run() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let (target, log) = (upstream.target(), Arc::<Log>::default());
        let calling = call_with(&client, &target, empty(), Arc::clone(&log));
        let mut responder = upstream.accept().await;
        assert_eq!(
            responder.begun().await,
            b"\x0f\x0aSCRIPT_FILENAME/app/x.php"
        );
        assert_eq!(responder.record().await, (5, vec![]));
        responder.put(7, b"PHP Notice: ").await;
        // The head need not come in one piece, nor end where a record does.
        let (first, rest) = HEAD.split_at(20);
        responder.put(6, first.as_bytes()).await;
        responder.put(6, format!("{rest}hel").as_bytes()).await;
        responder.put(7, b"odd\n").await;
        let response = calling.await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(response.headers()["content-type"], "text/plain");
        responder.put(6, b"lo").await;
        responder.stream.write_all(&END).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "hello");
        assert_eq!(responder.closed().await, b"");
        let logged = log.0.lock();
        assert_eq!(*logged, [("PHP Notice: odd".to_owned(), Some(201))]);
    });
}

#[test]
fn a_response_that_comes_whole_has_a_length() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let calling = call(&client, &upstream.target(), empty());
        let mut responder = upstream.accept().await;
        responder.begun().await;
        let mut bytes = vec![1, 6, 0, 1, 0, 11, 0, 0];
        bytes.extend_from_slice(b"A: 1\r\n\r\nwww");
        bytes.extend_from_slice(&END);
        responder.stream.write_all(&bytes).await.unwrap();
        let body = calling.await.unwrap().unwrap().into_body();
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(3));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "www");
    });
}

#[test]
fn bodies_stream_both_ways_at_once() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let (pieces, body) = tokio::sync::mpsc::channel::<Result<_, std::convert::Infallible>>(1);
        let body = futures_util::stream::unfold(body, |mut body| async {
            body.recv().await.map(|piece| (piece, body))
        });
        let body = StreamBody::new(Box::pin(body)).boxed_unsync();
        let calling = call(&client, &upstream.target(), body);
        let mut responder = upstream.accept().await;
        responder.begun().await;
        // An answer before the body, which goes on nevertheless.
        responder.put(6, b"A: 1\r\n\r\n").await;
        let mut response = calling.await.unwrap().unwrap();
        for text in ["one", "two"] {
            let piece = Frame::data(Bytes::from_static(text.as_bytes()));
            pieces.send(Ok(piece)).await.unwrap();
            assert_eq!(responder.record().await, (5, text.into()));
            responder.put(6, text.as_bytes()).await;
            let frame = response.body_mut().frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), text);
        }
        drop(pieces);
        assert_eq!(responder.record().await, (5, vec![]));
        responder.stream.write_all(&END).await.unwrap();
        assert!(response.body_mut().frame().await.is_none());
    });
}

#[test]
fn a_slow_client_slows_the_script_down() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let calling = call(&client, &upstream.target(), empty());
        let mut responder = upstream.accept().await;
        responder.begun().await;
        // Closing a socket with unread bytes would take what it sent away from the other side.
        responder.record().await;
        responder.put(6, HEAD.as_bytes()).await;
        let mut response = calling.await.unwrap().unwrap();
        let written = Rc::new(Cell::new(0));
        let count = Rc::clone(&written);
        tokio::task::spawn_local(async move {
            while count.get() < SIZE {
                responder.put(6, &CHUNK[1..]).await;
                count.set(count.get() + CHUNK.len());
            }
            responder.stream.write_all(&END).await.unwrap();
        });
        let mut before = usize::MAX;
        while before != written.get() {
            before = written.get();
            settle().await;
        }
        assert!(before < BOUND, "{before} bytes were taken that nobody read");
        while let Some(frame) = response.body_mut().frame().await {
            frame.unwrap();
        }
        assert!(written.get() >= SIZE);
    });
}

#[test]
fn a_slow_script_slows_the_client_down() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let produced = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&produced);
        let frames = (0..SIZE / CHUNK.len()).map(move |_| {
            count.fetch_add(CHUNK.len(), std::sync::atomic::Ordering::Relaxed);
            Ok(Frame::data(Bytes::from_static(CHUNK)))
        });
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        let calling = call(&client, &upstream.target(), body);
        let mut responder = upstream.accept().await;
        responder.begun().await;
        let produced = || produced.load(std::sync::atomic::Ordering::Relaxed);
        let mut before = usize::MAX;
        while before != produced() {
            before = produced();
            settle().await;
        }
        assert!(
            before < BOUND,
            "{before} bytes were produced that nobody took"
        );
        let mut read = 0;
        loop {
            match responder.record().await {
                (5, content) if content.is_empty() => break,
                (5, content) => read += content.len(),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(read, SIZE);
        responder.put(6, HEAD.as_bytes()).await;
        calling.await.unwrap().unwrap();
    });
}

#[test]
fn a_script_may_end_without_reading_the_body() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let body = http_body_util::Full::new(vec![0; SIZE].into()).boxed_unsync();
        let calling = call(&client, &upstream.target(), body);
        let mut responder = upstream.accept().await;
        responder.begun().await;
        responder.put(6, b"Status: 413\n\nno").await;
        responder.stream.write_all(&END).await.unwrap();
        let response = calling.await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "no");
    });
}

#[test]
fn a_body_that_fails_fails_the_request() {
    run(async {
        let (upstream, client) = (
            Upstream::bind().await,
            Client::new(proto::sidecar::dns::Resolver::from_system().unwrap()),
        );
        let frames = [Ok(Frame::data(Bytes::from_static(b"some"))), Err("gone")];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let target = upstream.target();
        let calling = tokio::task::spawn_local(async move {
            let variables = Variables::default();
            client
                .call(&target, &variables, body, Arc::<Log>::default())
                .await
        });
        let mut responder = upstream.accept().await;
        responder.begun().await;
        assert_eq!(responder.record().await, (5, b"some".to_vec()));
        let error = calling.await.unwrap().map(drop).unwrap_err();
        assert_eq!(error.kind, SendErrorKind::RequestBody);
        assert!(error.unsent.is_none());
        // The script is told, and then the connection is closed.
        assert_eq!(responder.record().await, (2, vec![]));
        assert_eq!(responder.closed().await, b"");
    });
}

#[test]
fn what_was_not_sent_comes_back() {
    run(async {
        let address = Upstream::bind().await.address;
        let target = Target::new(settings(address)).unwrap();
        let error = call(&client(), &target, full("body"))
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(error.kind, SendErrorKind::Refused);
        let body = error.unsent.unwrap().into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "body");
    });
}

#[test]
fn unix_sockets_are_dialled() {
    run(async {
        let folder = std::env::temp_dir().join(format!("portico-fastcgi-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("php.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let target = Target::new(upstream::TargetSettings::new(Address::Unix(path))).unwrap();
        let calling = call(&client(), &target, empty());
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = vec![1, 6, 0, 1, 0, 8, 0, 0];
        bytes.extend_from_slice(b"A: 1\r\n\r\n");
        bytes.extend_from_slice(&END);
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(calling.await.unwrap().unwrap().status(), StatusCode::OK);
        std::fs::remove_dir_all(&folder).unwrap();
    });
}

#[test]
fn responders_that_fail_are_told_apart() {
    run(async {
        let overloaded = {
            let mut end = END;
            end[12] = 2;
            end.to_vec()
        };
        for (bytes, kind, said) in [
            (
                b"HTTP/1.1 400 Bad".to_vec(),
                SendErrorKind::Protocol,
                "no FastCGI record",
            ),
            (END.to_vec(), SendErrorKind::Closed, "without a response"),
            (overloaded, SendErrorKind::Closed, "overloaded"),
            (
                Vec::new(),
                SendErrorKind::Closed,
                "ended before the request did",
            ),
            (
                b"\x01\x06\0\x01\0\x04\0\0oops".to_vec(),
                SendErrorKind::Closed,
                "ended before",
            ),
            (
                b"\x01\x06\0\x01\0\x05\0\0oops\n".to_vec(),
                SendErrorKind::Protocol,
                "no field",
            ),
        ] {
            let (upstream, client) = (Upstream::bind().await, client());
            let calling = call(&client, &upstream.target(), empty());
            let mut responder = upstream.accept().await;
            responder.begun().await;
            responder.record().await;
            responder.stream.write_all(&bytes).await.unwrap();
            drop(responder);
            let error = calling.await.unwrap().unwrap_err();
            assert_eq!(error.kind, kind, "{said}");
            let source = error.source.unwrap().to_string();
            assert!(source.contains(said), "{source}");
        }
    });
}

#[test]
fn silent_scripts_are_given_up() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let mut settings = upstream.settings();
        settings.read_timeout = Some(Duration::from_millis(50));
        let target = Target::new(settings).unwrap();
        let calling = call(&client, &target, empty());
        let mut responder = upstream.accept().await;
        responder.begun().await;
        let error = calling.await.unwrap().unwrap_err();
        assert_eq!(error.kind, SendErrorKind::HeaderTimeout);

        let calling = call(&client, &target, empty());
        let mut responder = upstream.accept().await;
        responder.begun().await;
        responder.put(6, HEAD.as_bytes()).await;
        let body = calling.await.unwrap().unwrap().into_body();
        let error = body.collect().await.unwrap_err();
        assert!(matches!(error, BodyError::ReadTimeout(_)), "{error}");
        responder.record().await;
        assert_eq!(responder.closed().await, b"");
    });
}

#[test]
fn a_response_that_breaks_off_is_an_error() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let calling = call(&client, &upstream.target(), empty());
        let mut responder = upstream.accept().await;
        responder.begun().await;
        responder.put(6, HEAD.as_bytes()).await;
        let response = calling.await.unwrap().unwrap();
        drop(responder);
        let error = response.into_body().collect().await.unwrap_err();
        assert!(matches!(error, BodyError::Script(_)), "{error}");
    });
}
