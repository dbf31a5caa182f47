//! Fails a request on purpose (Caddy: `error`).

use caddyfile::document;
use http::StatusCode;

use crate::compile::Scope;
use crate::compile::scope::Status;
use crate::error::{Error, Side};
use crate::exchange::Exchange;
use crate::placeholder::{Template, Unknown};

/// The handler.
#[derive(Debug)]
pub struct ErrorHandler {
    message: Template,
    status: Option<Status>,
}

impl ErrorHandler {
    pub(super) fn compile(document: &document::ErrorHandler, scope: &mut Scope) -> Self {
        Self {
            message: scope.template(&document.error, Unknown::Empty),
            status: scope.within(".status_code", |scope| {
                scope.status(document.status_code.as_str())
            }),
        }
    }

    pub(super) fn handle(&self, exchange: &Exchange) -> Error {
        let status = self.status.as_ref().map(|status| status.of(exchange));
        let status = match status.transpose() {
            Ok(status) => status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            Err(error) => return error,
        };
        // Configured, so nothing that anybody has to look into.
        Error::new(
            status,
            Side::Downstream,
            self.message.expand(exchange).into_owned(),
        )
    }
}
