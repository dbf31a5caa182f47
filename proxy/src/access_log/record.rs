//! What is recorded of a request, from its begin until its response has been sent.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Instant;

use downstream::TlsSession;
use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderName, PROXY_AUTHORIZATION, SET_COOKIE};
use http::{HeaderMap, Response, StatusCode};

use super::selection::{Loggers, Selection};
use super::{Level, Node};
use crate::body::ResponseBody;
use crate::body::observed::{Observed, Observer};
use crate::exchange::{Exchange, Original};
use crate::placeholder::client_certificate::brief;
use crate::placeholder::{path_and_query, protocol};

/// The begin of an entry: the request as the client sent it.
#[derive(Debug)]
pub struct Record {
    loggers: Loggers,
    shows_credentials: bool,
    host: String,
    headers: HeaderMap,
    read: Rc<Cell<u64>>,
}

/// An entry that lacks only the size; it is written as it is dropped.
pub struct Entry {
    loggers: Loggers,
    request: Node,
    user_id: String,
    started: Instant,
    read: Rc<Cell<u64>>,
    size: u64,
    status: StatusCode,
    response_headers: Node,
    extra: Vec<(Cow<'static, str>, Node)>,
}

/// Fields that let whoever reads the log act as the user.
const CREDENTIALS: [HeaderName; 4] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE];

impl Record {
    /// Begins an entry, if requests of this host are logged.
    pub(crate) fn begin(selection: &Selection, exchange: &mut Exchange) -> Option<Self> {
        let loggers = selection.of_host(exchange.host())?;
        let read = Rc::new(Cell::new(0));
        if let Some(body) = &mut exchange.body {
            body.count(Rc::clone(&read));
        }
        Some(Self {
            loggers,
            shows_credentials: selection.shows_credentials,
            host: exchange.host_and_port().to_owned(),
            headers: exchange.head.headers.clone(),
            read,
        })
    }

    /// Ends the entry when the response's body has been sent.
    pub(crate) fn attach(
        self,
        response: Response<ResponseBody>,
        exchange: &mut Exchange,
    ) -> Response<ResponseBody> {
        let Some(entry) = self.entry(exchange, response.status(), response.headers()) else {
            return response;
        };
        response.map(|body| ResponseBody::Logged(Box::new(Observed::new(body, entry))))
    }

    /// Ends the entry of a request whose connection is closed without an answer.
    pub(crate) fn abort(self, exchange: &mut Exchange) {
        // The entry is written as it is dropped.
        drop(
            self.entry(exchange, StatusCode::OK, &HeaderMap::new())
                .map(|mut entry| {
                    entry.extra.push(("aborted".into(), Node::Bool(true)));
                    entry
                }),
        );
    }

    fn entry(
        mut self,
        exchange: &mut Exchange,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Option<Entry> {
        // Caddy: `log_skip`.
        if exchange.variables.get("log_skip").is_some() {
            return None;
        }
        if let Some(loggers) = chosen(exchange) {
            self.loggers = loggers;
        }
        let rare = exchange.rare.take().unwrap_or_default();
        let mut extra: Vec<(Cow<'static, str>, Node)> = Vec::new();
        if let Some(uuid) = exchange.known_uuid() {
            extra.push(("uuid".into(), Node::text(uuid.to_owned())));
        }
        let appended = rare.log_fields.into_iter();
        extra.extend(appended.map(|(name, value)| (name.into_string().into(), Node::Raw(value))));
        Some(Entry {
            request: self.request(exchange),
            user_id: rare.user_id.unwrap_or_default(),
            started: exchange.started,
            read: self.read,
            size: 0,
            status,
            response_headers: fields(headers, self.shows_credentials),
            extra,
            loggers: self.loggers,
        })
    }

    fn request(&self, exchange: &Exchange) -> Node {
        let connection = &exchange.connection;
        let Original { method, uri } = &exchange.original;
        let mut request = vec![
            (
                "remote_ip".into(),
                Node::text(connection.peer.ip().to_string()),
            ),
            (
                "remote_port".into(),
                Node::text(connection.peer.port().to_string()),
            ),
            (
                "client_ip".into(),
                Node::text(exchange.client_ip.to_string()),
            ),
            ("proto".into(), Node::text(protocol(exchange.head.version))),
            ("method".into(), Node::text(method.to_string())),
            ("host".into(), Node::text(self.host.clone())),
            ("uri".into(), Node::text(path_and_query(uri).to_owned())),
            (
                "headers".into(),
                fields(&self.headers, self.shows_credentials),
            ),
        ];
        if let Some(session) = &connection.tls {
            request.push(("tls".into(), tls(session)));
        }
        Node::Object(request)
    }
}

/// The loggers that the request's own routes chose (Caddy: `log_name`).
fn chosen(exchange: &Exchange) -> Option<Loggers> {
    let names = exchange.variables.get("access_logger_names")?;
    let names: Vec<String> = serde_json::from_str(names).unwrap_or_else(|_| vec![names.to_owned()]);
    let selection = exchange.server().logs.as_ref()?;
    Some(
        names
            .iter()
            .filter_map(|name| selection.named(name))
            .collect(),
    )
}

/// The fields of a message by Go's spelling of their names.
fn fields(headers: &HeaderMap, shows_credentials: bool) -> Node {
    let fields = headers.keys().filter(|name| **name != HOST).map(|name| {
        let values = if !shows_credentials && CREDENTIALS.contains(name) {
            vec![Node::text("REDACTED")]
        } else {
            let values = headers.get_all(name).iter();
            values
                .map(|value| Node::text(String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect()
        };
        (canonical(name).into(), Node::List(values))
    });
    Node::Object(fields.collect())
}

/// A field's name with a capital at the begin of each word.
fn canonical(name: &HeaderName) -> String {
    let mut is_begin = true;
    let letters = name.as_str().chars().map(|letter| {
        let letter = if is_begin {
            letter.to_ascii_uppercase()
        } else {
            letter
        };
        is_begin = letter == '-';
        letter
    });
    letters.collect()
}

fn tls(session: &TlsSession) -> Node {
    let alpn = session.alpn.map_or("", |alpn| alpn.as_str());
    let mut fields = vec![
        ("resumed".into(), Node::Bool(session.is_resumed)),
        (
            "version".into(),
            Node::Integer(u16::from(session.version).into()),
        ),
        (
            "cipher_suite".into(),
            Node::Integer(u16::from(session.cipher_suite).into()),
        ),
        ("proto".into(), Node::text(alpn)),
        (
            "server_name".into(),
            Node::text(
                session
                    .server_name
                    .as_deref()
                    .unwrap_or_default()
                    .to_owned(),
            ),
        ),
        // Encrypted ClientHello is not spoken.
        ("ech".into(), Node::Bool(false)),
    ];
    if let Some((common_name, serial)) = session.client_certificate.as_ref().and_then(brief) {
        fields.push(("client_common_name".into(), Node::text(common_name)));
        fields.push(("client_serial".into(), Node::text(serial)));
    }
    Node::Object(fields)
}

impl Drop for Entry {
    fn drop(&mut self) {
        let level = if self.status.is_server_error() {
            Level::Error
        } else {
            Level::Info
        };
        let empty = || Node::Object(Vec::new());
        let mut fields = vec![
            (
                "request".into(),
                std::mem::replace(&mut self.request, empty()),
            ),
            ("bytes_read".into(), integer(self.read.get())),
            (
                "user_id".into(),
                Node::text(std::mem::take(&mut self.user_id)),
            ),
            (
                "duration".into(),
                Node::Float(self.started.elapsed().as_secs_f64()),
            ),
            ("size".into(), integer(self.size)),
            ("status".into(), Node::Integer(self.status.as_u16().into())),
            (
                "resp_headers".into(),
                std::mem::replace(&mut self.response_headers, empty()),
            ),
        ];
        fields.append(&mut self.extra);
        let fields = Node::Object(fields);
        for logger in self.loggers.iter() {
            for log in &logger.logs {
                log.write(level, &logger.name, "handled request", &fields);
            }
        }
    }
}

fn integer(value: u64) -> Node {
    Node::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Observer for Entry {
    fn sent(&mut self, bytes: u64) {
        self.size += bytes;
    }
}
