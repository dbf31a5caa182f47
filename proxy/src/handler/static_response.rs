//! Answers that are written in the configuration (Caddy: `static_response`; `respond`, `redir`,
//! `abort`).

use bytes::Bytes;
use caddyfile::document;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

use super::Answer;
use super::headers::{HeaderOperations, fields};
use crate::body::ResponseBody;
use crate::compile::Scope;
use crate::compile::scope::Status;
use crate::error::{Error, Side};
use crate::exchange::Exchange;
use crate::placeholder::{Template, Unknown};
use crate::route::Failure;

/// The handler.
#[derive(Debug)]
pub struct StaticResponse {
    status: Option<Status>,
    headers: HeaderOperations,
    body: Body,
    is_close: bool,
    is_abort: bool,
}

#[derive(Debug)]
enum Body {
    Fixed(Bytes, HeaderValue),
    Template(Template),
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl StaticResponse {
    pub(super) fn compile(document: &document::StaticResponse, scope: &mut Scope) -> Self {
        let body = scope.template(&document.body, Unknown::Keep);
        Self {
            status: scope.within(".status_code", |scope| {
                scope.status(document.status_code.as_str())
            }),
            headers: scope.within(".headers", |scope| fields(&document.headers, scope)),
            body: match body.as_literal() {
                Some(literal) => {
                    Body::Fixed(Bytes::from(literal.to_owned()), content_type(literal))
                }
                None => Body::Template(body),
            },
            is_close: document.close,
            is_abort: document.abort,
        }
    }

    pub(super) fn handle(&self, exchange: &mut Exchange) -> Result<Answer, Failure> {
        if self.is_abort {
            return Err(Failure::Abort);
        }
        let (body, content_type) = match &self.body {
            Body::Fixed(body, content_type) => (body.clone(), content_type.clone()),
            Body::Template(template) => {
                let body = template.expand(exchange).into_owned();
                let content_type = content_type(&body);
                (body.into(), content_type)
            }
        };
        let of_error = exchange
            .error
            .as_ref()
            .map_or(StatusCode::OK, Error::status);
        let status = match &self.status {
            None => of_error,
            Some(status) => status.of(exchange)?,
        };
        let has_body = !body.is_empty();
        let mut response = Response::new(ResponseBody::full(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        self.headers.apply(headers, exchange);
        if self.is_close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        exchange.finish_own_headers(headers);
        if has_body && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, content_type);
        }
        // 103 is a head start of the answer, not the answer.
        if status == StatusCode::EARLY_HINTS {
            return Ok(Answer::Next);
        }
        Ok(Answer::Response(response))
    }
}

impl Status {
    /// The status for a request.
    ///
    /// # Errors
    /// When the placeholders give no status.
    pub fn of(&self, exchange: &Exchange) -> Result<StatusCode, Error> {
        match self {
            Self::Fixed(status) => Ok(*status),
            Self::Template(template) => {
                let text = template.expand(exchange);
                let status = text
                    .parse()
                    .ok()
                    .and_then(|code| StatusCode::from_u16(code).ok());
                status.ok_or_else(|| {
                    Error::new(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        Side::Internal,
                        format!("`{text}` is no status"),
                    )
                })
            }
        }
    }
}

/// The type of a text: JSON if it is some.
fn content_type(body: &str) -> HeaderValue {
    let body = body.trim();
    let is_enclosed = (body.starts_with('{') && body.ends_with('}'))
        || (body.starts_with('[') && body.ends_with(']'));
    let is_json = body.len() > 2
        && is_enclosed
        && serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok();
    if is_json { JSON } else { TEXT }
}
