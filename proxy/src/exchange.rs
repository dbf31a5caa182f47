//! One request being handled: what the matchers look at and the handlers change.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use downstream::Connection;
use http::header::{HOST, SERVER};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use proto::file_request::{FileMatch, FileRequest};
use smallvec::SmallVec;

use crate::body::{RequestBody, ResponseBody};
use crate::compile::Server;
use crate::edge::{CurrentConfig, Worker};
use crate::error::Error;
use crate::handler::cache::{CacheState, Fetch};
use crate::matcher::regexp::Captured;
use crate::route::trace::Trace;

/// The value of `Server` in responses that the proxy makes itself.
pub const SERVER_NAME: HeaderValue = HeaderValue::from_static("Portico");

/// One request being handled, from the routes' start to the answer.
///
/// The request target in [`head`](Self::head) is always in origin form (path and query, RFC 9112
/// section 3.2.1), and `Host` is always among its fields, for HTTP/2 too.
pub struct Exchange {
    /// The worker that handles the request.
    pub worker: Rc<Worker>,
    /// The configuration the request began under; a reload does not change it.
    pub config: Rc<CurrentConfig>,
    /// Index of the server in [`Config::servers`](crate::compile::Config::servers).
    pub server: usize,
    /// The client's connection.
    pub connection: Rc<Connection>,
    /// Method, target, version and fields, as changed so far.
    pub head: Parts,
    /// Method and target as the client sent them.
    pub original: Original,
    /// The request's body, until a handler takes it.
    pub body: Option<RequestBody>,
    /// The client's address: the connection's, or what trusted proxies said.
    pub client_ip: IpAddr,
    /// Whether the connection comes from one of the server's `trusted_proxies`.
    pub is_from_trusted_proxy: bool,
    /// Values of `{http.vars.*}`.
    pub variables: Variables,
    /// What regular expressions matched, for `{http.regexp.*}`; the last one is the newest.
    pub captures: Vec<Captured>,
    /// Values of other placeholders that handlers set, by full name.
    pub replacements: Vec<(Cow<'static, str>, String)>,
    /// The upstream in use, for `{http.reverse_proxy.*}`.
    pub proxying: Proxying,
    /// The error that error routes are answering, for `{http.error.*}`.
    pub error: Option<Error>,
    /// Groups of routes of which one has run.
    pub groups: SmallVec<[u32; 4]>,
    /// When the request's head had been read.
    pub started: Instant,
    /// Facts that few requests have.
    pub rare: Option<Box<Rare>>,
    response_headers: HeaderMap,
    has_default_server_name: bool,
    uuid: OnceCell<Box<str>>,
}

/// A request's method and target as the client sent them.
#[derive(Clone, Debug)]
pub struct Original {
    /// The method.
    pub method: Method,
    /// The target in origin form.
    pub uri: Uri,
}

/// The upstream that a request was sent to, for `{http.reverse_proxy.*}`.
#[derive(Debug, Default)]
pub struct Proxying {
    /// The address that was chosen, as configured: `HOST:PORT`, or a Unix socket's path.
    pub upstream: Option<Arc<str>>,
    /// Tries after the first.
    pub retries: u32,
    /// Time until the response's head.
    pub latency: Option<Duration>,
    /// Time spent in the reverse proxy, over all tries.
    pub duration: Option<Duration>,
    /// Method and target for the upstream, where they are others than the request's.
    pub rewritten: Option<Box<(Method, Uri)>>,
    /// Status of the upstream's response.
    pub status: Option<StatusCode>,
    /// The upstream's response while `handle_response` routes run: `copy_response` sends it.
    pub response: Option<Box<Response<ResponseBody>>>,
}

/// Facts that few requests have.
#[derive(Debug, Default)]
pub struct Rare {
    /// Fields for the access log beside the usual ones.
    pub log_fields: Vec<(Box<str>, serde_json::Value)>,
    /// Who was authenticated.
    pub user_id: Option<String>,
    /// The way through the routes, where that is to be explained.
    pub trace: Option<Trace>,
    /// What became of waiting for a response that others asked for, and what is to be asked once
    /// more in the background.
    pub(crate) cache: CacheState,
    /// What the `file` matcher asked the static-server, and what it found.
    pub probes: Vec<(FileRequest, Option<FileMatch>)>,
}

/// Fields of the response that were set before anybody answers, and are not to be there for a while.
#[derive(Debug)]
pub(crate) struct HeadersAside {
    headers: HeaderMap,
    has_default_server_name: bool,
}

/// Named values of a request (Caddy: `vars`); a name that was never set reads as empty.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    values: SmallVec<[(Box<str>, String); 2]>,
}

impl Exchange {
    /// A request that has just been read.
    pub fn new(
        worker: Rc<Worker>,
        config: Rc<CurrentConfig>,
        server: usize,
        connection: Rc<Connection>,
        head: Parts,
        body: RequestBody,
    ) -> Self {
        Self {
            client_ip: connection.peer.ip().to_canonical(),
            original: Original {
                method: head.method.clone(),
                uri: head.uri.clone(),
            },
            worker,
            config,
            server,
            connection,
            head,
            body: Some(body),
            is_from_trusted_proxy: false,
            variables: Variables::default(),
            captures: Vec::new(),
            replacements: Vec::new(),
            proxying: Proxying::default(),
            error: None,
            groups: SmallVec::new(),
            started: Instant::now(),
            rare: None,
            response_headers: HeaderMap::new(),
            has_default_server_name: true,
            uuid: OnceCell::new(),
        }
    }

    /// The server that the request came to.
    pub fn server(&self) -> &Server {
        &self.config.servers[self.server]
    }

    /// The `Host` field as it is now, with its port if it has one; empty if it is no text.
    pub fn host_and_port(&self) -> &str {
        self.head
            .headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default()
    }

    /// The host without port and brackets.
    pub fn host(&self) -> &str {
        split_host_port(self.host_and_port()).0
    }

    /// Whether the client's connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.connection.tls.is_some()
    }

    /// The path as it is now, percent-encoded.
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// An identifier of the request, made when it is first asked for.
    pub fn uuid(&self) -> &str {
        self.uuid
            .get_or_init(|| uuid::Uuid::new_v4().to_string().into())
    }

    /// The identifier, if it was asked for.
    pub(crate) fn known_uuid(&self) -> Option<&str> {
        self.uuid.get().map(|uuid| &**uuid)
    }

    /// Sets the value of a placeholder, such as `http.auth.user.id`.
    pub fn set_replacement(&mut self, name: impl Into<Cow<'static, str>>, value: String) {
        let name = name.into();
        match self
            .replacements
            .iter_mut()
            .find(|(known, _)| *known == name)
        {
            Some((_, known)) => *known = value,
            None => self.replacements.push((name, value)),
        }
    }

    /// Facts that few requests have, to be set.
    pub fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// What is to be asked once more in the background.
    pub(crate) fn take_refresh(&mut self) -> Option<Box<Fetch>> {
        self.rare.as_mut()?.cache.refresh.take()
    }

    /// The way through the routes, where that is to be explained.
    pub(crate) fn trace_mut(&mut self) -> Option<&mut Trace> {
        self.rare.as_mut()?.trace.as_mut()
    }

    /// The fields of the response that are set before anybody answers.
    pub fn response_headers_mut(&mut self) -> &mut HeaderMap {
        if std::mem::take(&mut self.has_default_server_name) {
            self.response_headers.insert(SERVER, SERVER_NAME);
        }
        &mut self.response_headers
    }

    /// Whether nobody has said anything about the `Server` field of the response yet.
    pub(crate) fn has_default_server_name(&self) -> bool {
        self.has_default_server_name
    }

    /// The values of a field that is set before anybody answers.
    pub fn response_header(&self, name: &http::HeaderName) -> Option<&HeaderValue> {
        self.response_headers.get(name)
    }

    /// Takes out the fields that are set before anybody answers, so that a response comes without
    /// them.
    pub(crate) fn set_headers_aside(&mut self) -> HeadersAside {
        HeadersAside {
            headers: std::mem::take(&mut self.response_headers),
            has_default_server_name: std::mem::replace(&mut self.has_default_server_name, true),
        }
    }

    /// Puts them back in front of what was set meanwhile.
    pub(crate) fn restore_headers(&mut self, aside: HeadersAside) {
        let meanwhile = std::mem::replace(&mut self.response_headers, aside.headers);
        self.has_default_server_name &= aside.has_default_server_name;
        self.response_headers.extend(meanwhile);
    }

    /// The same request once more, as far as its routes have come, without its body and for no
    /// client.
    pub(crate) fn again(&self, method: Method, headers: HeaderMap) -> Self {
        let mut request = http::Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = self.head.uri.clone();
        *request.version_mut() = self.head.version;
        *request.headers_mut() = headers;
        let (head, ()) = request.into_parts();
        let (worker, config) = (Rc::clone(&self.worker), Rc::clone(&self.config));
        let connection = Rc::clone(&self.connection);
        let body = RequestBody::default();
        Self {
            original: self.original.clone(),
            client_ip: self.client_ip,
            is_from_trusted_proxy: self.is_from_trusted_proxy,
            variables: self.variables.clone(),
            captures: self.captures.clone(),
            replacements: self.replacements.clone(),
            groups: self.groups.clone(),
            ..Self::new(worker, config, self.server, connection, head, body)
        }
    }

    /// Puts the fields that were set before under those of a response of the proxy's own: where
    /// both have a field, the response's values hold.
    pub fn finish_own_headers(&mut self, headers: &mut HeaderMap) {
        if self.has_default_server_name && !headers.contains_key(SERVER) {
            headers.insert(SERVER, SERVER_NAME);
        }
        let mut current = None;
        for (name, value) in std::mem::take(&mut self.response_headers) {
            if let Some(name) = name {
                current = (!headers.contains_key(&name)).then_some(name);
            }
            if let Some(name) = &current {
                headers.append(name, value);
            }
        }
    }

    /// Puts the fields that were set before in front of those of an upstream's response; where
    /// both have a field, both stay (Caddy: `copyHeader`). `Server` is the upstream's alone.
    pub fn finish_proxied_headers(&mut self, headers: &mut HeaderMap) {
        if self.response_headers.is_empty() {
            return;
        }
        let mut merged = std::mem::take(&mut self.response_headers);
        merged.remove(SERVER);
        let mut current = None;
        for (name, value) in std::mem::take(headers) {
            if let Some(name) = name {
                current = Some(name);
            }
            if let Some(name) = &current {
                merged.append(name, value);
            }
        }
        *headers = merged;
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange")
            .field("method", &self.head.method)
            .field("uri", &self.head.uri)
            .field("client_ip", &self.client_ip)
            .finish_non_exhaustive()
    }
}

impl Variables {
    /// The value of `name`, if it was set.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.values.iter().find(|(known, _)| **known == *name);
        found.map(|(_, value)| value.as_str())
    }

    /// Sets `name` for the rest of the request.
    pub fn set(&mut self, name: &str, value: String) {
        match self.values.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, known)) => *known = value,
            None => self.values.push((name.into(), value)),
        }
    }
}

/// Splits `HOST:PORT` and takes the brackets off an IPv6 address; without a port the second part
/// is empty.
pub fn split_host_port(text: &str) -> (&str, &str) {
    if let Some(rest) = text.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((host, port)) => (host, port.strip_prefix(':').unwrap_or_default()),
            None => (rest, ""),
        };
    }
    match text.split_once(':') {
        // More than one colon and no brackets: an IPv6 address without a port.
        Some((host, port)) if !port.contains(':') => (host, port),
        _ => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::split_host_port;

    #[test]
    fn hosts_are_split_from_ports() {
        for (text, host, port) in [
            ("example.com", "example.com", ""),
            ("example.com:8443", "example.com", "8443"),
            ("[::1]:80", "::1", "80"),
            ("[::1]", "::1", ""),
            ("::1", "::1", ""),
            ("", "", ""),
        ] {
            assert_eq!(split_host_port(text), (host, port), "{text}");
        }
    }
}
