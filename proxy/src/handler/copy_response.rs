//! What `handle_response` routes do with the upstream's response (Caddy: `copy_response`,
//! `copy_response_headers`).

use caddyfile::document;
use http::{HeaderName, StatusCode};

use super::Answer;
use crate::compile::Scope;
use crate::compile::scope::Status;
use crate::error::{Error, Side};
use crate::exchange::Exchange;

/// Sends the upstream's response.
#[derive(Debug)]
pub struct CopyResponse {
    status: Option<Status>,
}

/// Takes over fields of the upstream's response.
#[derive(Debug)]
pub struct CopyResponseHeaders {
    include: Box<[HeaderName]>,
    exclude: Box<[HeaderName]>,
}

impl CopyResponse {
    pub(super) fn compile(document: &document::CopyResponse, scope: &mut Scope) -> Self {
        Self {
            status: scope.within(".status_code", |scope| {
                scope.status(document.status_code.as_str())
            }),
        }
    }

    pub(super) fn handle(&self, exchange: &mut Exchange) -> Result<Answer, Error> {
        let status = self
            .status
            .as_ref()
            .map(|status| status.of(exchange))
            .transpose()?;
        let mut response = *exchange.proxying.response.take().ok_or_else(no_response)?;
        if let Some(status) = status {
            *response.status_mut() = status;
        }
        exchange.finish_proxied_headers(response.headers_mut());
        Ok(Answer::Response(response))
    }
}

impl CopyResponseHeaders {
    pub(super) fn compile(document: &document::CopyResponseHeaders, scope: &mut Scope) -> Self {
        let mut names = |names: &[String]| -> Box<[HeaderName]> {
            names
                .iter()
                .filter_map(|name| scope.header_name(name))
                .collect()
        };
        Self {
            include: names(&document.include),
            exclude: names(&document.exclude),
        }
    }

    pub(super) fn handle(&self, exchange: &mut Exchange) -> Result<(), Error> {
        let response = exchange.proxying.response.take().ok_or_else(no_response)?;
        let headers = exchange.response_headers_mut();
        for (name, value) in response.headers() {
            let is_meant = self.include.is_empty() || self.include.contains(name);
            if is_meant && !self.exclude.contains(name) {
                headers.append(name, value.clone());
            }
        }
        exchange.proxying.response = Some(response);
        Ok(())
    }
}

fn no_response() -> Error {
    Error::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        Side::Internal,
        "there is no response to copy: `copy_response` works in `handle_response` alone",
    )
}
