//! What tests of requests are made of: sites from Caddyfiles, requests to them, and upstreams in
//! the same process.

use std::cell::OnceCell;
use std::convert::Infallible;
use std::future::Future;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use caddyfile::document::Document;
use caddyfile::parser::NoFiles;
use downstream::{Abort, CertificateTable, Connection, ListenerConfig};
use http::header::HOST;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proto::sidecar::dns::Resolver;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::LocalSet;
use upstream::{Address, Target, TargetSettings};

use crate::body::RequestBody;
use crate::compile::{CompileContext, Config, compile};
use crate::edge::{Challenges, Shared, Worker, answer};
use crate::exchange::Exchange;
use crate::spans::Spans;

/// A worker with a configuration.
pub(crate) struct Site {
    pub(crate) worker: Rc<Worker>,
    /// Index of the server that requests go to.
    pub(crate) server: usize,
    /// The client's address.
    pub(crate) peer: &'static str,
}

/// A response that has been read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// Runs a test that waits.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, test)
}

/// The document of a Caddyfile.
pub(crate) fn document(caddyfile: &str) -> Document {
    let adapted = caddyfile::adapt("Caddyfile", caddyfile, &NoFiles, &|_| None);
    let shown = caddyfile::diagnostic::render(&adapted.diagnostics, &adapted.sources);
    adapted.document.unwrap_or_else(|| panic!("{shown}"))
}

/// The errors of a Caddyfile that cannot be compiled.
pub(crate) fn errors(caddyfile: &str) -> Vec<String> {
    let errors = compile(document(caddyfile), &CompileContext::default()).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

impl Site {
    /// A site from a Caddyfile.
    pub(crate) fn new(caddyfile: &str) -> Self {
        Self::with_static_server(caddyfile, "127.0.0.1:9")
    }

    /// A site from a Caddyfile that may be no good.
    pub(crate) fn try_new(caddyfile: &str) -> Option<Self> {
        let adapted = caddyfile::adapt("Caddyfile", caddyfile, &NoFiles, &|_| None);
        let is_fatal = adapted
            .diagnostics
            .iter()
            .any(caddyfile::diagnostic::Diagnostic::is_fatal);
        let document = adapted.document.filter(|_| !is_fatal)?;
        let config = compile(document, &CompileContext::default()).ok()?;
        let has_servers = !config.servers.is_empty();
        has_servers.then(|| Self::of_config(config, "127.0.0.1:9"))
    }

    /// A site whose files come from `static_server`.
    pub(crate) fn with_static_server(caddyfile: &str, static_server: &str) -> Self {
        let config = compile(document(caddyfile), &CompileContext::default()).unwrap();
        Self::of_config(config, static_server)
    }

    /// A site from a document.
    pub(crate) fn of_document(document: serde_json::Value) -> Self {
        let document = serde_json::from_value(document).unwrap();
        Self::of_config(
            compile(document, &CompileContext::default()).unwrap(),
            "127.0.0.1:9",
        )
    }

    fn of_config(config: Config, static_server: &str) -> Self {
        let (host, port) = static_server.rsplit_once(':').unwrap();
        let address = Address::Host {
            host: host.into(),
            port: port.parse().unwrap(),
        };
        let shared = Shared {
            config: ArcSwap::from_pointee(config),
            challenges: Challenges::default(),
            certificates: Arc::<CertificateTable>::default(),
            static_server: Target::new(TargetSettings::new(address)).unwrap(),
            workers: 1,
            replicas: Arc::default(),
            volume_changes: Arc::default(),
            metrics: OnceLock::new(),
            spans: Spans::default(),
        };
        let worker = Worker::new(Arc::new(shared), Resolver::from_system().unwrap());
        Self {
            worker,
            server: 0,
            peer: "192.0.2.1:1234",
        }
    }

    /// A connection of the client to the site's server.
    pub(crate) fn connection(&self) -> Rc<Connection> {
        let config = self.worker.config();
        let address = config.servers[self.server].listen[0];
        Rc::new(Connection {
            peer: self.peer.parse().unwrap(),
            local: "198.51.100.1:80".parse().unwrap(),
            tls: None,
            listener: Arc::new(ListenerConfig::new(address, None)),
            peer_value: OnceCell::new(),
        })
    }

    /// An exchange as it is when the routes begin.
    pub(crate) fn exchange(&self, request: http::request::Builder) -> Exchange {
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        if let Some(authority) = head.uri.authority() {
            head.headers
                .insert(HOST, authority.as_str().parse().unwrap());
            let target = head.uri.path_and_query().unwrap().clone();
            head.uri = target.into();
        }
        Exchange::new(
            Rc::clone(&self.worker),
            self.worker.config(),
            self.server,
            self.connection(),
            head,
            RequestBody::default(),
        )
    }

    /// Sends a request without a body.
    pub(crate) async fn send(&self, request: http::request::Builder) -> Answer {
        self.send_with(request, "").await
    }

    /// Sends a request with a body.
    pub(crate) async fn send_with(
        &self,
        request: http::request::Builder,
        body: impl Into<Bytes>,
    ) -> Answer {
        self.answer(request, RequestBody::full(body.into()))
            .await
            .unwrap()
    }

    /// What comes back over a connection on which `bytes` are sent, of one HTTP/1 client.
    pub(crate) async fn send_raw(&self, bytes: &str) -> String {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let (worker, connection) = (Rc::clone(&self.worker), self.connection());
        let service = service_fn(move |request: Request<Incoming>| {
            let (head, body) = request.into_parts();
            answer(
                Rc::clone(&worker),
                Rc::clone(&connection),
                head,
                RequestBody::new(body),
            )
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.half_close(true);
        tokio::task::spawn_local(builder.serve_connection(TokioIo::new(server), service));
        client.write_all(bytes.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut received = String::new();
        client.read_to_string(&mut received).await.unwrap();
        received
    }

    /// Sends a request that may get no answer.
    pub(crate) async fn try_send(&self, request: http::request::Builder) -> Result<Answer, Abort> {
        self.answer(request, RequestBody::default()).await
    }

    /// Bytes that a request takes while it is handled, beside what it allocates.
    pub(crate) fn size_of_request(&self) -> usize {
        let (head, ()) = Request::get("/").body(()).unwrap().into_parts();
        let worker = Rc::clone(&self.worker);
        let request = answer(worker, self.connection(), head, RequestBody::default());
        size_of_val(&request)
    }

    async fn answer(
        &self,
        request: http::request::Builder,
        body: RequestBody,
    ) -> Result<Answer, Abort> {
        let (head, ()) = request.body(()).unwrap().into_parts();
        let worker = Rc::clone(&self.worker);
        let response = answer(worker, self.connection(), head, body).await?;
        let (head, body) = response.into_parts();
        let collected = body.collect().await.unwrap();
        let body = String::from_utf8_lossy(&collected.to_bytes()).into_owned();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    /// The body of the answer to a GET of `target` on `http://example.com`.
    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.send(Request::get(format!("http://example.com{target}")))
            .await
    }
}

impl Answer {
    /// The values of a field with commas between.
    pub(crate) fn header(&self, name: &str) -> String {
        let values = self.headers.get_all(name).iter();
        values
            .map(|value| value.to_str().unwrap())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// Starts an upstream that answers with `respond`; gives its address.
pub(crate) async fn upstream(
    respond: impl Fn(http::request::Parts, String) -> Response<String> + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let respond = Rc::new(respond);
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let respond = Rc::clone(&respond);
            let service = service_fn(move |request: Request<Incoming>| {
                let respond = Rc::clone(&respond);
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let body = String::from_utf8_lossy(&body).into_owned();
                    let response = respond(head, body).map(|body| Full::new(Bytes::from(body)));
                    Ok::<_, Infallible>(response)
                }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::task::spawn_local(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

/// An upstream that answers with what it received: the request line, its fields and its body.
pub(crate) async fn echo() -> String {
    upstream(|head, body| {
        let mut text = format!("{} {}\n", head.method, head.uri);
        for (name, value) in &head.headers {
            text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
        }
        text.push('\n');
        text.push_str(&body);
        Response::builder()
            .header("x-upstream", "echo")
            .body(text)
            .unwrap()
    })
    .await
}
