//! Replaces certain responses (Caddy: `intercept`).

use caddyfile::document;
use http::Response;
use http::header::CONTENT_LENGTH;

use crate::body::ResponseBody;
use crate::compile::Scope;
use crate::compile::scope::Status;
use crate::exchange::Exchange;
use crate::matcher::response::ResponseMatcher;
use crate::placeholder::status_text;
use crate::route::{Failure, Outcome, Program};

/// The handler.
#[derive(Debug)]
pub struct Intercept {
    handlers: Box<[ResponseHandler]>,
}

/// What happens to certain responses.
#[derive(Debug)]
struct ResponseHandler {
    matcher: Option<ResponseMatcher>,
    status: Option<Status>,
    routes: Program,
}

impl Intercept {
    pub(super) fn compile(document: &document::Intercept, scope: &mut Scope) -> Self {
        let handlers = document
            .handle_response
            .iter()
            .enumerate()
            .map(|(index, handler)| {
                scope.within(format_args!(".handle_response[{index}]"), |scope| {
                    ResponseHandler {
                        matcher: handler.r#match.as_ref().map(|matcher| {
                            scope.within(".match", |scope| ResponseMatcher::compile(matcher, scope))
                        }),
                        status: scope.within(".status_code", |scope| {
                            scope.status(handler.status_code.as_str())
                        }),
                        routes: scope
                            .within(".routes", |scope| Program::compile(&handler.routes, scope)),
                    }
                })
            });
        Self {
            handlers: handlers.collect(),
        }
    }

    /// Passes the answer through: the first handler that is for it replaces its status or lets
    /// routes answer. Routes that answer nothing leave it as it is.
    pub(super) async fn apply(
        &self,
        mut response: Response<ResponseBody>,
        exchange: &mut Exchange,
    ) -> Result<Response<ResponseBody>, Failure> {
        let handler = self.handlers.iter().find(|handler| {
            let matcher = handler.matcher.as_ref();
            matcher.is_none_or(|matcher| matcher.matches(response.status(), response.headers()))
        });
        let Some(handler) = handler else {
            return Ok(response);
        };
        if let Some(status) = &handler.status {
            *response.status_mut() = status.of(exchange)?;
            return Ok(response);
        }
        for (name, value) in response.headers() {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            exchange.set_replacement(format!("http.intercept.header.{name}"), value);
        }
        let status = response.status();
        exchange.set_replacement("http.intercept.status_code", status.as_u16().to_string());
        exchange.set_replacement("http.intercept.status_text", status_text(status).to_owned());
        let mut headers = response.headers().clone();
        headers.remove(CONTENT_LENGTH);
        *exchange.response_headers_mut() = headers;
        match handler.routes.run_nested(exchange).await? {
            Outcome::Answer(answer) => Ok(answer),
            Outcome::Next => {
                exchange.response_headers_mut().clear();
                Ok(response)
            }
        }
    }
}
