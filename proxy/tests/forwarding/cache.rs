//! Responses that the proxy keeps for others (`cache`).

mod following;
mod freshness;
mod purging;
mod storing;
mod validating;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::peer::{Peer, Proxy, Upstream};

/// A site with a cache, its app, and the one connection that the proxy has to it.
struct Cached {
    proxy: Proxy,
    upstream: Upstream,
    connection: Option<Peer>,
}

impl Cached {
    async fn start() -> Self {
        Self::with(json!({})).await
    }

    /// With these options of the handler.
    async fn with(mut options: Value) -> Self {
        options["handler"] = json!("cache");
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start_with(routes(options, upstream.address)).await;
        Self {
            proxy,
            upstream,
            connection: None,
        }
    }

    /// Sends a GET for `/` with further `lines` and gives the client's end.
    async fn ask(&self, lines: &str) -> Peer {
        self.proxy.send(&request("GET", "/", lines)).await
    }

    /// The head of the request that the app gets next.
    async fn asked(&mut self) -> String {
        if let Some(connection) = &mut self.connection
            && let Some(head) = connection.try_head().await
        {
            return head;
        }
        self.connection
            .insert(self.upstream.accept().await)
            .head()
            .await
    }

    /// Answers the app's current request.
    async fn answer(&mut self, response: &str) {
        self.connection.as_mut().unwrap().write(response).await;
    }

    /// Fetches `/` with the app's `response`; gives the answer's head and body.
    async fn fetch(&mut self, lines: &str, response: &str) -> (String, String) {
        self.exchange(&request("GET", "/", lines), response).await
    }

    /// Has the app answer a request with `response`; gives the answer's head and body.
    async fn exchange(&mut self, request: &str, response: &str) -> (String, String) {
        let mut client = self.proxy.send(request).await;
        self.asked().await;
        self.answer(response).await;
        read(&mut client).await
    }

    /// What a client gets for `/` without anybody being asked.
    async fn kept(&self, lines: &str) -> (String, String) {
        self.kept_for(&request("GET", "/", lines)).await
    }

    /// What a client gets without anybody being asked.
    async fn kept_for(&self, request: &str) -> (String, String) {
        let answer = read(&mut self.proxy.send(request).await).await;
        assert!(!status_of(&answer.0).contains("fwd="), "{}", answer.0);
        answer
    }
}

/// Routes of a site with one cache in front of one app.
fn routes(cache: Value, upstream: SocketAddr) -> Value {
    json!([{"handle": [
        cache,
        {"handler": "reverse_proxy", "upstreams": [{"dial": upstream.to_string()}]},
    ]}])
}

fn request(method: &str, target: &str, lines: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nhost: app.test\r\n{lines}\r\n")
}

/// A response of 200 with `lines` and a body.
fn response(lines: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\n{lines}content-length: {length}\r\n\r\n{body}")
}

/// Reads an answer whose length is announced, or that has no body.
async fn read(client: &mut Peer) -> (String, String) {
    let head = client.head().await;
    let length = field(&head, "content-length");
    let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    let body = client.bytes(length).await;
    (head, body)
}

/// The value of a field.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// What the cache says that it did.
fn status_of(head: &str) -> &str {
    field(head, "cache-status").unwrap_or_default()
}
