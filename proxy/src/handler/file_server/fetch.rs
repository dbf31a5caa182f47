//! Requests to the static-server.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, CONNECTION, DATE, HOST, HeaderName, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, SERVER,
    TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use proto::file_request::{FILE_MATCH, FILE_REQUEST, FileMatch, FileRequest};
use proto::sidecar::error_chain::Chain;
use upstream::SendErrorKind;

use crate::body::{RequestBody, ResponseBody};
use crate::error::{Error, Side};
use crate::exchange::Exchange;
use crate::log_limit::LogLimit;
use crate::placeholder::status_text;

/// Fields of the client's request that say which form of the file is wanted.
const NEGOTIATION: [HeaderName; 2] = [ACCEPT, ACCEPT_ENCODING];
/// Fields that make the answer depend on what the client has.
pub(super) const CONDITIONS: [HeaderName; 6] = [
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
];

const FIELD: HeaderName = HeaderName::from_static(FILE_REQUEST);
const STATIC_SERVER: HeaderValue = HeaderValue::from_static("static-server");
/// Seconds after which a client may try again when the static-server is away.
const RETRY_AFTER: u32 = 5;

static UNAVAILABLE: LogLimit = LogLimit::new();

/// The conditions of a request to the static-server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Conditions<'a> {
    /// The client's, and its ranges.
    Clients,
    /// That the file is another than the one with this entity tag.
    Another(&'a HeaderValue),
    /// None: all of the file is wanted.
    Whole,
}

/// Why there is no file.
#[derive(Debug)]
pub(super) struct Failure {
    /// What the client is told.
    pub error: Error,
    /// Whether no static-server answered.
    pub is_silence: bool,
}

impl Failure {
    /// That no static-server answered, for the reason `source`.
    pub(super) fn silence(source: impl Into<String>) -> Self {
        Self {
            error: unanswered(source.into()),
            is_silence: true,
        }
    }
}

/// Asks for the file of a request.
///
/// # Errors
/// When there is no such file, or the static-server gives no answer.
pub(super) async fn file(
    exchange: &mut Exchange,
    method: Method,
    field: HeaderValue,
    conditions: Conditions<'_>,
) -> Result<Response<ResponseBody>, Failure> {
    let response = send(exchange, || {
        let from = &exchange.head.headers;
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(HOST, STATIC_SERVER);
        headers.insert(FIELD, field.clone());
        copy(from, &NEGOTIATION, &mut headers);
        match conditions {
            Conditions::Clients => copy(from, &CONDITIONS, &mut headers),
            Conditions::Another(tag) => {
                headers.insert(IF_NONE_MATCH, tag.clone());
            }
            Conditions::Whole => {}
        }
        request(&method, &exchange.head.uri, headers)
    });
    let response = response.await.map_err(|error| Failure {
        error,
        is_silence: true,
    })?;
    let status = response.status();
    // A precondition that fails or a range that is not there is an answer about a file.
    let is_answer = !status.is_client_error() && !status.is_server_error()
        || matches!(
            status,
            StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE
        );
    if !is_answer {
        return Err(Failure {
            error: refused(exchange, &response),
            is_silence: false,
        });
    }
    let (mut head, body) = response.into_parts();
    for name in [
        CONNECTION,
        DATE,
        SERVER,
        TRANSFER_ENCODING,
        HeaderName::from_static(FILE_MATCH),
    ] {
        head.headers.remove(name);
    }
    Ok(Response::from_parts(head, body))
}

/// Asks which of the files to try there is.
///
/// # Errors
/// When the static-server gives no answer, or one that cannot be understood.
pub(crate) async fn probe(
    exchange: &Exchange,
    options: &FileRequest,
) -> Result<Option<FileMatch>, Error> {
    let question = options.to_header().ok();
    let question = question.ok_or_else(|| super::unusable(&options.root))?;
    let field = HeaderValue::from_str(&question).map_err(|_| super::unusable(&options.root))?;
    let worker = &exchange.worker;
    let changes = &worker.shared.volume_changes;
    if let Some(known) = worker.probes.borrow_mut().get(&question, changes) {
        return Ok(known);
    }
    let asked_at = changes.position();
    let response = send(exchange, || {
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(HOST, STATIC_SERVER);
        headers.insert(FIELD, field.clone());
        request(&Method::GET, &Uri::from_static("/"), headers)
    });
    let found = found(&response.await?)?;
    worker
        .probes
        .borrow_mut()
        .insert(question, found.clone(), asked_at, changes);
    Ok(found)
}

/// Reads the answer to a probe.
fn found(response: &Response<ResponseBody>) -> Result<Option<FileMatch>, Error> {
    match response.status() {
        StatusCode::NOT_FOUND => Ok(None),
        status if status.is_success() => {
            let found = response
                .headers()
                .get(FILE_MATCH)
                .map(HeaderValue::as_bytes);
            let found = FileMatch::from_header(found.unwrap_or_default()).map_err(|error| {
                Error::new(
                    StatusCode::BAD_GATEWAY,
                    Side::Upstream,
                    "the static-server's answer to a probe cannot be understood",
                )
                .with_source(error)
            })?;
            Ok(Some(found))
        }
        status => Err(Error::new(
            status,
            Side::Upstream,
            "the static-server refused a probe",
        )),
    }
}

/// Sends what `request` makes: to a static-server on this host, which hands over the open file, or
/// over HTTP.
async fn send(
    exchange: &Exchange,
    request: impl Fn() -> Request<RequestBody>,
) -> Result<Response<ResponseBody>, Error> {
    let worker = &exchange.worker;
    if worker.handoff.is_available()
        && let Some(response) = Box::pin(worker.handoff.ask(&request())).await
    {
        return Ok(response);
    }
    let target = &worker.shared.static_server;
    let mut sent = worker.upstreams.send(target, request()).await;
    // A static-server that restarts closes connections in use; reading again does no harm.
    if sent
        .as_ref()
        .is_err_and(|error| error.kind == SendErrorKind::Closed)
    {
        sent = Box::pin(worker.upstreams.send(target, request())).await;
    }
    let error = match sent {
        Ok(response) => return Ok(response.map(Into::into)),
        Err(error) => error,
    };
    if let Some(suppressed) = UNAVAILABLE.permit() {
        tracing::error!(
            static_server = %target.address(),
            error = %Chain(&error),
            suppressed,
            "files cannot be served: the static-server does not answer; is it up? \
             (`docker compose logs static-server`)"
        );
    }
    Err(unanswered(error.to_string()))
}

fn unanswered(source: String) -> Error {
    Error::new(
        StatusCode::SERVICE_UNAVAILABLE,
        Side::Upstream,
        "the static-server does not answer",
    )
    .with_retry_after(RETRY_AFTER)
    .with_source(source)
}

fn request(method: &Method, uri: &Uri, headers: HeaderMap) -> Request<RequestBody> {
    let mut request = Request::new(RequestBody::default());
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers;
    request
}

fn copy(from: &HeaderMap, names: &[HeaderName], to: &mut HeaderMap) {
    for name in names {
        for value in from.get_all(name) {
            to.append(name, value.clone());
        }
    }
}

/// The error for an answer that is no file.
fn refused(exchange: &mut Exchange, response: &Response<ResponseBody>) -> Error {
    let status = response.status();
    if let Some(allowed) = response.headers().get(ALLOW) {
        exchange
            .response_headers_mut()
            .insert(ALLOW, allowed.clone());
    }
    if status.is_client_error() {
        return Error::new(status, Side::Downstream, status_text(status));
    }
    let error = Error::new(status, Side::Upstream, "the static-server failed");
    let retry_after = response.headers().get(http::header::RETRY_AFTER);
    match retry_after.and_then(|value| value.to_str().ok()?.parse().ok()) {
        Some(seconds) => error.with_retry_after(seconds),
        None => error,
    }
}
