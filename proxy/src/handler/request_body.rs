//! Limits or replaces the request's body (Caddy: `request_body`).

use caddyfile::document;
use http::HeaderValue;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

use crate::body::RequestBody;
use crate::compile::Scope;
use crate::exchange::Exchange;
use crate::placeholder::{Template, Unknown};

/// The handler.
#[derive(Debug)]
pub struct LimitBody {
    max_size: Option<u64>,
    replacement: Option<Template>,
}

impl LimitBody {
    pub(super) fn compile(document: &document::RequestBody, scope: &mut Scope) -> Self {
        for (timeout, name) in [
            (document.read_timeout, ".read_timeout"),
            (document.write_timeout, ".write_timeout"),
        ] {
            if timeout.as_nanoseconds() != 0 {
                scope.within(name, |scope| {
                    scope.error_with_hint(
                        "time limits of single routes are not supported",
                        "set them for the server: `servers { timeouts { ... } }`",
                    );
                });
            }
        }
        let has_replacement = !document.set.is_empty();
        Self {
            max_size: u64::try_from(document.max_size)
                .ok()
                .filter(|size| *size > 0),
            replacement: has_replacement.then(|| scope.template(&document.set, Unknown::Empty)),
        }
    }

    pub(super) fn handle(&self, exchange: &mut Exchange) {
        if let Some(replacement) = &self.replacement {
            let body = replacement.expand(exchange).into_owned();
            let headers = &mut exchange.head.headers;
            headers.remove(TRANSFER_ENCODING);
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            exchange.body = Some(RequestBody::full(body.into()));
        }
        if let (Some(size), Some(body)) = (self.max_size, &mut exchange.body) {
            body.limit(size);
        }
    }
}
