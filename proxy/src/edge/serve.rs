//! The steps of a request before and after its routes.

use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::Rc;

use downstream::{Abort, Connection};
use futures_util::future::Either;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use proto::file_request::FILE_REQUEST;

use super::{Edge, Worker, host};
use crate::access_log::Record;
use crate::body::{RequestBody, ResponseBody};
use crate::compile::Server;
use crate::error::respond::respond;
use crate::exchange::{Exchange, split_host_port};
use crate::placeholder::status_text;
use crate::route::{Failure, Outcome, empty_answer};

/// Where HTTP-01 challenges are asked for (RFC 8555 section 8.3).
const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

impl downstream::Edge for Edge {
    type Body = ResponseBody;

    fn reconfigured(&self) {
        // A worker without requests would hold the configuration before until its next one.
        self.worker.config();
    }

    fn serve(
        self: &Rc<Self>,
        connection: Rc<Connection>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Abort>> + use<> + 'static {
        let (head, body) = request.into_parts();
        answer(
            Rc::clone(&self.worker),
            connection,
            head,
            RequestBody::new(body),
        )
    }
}

/// Answers a request.
///
/// What needs no waiting is done at once, and what waits is boxed, so that the future that is kept for
/// each request is small: it is copied for every request.
///
/// # Errors
/// When the connection is to be closed without an answer.
pub(crate) fn answer(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    mut head: Parts,
    body: RequestBody,
) -> impl Future<Output = Answered> + 'static {
    if let Err(error) = host::normalize(&mut head) {
        tracing::debug!(peer = %connection.peer, %error, "bad request");
        return rarely(ready(Ok(refused(StatusCode::BAD_REQUEST))));
    }
    // RFC 9110 section 9.3.7: about the server as a whole, which has no site.
    if head.method == Method::OPTIONS && head.uri.path() == "*" {
        return rarely(ready(Ok(Response::new(ResponseBody::Empty))));
    }
    // To a client any 2xx would mean that a tunnel is open (RFC 9110 section 9.3.6).
    if head.method == Method::CONNECT && head.extensions.get::<Protocol>().is_none() {
        return rarely(ready(Ok(refused(StatusCode::METHOD_NOT_ALLOWED))));
    }
    if connection.tls.is_none() && head.uri.path().starts_with(CHALLENGE_PATH) {
        return rarely(async move {
            if let Some(response) = challenge(&worker, &head).await {
                return Ok(response);
            }
            match begin(worker, connection, head, body) {
                Some(exchange) => run_routes(exchange).await,
                None => Err(Abort),
            }
        });
    }
    match begin(worker, connection, head, body) {
        Some(exchange) => Either::Right(run_routes(exchange)),
        None => rarely(ready(Err(Abort))),
    }
}

/// What a request comes to.
type Answered = Result<Response<ResponseBody>, Abort>;

/// Boxed, so that ordinary requests need no room for it.
fn rarely<F>(
    answering: impl Future<Output = Answered> + 'static,
) -> Either<Pin<Box<dyn Future<Output = Answered>>>, F> {
    Either::Left(Box::pin(answering))
}

/// The exchange of a request; `None` when a reload took its listener away, which has no server left
/// then and soon no more requests.
fn begin(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    mut head: Parts,
    body: RequestBody,
) -> Option<Box<Exchange>> {
    let config = worker.config();
    let server = config.server_at(connection.listener.address)?;
    // Only the proxy says what the static-server is to do.
    head.headers.remove(HeaderName::from_static(FILE_REQUEST));
    let exchange = Exchange::new(worker, Rc::clone(&config), server, connection, head, body);
    let mut exchange = Box::new(exchange);
    (exchange.client_ip, exchange.is_from_trusted_proxy) = config.servers[server]
        .client_address
        .find(exchange.client_ip, &exchange.head.headers);
    Some(exchange)
}

async fn run_routes(mut exchange: Box<Exchange>) -> Answered {
    let config = Rc::clone(&exchange.config);
    let server = &config.servers[exchange.server];
    let exchange = &mut *exchange;
    let record = server
        .logs
        .as_ref()
        .and_then(|logs| Record::begin(logs, exchange));
    let answered = route(server, exchange).await;
    match (answered, record) {
        (Ok(mut response), record) => {
            suppress(&mut response);
            Ok(match record {
                Some(record) => record.attach(response, exchange),
                None => response,
            })
        }
        (Err(_), record) => {
            if let Some(record) = record {
                record.abort(exchange);
            }
            Err(Abort)
        }
    }
}

/// Runs the routes of the request's server, and its error routes where they fail.
///
/// # Errors
/// When the connection is to be closed without an answer.
pub(crate) async fn route(
    server: &Server,
    exchange: &mut Exchange,
) -> Result<Response<ResponseBody>, Failure> {
    if server.refuses_host(exchange) {
        let mut response = Response::new(ResponseBody::Empty);
        *response.status_mut() = StatusCode::MISDIRECTED_REQUEST;
        return Ok(response);
    }
    match server.routes.run(exchange).await {
        Ok(Outcome::Answer(response)) => Ok(response),
        Ok(Outcome::Next) => Ok(empty_answer(exchange)),
        Err(Failure::Error(error)) => Box::pin(respond(error, exchange)).await,
        Err(Failure::Abort) => Err(Failure::Abort),
    }
}

/// Takes out what says something about content where there never is any.
fn suppress(response: &mut Response<ResponseBody>) {
    match response.status() {
        StatusCode::NO_CONTENT => {
            response.headers_mut().remove(CONTENT_LENGTH);
            *response.body_mut() = ResponseBody::Empty;
        }
        // Go: a client has these from the response that is still good.
        StatusCode::NOT_MODIFIED => {
            response.headers_mut().remove(CONTENT_LENGTH);
            response.headers_mut().remove(CONTENT_TYPE);
            *response.body_mut() = ResponseBody::Empty;
        }
        _ => {}
    }
}

/// The answer to an ACME HTTP-01 challenge, if the request is one that is known.
async fn challenge(worker: &Worker, head: &Parts) -> Option<Response<ResponseBody>> {
    let token = head.uri.path().strip_prefix(CHALLENGE_PATH)?;
    let host = head.headers.get(http::header::HOST)?.to_str().ok()?;
    let answer = worker
        .shared
        .challenges
        .answer(split_host_port(host).0, token)
        .await?;
    let mut response = Response::new(ResponseBody::full(answer.into()));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Some(response)
}

/// The answer to a request that no site is asked about.
fn refused(status: StatusCode) -> Response<ResponseBody> {
    let text = format!("{} {}", status.as_u16(), status_text(status));
    let mut response = Response::new(ResponseBody::full(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F, S>(_: F) -> usize
    where
        F: Fn(Rc<Worker>, Rc<Connection>, Parts, RequestBody) -> S,
        S: Future,
    {
        size_of::<S>()
    }

    /// Every request pays for its future's size: it is moved to where it is run.
    #[test]
    fn the_state_of_a_request_is_small() {
        let size = size(answer);
        assert!(size <= 1000, "{size} bytes");
    }
}
