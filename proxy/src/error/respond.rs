//! Errors that no error route answered become responses here, and nowhere else; and each is
//! logged once, at the level that its side deserves.

use http::header::RETRY_AFTER;
use http::{HeaderValue, Response};
use proto::sidecar::error_chain::Chain;

use super::{Error, Side};
use crate::body::ResponseBody;
use crate::exchange::Exchange;
use crate::log_limit::LogLimit;
use crate::route::{Failure, Outcome, empty_answer};

static INTERNAL: LogLimit = LogLimit::new();

/// Answers a request whose routes failed: by the server's error routes if it has some, else with
/// the error's status and nothing more (Caddy does the same).
///
/// # Errors
/// When the error routes want the connection closed without an answer.
pub async fn respond(
    error: Error,
    exchange: &mut Exchange,
) -> Result<Response<ResponseBody>, Failure> {
    log(&error, exchange);
    if let Some(seconds) = error.retry_after() {
        let seconds = HeaderValue::from(seconds);
        exchange.response_headers_mut().insert(RETRY_AFTER, seconds);
    }
    exchange.error = Some(error);
    let config = std::rc::Rc::clone(&exchange.config);
    let Some(routes) = &config.servers[exchange.server].errors else {
        return Ok(empty_answer(exchange));
    };
    // Caddy: error routes see the method and target that the client sent.
    exchange.head.method = exchange.original.method.clone();
    exchange.head.uri = exchange.original.uri.clone();
    match routes.run_nested(exchange).await {
        Ok(Outcome::Answer(response)) => Ok(response),
        Ok(Outcome::Next) => Ok(empty_answer(exchange)),
        Err(Failure::Abort) => Err(Failure::Abort),
        Err(Failure::Error(second)) => {
            // Caddy: the status stays that of the first error.
            log(&second, exchange);
            Ok(empty_answer(exchange))
        }
    }
}

fn log(error: &Error, exchange: &Exchange) {
    let status = error.status().as_u16();
    let (method, uri) = (&exchange.head.method, &exchange.head.uri);
    match error.side() {
        Side::Internal => {
            if let Some(suppressed) = INTERNAL.permit() {
                let host = exchange.host();
                tracing::error!(status, host, %method, %uri, suppressed, error = %Chain(error), "request failed");
            }
        }
        // Whoever talked to the upstream has logged it already, with what to do about it.
        Side::Downstream | Side::Upstream => {
            tracing::debug!(status, %method, %uri, error = %Chain(error), "request failed");
        }
    }
}
