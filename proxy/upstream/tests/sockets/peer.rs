//! The other ends: an upstream driven by hand, and a client to call it.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use proto::sidecar::dns::Resolver;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use upstream::{Address, Client, SendError, Target, TargetSettings, UpstreamBody};

pub(crate) type Outgoing = UnsyncBoxBody<Bytes, Infallible>;
pub(crate) type Sent = Result<Response<UpstreamBody>, SendError<Outgoing>>;

/// Runs a test as a worker runs its requests: on one thread, inside a `LocalSet`, and not for ever.
pub(crate) fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let limited = async { tokio::time::timeout(Duration::from_secs(60), test).await };
    tokio::task::LocalSet::new()
        .block_on(&runtime, limited)
        .expect("the test takes too long");
}

/// An upstream whose connections the test serves by hand.
pub(crate) struct Upstream {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

/// One connection to such an upstream.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

impl Upstream {
    pub(crate) async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    pub(crate) fn settings(&self) -> TargetSettings {
        settings(self.address)
    }

    pub(crate) fn target(&self) -> Arc<Target> {
        Target::new(self.settings()).unwrap()
    }

    pub(crate) async fn accept(&self) -> Accepted {
        let (stream, _) = self.listener.accept().await.unwrap();
        Accepted {
            stream,
            read: Vec::new(),
        }
    }
}

impl Accepted {
    /// Reads up to and with `end`, and gives back what came.
    pub(crate) async fn read_to(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = find(&self.read, end.as_bytes()) {
                let rest = self.read.split_off(at + end.len());
                let read = std::mem::replace(&mut self.read, rest);
                return String::from_utf8(read).unwrap();
            }
            let count = self.stream.read_buf(&mut self.read).await.unwrap();
            assert!(
                count > 0,
                "closed after {:?}",
                String::from_utf8_lossy(&self.read)
            );
        }
    }

    /// Reads a request head.
    pub(crate) async fn head(&mut self) -> String {
        self.read_to("\r\n\r\n").await
    }

    /// Waits for the other side to close, and returns what came before that.
    pub(crate) async fn closed(&mut self) -> Vec<u8> {
        // A reset is as good an end.
        while matches!(self.stream.read_buf(&mut self.read).await, Ok(count) if count > 0) {}
        std::mem::take(&mut self.read)
    }

    /// What has been read beyond what was asked for.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.read
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

pub(crate) fn settings(address: SocketAddr) -> TargetSettings {
    TargetSettings::new(Address::Host {
        host: address.ip().to_string().into(),
        port: address.port(),
    })
}

pub(crate) fn client() -> Rc<Client<Outgoing>> {
    Client::new(Resolver::from_system().unwrap())
}

pub(crate) fn empty() -> Outgoing {
    Empty::new().boxed_unsync()
}

pub(crate) fn full(text: &'static str) -> Outgoing {
    Full::new(Bytes::from_static(text.as_bytes())).boxed_unsync()
}

pub(crate) fn get(path: &str) -> Request<Outgoing> {
    request("GET", path, empty())
}

pub(crate) fn request(method: &str, path: &str, body: Outgoing) -> Request<Outgoing> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "app.test")
        .body(body)
        .unwrap()
}

/// Sends on a task of its own.
pub(crate) fn spawn_send(
    client: &Rc<Client<Outgoing>>,
    target: &Arc<Target>,
    request: Request<Outgoing>,
) -> tokio::task::JoinHandle<Sent> {
    let (client, target) = (Rc::clone(client), Arc::clone(target));
    tokio::task::spawn_local(async move { client.send(&target, request).await })
}

pub(crate) async fn text(response: Response<UpstreamBody>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Lets everything happen that the kernel already knows of: a round trip over another socket is
/// seen after it.
pub(crate) async fn settle() {
    for _ in 0..2 {
        let upstream = Upstream::bind().await;
        let mut near = TcpStream::connect(upstream.address).await.unwrap();
        let mut far = upstream.accept().await.stream;
        far.write_all(b"x").await.unwrap();
        near.read_u8().await.unwrap();
    }
}
