//! Shows the proxy's metrics to clients (Caddy: `metrics`).

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

use super::Answer;
use crate::body::ResponseBody;
use crate::error::{Error, Side};
use crate::exchange::Exchange;

/// The media type of what the encoder writes.
const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Answers with everything that the administration listener shows at `/metrics`.
pub(super) fn handle(exchange: &mut Exchange) -> Result<Answer, Error> {
    let text = exchange.worker.shared.render_metrics().map_err(|error| {
        Error::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Side::Internal,
            "the metrics cannot be shown",
        )
        .with_source(error)
    })?;
    let mut response = Response::new(ResponseBody::full(text.into()));
    response.headers_mut().insert(CONTENT_TYPE, OPENMETRICS);
    exchange.finish_own_headers(response.headers_mut());
    Ok(Answer::Response(response))
}
