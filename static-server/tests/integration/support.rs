//! A server with a temporary volume, and clients for it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use proto::file_request::{FILE_REQUEST, FileRequest};
use proto::files::v1::handoff_segment::Content;
use proto::files::v1::{HandoffAnswer, HandoffRequest};
use proto::handoff::{self, ANSWER_LIMIT, Connection, FileState};
use proto::sidecar::admin;
use proto::sidecar::identity::LiveIdentity;
use proto::sidecar::readiness::Readiness;
use proto::sidecar::shutdown::Shutdown;
use static_server::app::App;
use static_server::config::Config;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest wait for anything that should happen soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) events_address: SocketAddr,
    pub(crate) folder: TempDir,
    pub(crate) shutdown: Shutdown,
    pub(crate) app: Option<App>,
    /// Whether what is asked over HTTP is asked over the hand-off too, and must be answered the same.
    pub(crate) asks_both_ways: bool,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Server {
    /// Serves the subfolder `volume` of a new temporary folder as `/srv`.
    pub(crate) async fn start() -> Self {
        Self::start_with(&["/srv=volume"], LiveIdentity::default()).await
    }

    /// Serves volumes whose directories are relative to the temporary folder.
    pub(crate) async fn start_with(volumes: &[&str], identity: LiveIdentity) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("volume")).unwrap();
        std::fs::create_dir(folder.path().join("handoff")).unwrap();
        let volumes = volumes.iter().map(|text| {
            let (path, directory) = text.split_once('=').unwrap();
            format!("{path}={}", folder.path().join(directory).display())
                .parse()
                .unwrap()
        });
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            events_listen: "127.0.0.1:0".parse().unwrap(),
            handoff: folder.path().join("handoff"),
            volumes: volumes.collect(),
            untrusted: vec!["/srv/uploads".parse().unwrap()],
        };
        let shutdown = Shutdown::default();
        let metrics = admin::Metrics::default();
        let app = App::start(
            &config,
            identity,
            &metrics,
            Readiness::default(),
            shutdown.clone(),
        )
        .await
        .unwrap();
        Self {
            address: app.address,
            events_address: app.events_address,
            folder,
            shutdown,
            app: Some(app),
            asks_both_ways: true,
        }
    }

    /// A path in the volume's folder.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join("volume").join(relative)
    }

    /// Writes a file of the volume, with its folders.
    pub(crate) fn write(&self, relative: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send("GET", path, headers).await
    }

    /// Asks as the proxy does.
    pub(crate) async fn ask(
        &self,
        file: &FileRequest,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Reply {
        let value = file.to_header().unwrap();
        let mut headers = headers.to_vec();
        headers.push((FILE_REQUEST, &value));
        self.send("GET", path, &headers).await
    }

    /// Asks over HTTP, and checks that the hand-off gives the same where it does not leave it to HTTP.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let reply = self.send_http(method, path, headers).await;
        if self.asks_both_ways {
            let handed = self.try_hand_over(method, path, headers).await;
            if let Some((handed, _)) = handed {
                let (handed, expected) = (comparable(&handed), comparable(&reply));
                assert_eq!(
                    (handed.status, handed.headers),
                    (expected.status, expected.headers),
                    "{path}"
                );
                assert!(handed.body == expected.body, "{path}");
            }
        }
        reply
    }

    /// The one socket of the hand-off.
    pub(crate) fn socket(&self) -> PathBuf {
        let mut sockets = std::fs::read_dir(self.folder.path().join("handoff")).unwrap();
        sockets.next().unwrap().unwrap().path()
    }

    /// Asks over the hand-off; gives the open file too, where there is one.
    pub(crate) async fn hand_over(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (Reply, Option<OwnedFd>) {
        let handed = self.try_hand_over(method, path, headers).await;
        handed.expect("it is left to HTTP")
    }

    /// Asks over the hand-off; `None` where the answer is left to HTTP.
    async fn try_hand_over(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Option<(Reply, Option<OwnedFd>)> {
        let head = request(method, path, headers);
        let message = HandoffRequest {
            method: method.to_owned(),
            target: path.to_owned(),
            fields: handoff::fields(head.headers()),
        };
        let connection = Connection::open(&self.socket()).unwrap();
        connection
            .send(&message.encode_to_vec(), None)
            .await
            .unwrap();
        let received = connection.receive::<HandoffAnswer>(ANSWER_LIMIT).await;
        let (answer, file) = received.unwrap();
        if answer.declined {
            return None;
        }
        let mut body = Vec::new();
        for segment in answer.body {
            match segment.content.unwrap() {
                Content::Literal(bytes) => body.extend_from_slice(&bytes),
                Content::Range(range) => {
                    let mut part = vec![0; range.length.try_into().unwrap()];
                    let file = file.as_ref().unwrap();
                    let count = handoff::read_full(file, &mut part, range.offset).unwrap();
                    assert_eq!(count, part.len());
                    body.extend_from_slice(&part);
                }
            }
        }
        if let Some(file) = &file {
            let state = FileState::of(file).unwrap().unwrap();
            assert_eq!(state, FileState::from(answer.file.as_ref().unwrap()));
        }
        let reply = Reply {
            status: StatusCode::from_u16(answer.status.try_into().unwrap()).unwrap(),
            headers: handoff::headers(answer.fields).unwrap(),
            body: body.into(),
        };
        Some((reply, file))
    }

    async fn send_http(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let response = sender
            .send_request(request(method, path, headers))
            .await
            .unwrap();
        reply(response).await
    }

    /// Asks over HTTP/2 with prior knowledge.
    pub(crate) async fn get_h2(&self, path: &str) -> Reply {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        let path = format!("http://{}{path}", self.address);
        reply(
            sender
                .send_request(request("GET", &path, &[]))
                .await
                .unwrap(),
        )
        .await
    }

    /// Sends octets as they are, and reads the status of the answer.
    pub(crate) async fn raw_status(&self, target: &[u8]) -> u16 {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut head = b"GET ".to_vec();
        head.extend_from_slice(target);
        head.extend_from_slice(b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(&head).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer);
        text.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// A reply without what differs from one to the next: the date, and the boundary of its parts.
fn comparable(reply: &Reply) -> Reply {
    let mut headers = reply.headers.clone();
    headers.remove("date");
    let mut body = reply.body.to_vec();
    let kind = reply.headers.get("content-type");
    let kind = kind.map(|kind| kind.to_str().unwrap().to_owned());
    if let Some((kind, boundary)) = kind
        .as_deref()
        .and_then(|kind| kind.split_once("boundary="))
    {
        let boundary = boundary.as_bytes();
        while let Some(at) = body
            .windows(boundary.len())
            .position(|text| text == boundary)
        {
            body.splice(at..at + boundary.len(), *b"BOUNDARY");
        }
        headers.insert("content-type", kind.parse().unwrap());
    }
    Reply {
        status: reply.status,
        headers,
        body: body.into(),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.token.cancel();
    }
}

/// Exchanges two names again and again, on a thread of its own.
pub(crate) struct Swapping {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
}

impl Swapping {
    pub(crate) fn start(one: PathBuf, other: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            let here = rustix::fs::CWD;
            let mut swaps = 0;
            while !stopped.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(here, &one, here, &other, exchange).unwrap();
                swaps += 1;
            }
            swaps
        });
        Self { stop, thread }
    }

    /// Ends it; how many exchanges there were.
    pub(crate) fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Reply {
    /// A header field as text; empty when it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A request of the proxy for a root.
pub(crate) fn file_request(root: &str) -> FileRequest {
    FileRequest {
        root: root.to_owned(),
        index: vec!["index.html".to_owned(), "index.txt".to_owned()],
        ..FileRequest::default()
    }
}

/// Waits until `fact` holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut fact: impl FnMut() -> F) {
    let start = Instant::now();
    while !fact().await {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn set_modified(path: &Path, seconds: u64) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(seconds))
        .unwrap();
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

async fn reply(response: http::Response<hyper::body::Incoming>) -> Reply {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Reply {
        status: head.status,
        headers: head.headers,
        body,
    }
}
