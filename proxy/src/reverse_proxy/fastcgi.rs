//! Having scripts run by a FastCGI responder, such as php-fpm (Caddy: `transport fastcgi`).

mod split;
mod variables;

use std::sync::Arc;

use caddyfile::document::FastcgiTransport;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use upstream::{ScriptLog, SendError, TargetSettings, UpstreamBody};

pub(crate) use self::split::SplitPath;
use super::state::UpstreamState;
use super::transport::some;
use super::upstreams::Endpoint;
use crate::body::RequestBody;
use crate::compile::Scope;
use crate::error::{Error, Side};
use crate::exchange::Exchange;
use crate::placeholder::{Template, Unknown};
use crate::uri::path;

/// As much of a body of unknown length is read to learn its length, in bytes, where neither
/// `request_buffers` nor `body_buffer_limit` say otherwise.
const MEASURED: u64 = 1 << 20;

/// What scripts are told of requests.
#[derive(Debug)]
pub(super) struct FastCgi {
    root: Template,
    split: SplitPath,
    resolves_root: bool,
    environment: Box<[(Box<str>, Template)]>,
    /// Whether everything that scripts write to their standard error is logged.
    captures_errors: bool,
    /// As much of a body of unknown length is read to learn its length, in bytes.
    measured: u64,
}

/// Logs what a script wrote to its standard error.
struct ErrorLog {
    state: Arc<UpstreamState>,
    site: Box<str>,
    script: Box<str>,
    is_captured: bool,
}

impl FastCgi {
    pub(super) fn compile(document: &FastcgiTransport, scope: &mut Scope) -> Self {
        let root = match document.root.as_str() {
            "" => "{http.vars.root}",
            root => root,
        };
        let limit = document.body_buffer_limit.as_ref();
        let environment = document.env.iter().map(|(name, value)| {
            let value = scope.template(value, Unknown::Empty);
            (name.as_str().into(), value)
        });
        Self {
            environment: environment.collect(),
            root: scope.template(root, Unknown::Empty),
            split: scope.within(".split_path", |scope| {
                SplitPath::compile(&document.split_path, scope)
            }),
            resolves_root: document.resolve_root_symlink,
            captures_errors: document.capture_stderr,
            measured: limit
                .and_then(serde_json::Value::as_u64)
                .filter(|limit| *limit > 0)
                .unwrap_or(MEASURED),
        }
    }

    /// Makes sure that the body's length is known. A script is told of it before it gets the body,
    /// and php-fpm reads no body that it is not told of.
    pub(super) async fn measure(&self, body: &mut RequestBody) -> Result<(), Error> {
        if body.size_hint().exact().is_some() {
            return Ok(());
        }
        let limit = Some(self.measured.saturating_add(1));
        let read = Box::pin(body.buffer(limit)).await;
        read.map_err(super::failure::request_body)?;
        if body.size_hint().exact().is_some() {
            return Ok(());
        }
        Err(Error::new(
            StatusCode::LENGTH_REQUIRED,
            Side::Downstream,
            format!(
                "a request body of unknown length has more than {} bytes, and a script has to be \
                 told the length first: have the client send `Content-Length`, or raise \
                 `request_buffers`",
                self.measured
            ),
        ))
    }

    /// Sends a request whose body has been [measured](Self::measure).
    ///
    /// # Errors
    /// The outer one is the client's fault, or the configuration's.
    pub(super) async fn send(
        &self,
        exchange: &Exchange,
        endpoint: &Endpoint,
        request: Request<RequestBody>,
    ) -> Result<Result<Response<UpstreamBody>, SendError<RequestBody>>, Error> {
        let (head, body) = request.into_parts();
        let decoded = path::decode(head.uri.path());
        if decoded.contains('\0') {
            // Caddy: responders in C would see the path end here.
            return Err(Error::new(
                StatusCode::BAD_REQUEST,
                Side::Downstream,
                "the path has a zero byte",
            ));
        }
        let length = body.size_hint().lower();
        let variables = self.variables(exchange, &head, &decoded, length);
        let script = variables.get("SCRIPT_FILENAME").unwrap_or_default();
        let log = ErrorLog {
            state: Arc::clone(&endpoint.state),
            site: exchange.host().into(),
            script: String::from_utf8_lossy(script).into(),
            is_captured: self.captures_errors,
        };
        let upstreams = &exchange.worker.upstreams;
        let target = &endpoint.target;
        Ok(upstreams
            .call(target, &variables, body, Arc::new(log))
            .await)
    }
}

/// Sets what the transport says of connections.
pub(super) fn set(document: &FastcgiTransport, settings: &mut TargetSettings) {
    if let Some(limit) = some(document.dial_timeout) {
        settings.dial_timeout = limit;
    }
    settings.read_timeout = some(document.read_timeout);
    settings.write_timeout = some(document.write_timeout);
}

/// Whether a request with this method has content by its nature.
fn expects_body(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

impl ScriptLog for ErrorLog {
    fn wrote(&self, text: &str, status: Option<StatusCode>) {
        let suppressed = if self.is_captured {
            0
        } else {
            match self.state.may_log_script() {
                Some(suppressed) => suppressed,
                None => return,
            }
        };
        let suppressed = (suppressed > 0).then_some(suppressed);
        let upstream = self.state.address();
        let (site, script) = (&*self.site, &*self.script);
        let message = "a script wrote to its standard error";
        // Caddy: warnings, unless the response says that it failed.
        if status.is_none_or(|status| status.as_u16() >= 400) {
            tracing::error!(site, %upstream, script, suppressed, stderr = text, "{message}");
        } else {
            tracing::warn!(site, %upstream, script, suppressed, stderr = text, "{message}");
        }
    }
}
