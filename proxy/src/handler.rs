//! Handlers: what a route does with a request (Caddy: `http.handlers`).
//!
//! A handler answers, fails, or changes the request and lets the next one go on; one that has to
//! see the answer of those behind it leaves a [`Filter`]. `subroute` and `invoke` are no handlers
//! here: they are flattened into the program of their routes.

pub mod authentication;
pub mod cache;
pub mod copy_response;
pub mod encode;
pub mod error;
pub mod file_server;
pub mod headers;
pub mod intercept;
pub mod log_append;
pub mod map;
mod metrics;
pub mod rate_limit;
pub mod request_body;
pub mod rewrite;
pub mod static_response;
pub mod tracing;
pub mod vars;

use std::future::Future;
use std::pin::Pin;

use caddyfile::document;
use http::Response;

use self::authentication::Authentication;
use self::cache::{Cache, Fetch};
use self::copy_response::{CopyResponse, CopyResponseHeaders};
use self::encode::{Coding, Encode};
use self::error::ErrorHandler;
use self::file_server::FileServer;
use self::headers::{Headers, ResponseHeaders};
use self::intercept::Intercept;
use self::log_append::LogAppend;
use self::map::Map;
use self::rate_limit::RateLimit;
use self::request_body::LimitBody;
use self::rewrite::Rewrite;
use self::static_response::StaticResponse;
use self::tracing::{Tracing, Unfinished};
use self::vars::Vars;
use crate::body::ResponseBody;
use crate::compile::Scope;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::reverse_proxy::ReverseProxy;
use crate::route::Failure;

/// A compiled handler.
#[derive(Debug)]
pub enum Handler {
    /// Asks for credentials.
    Authentication(Authentication),
    /// Answers with what is kept, and keeps what others answer.
    Cache(Cache),
    /// Sends the upstream's response, in `handle_response`.
    CopyResponse(CopyResponse),
    /// Takes over fields of the upstream's response, in `handle_response`.
    CopyResponseHeaders(CopyResponseHeaders),
    /// Compresses responses.
    Encode(Encode),
    /// Fails.
    Error(ErrorHandler),
    /// Serves files.
    FileServer(Box<FileServer>),
    /// Changes fields.
    Headers(Headers),
    /// Replaces certain responses.
    Intercept(Intercept),
    /// Adds to the access log.
    LogAppend(LogAppend),
    /// Sets placeholders from others.
    Map(Map),
    /// Shows the proxy's metrics.
    Metrics,
    /// Refuses requests that come too often.
    RateLimit(RateLimit),
    /// Limits or replaces the request's body.
    RequestBody(LimitBody),
    /// Forwards to upstreams.
    ReverseProxy(Box<ReverseProxy>),
    /// Changes method or target.
    Rewrite(Box<Rewrite>),
    /// Answers with what is written.
    StaticResponse(Box<StaticResponse>),
    /// Records requests as spans.
    Tracing(Tracing),
    /// Sets variables.
    Vars(Vars),
}

/// What a handler did.
#[derive(Debug)]
pub enum Answer {
    /// This handler is to be asked once more.
    Again,
    /// The next handler goes on.
    Next,
    /// This is the answer; fields that were set before are in it.
    Response(Response<ResponseBody>),
}

/// What a handler did, or what is to be waited for to know.
///
/// What waits is boxed by the handler that does: every request is given room for what is not, and
/// that room is copied.
#[expect(missing_debug_implementations, reason = "futures have none")]
pub enum Handled<'a> {
    /// This.
    Done(Answer),
    /// What this comes to.
    Later(Pin<Box<dyn Future<Output = Result<Answer, Failure>> + 'a>>),
}

/// What happens to the answer of the handlers behind.
#[derive(Debug)]
pub enum Filter<'a> {
    /// It may be kept for others.
    Cache(Box<Fetch>),
    /// It is compressed.
    Encode(&'a Encode, Coding),
    /// Its fields are changed.
    Headers(&'a ResponseHeaders),
    /// It may be replaced.
    Intercept(&'a Intercept),
    /// Facts that are known only then go to the access log.
    LogAppend(&'a LogAppend),
    /// It ends a span.
    Tracing(Box<Unfinished<'a>>),
}

impl Handler {
    /// Compiles a handler. One that has nothing to do, or is no good, gives nothing.
    pub fn compile(handler: &document::Handler, scope: &mut Scope) -> Option<Self> {
        use document::Handler as Document;

        Some(match handler {
            Document::Authentication(document) => {
                Self::Authentication(Authentication::compile(document, scope)?)
            }
            Document::Cache(document) => Self::Cache(Cache::compile(document, scope)),
            Document::CopyResponse(document) => {
                Self::CopyResponse(CopyResponse::compile(document, scope))
            }
            Document::CopyResponseHeaders(document) => {
                Self::CopyResponseHeaders(CopyResponseHeaders::compile(document, scope))
            }
            Document::Encode(document) => Self::Encode(Encode::compile(document, scope)),
            Document::Error(document) => Self::Error(ErrorHandler::compile(document, scope)),
            Document::FileServer(document) => {
                Self::FileServer(Box::new(FileServer::compile(document, scope)))
            }
            Document::Headers(document) => Self::Headers(Headers::compile(document, scope)),
            Document::Intercept(document) => Self::Intercept(Intercept::compile(document, scope)),
            Document::LogAppend(document) => Self::LogAppend(LogAppend::compile(document, scope)),
            Document::Map(document) => Self::Map(Map::compile(document, scope)),
            Document::Metrics(_) => Self::Metrics,
            Document::RateLimit(document) => Self::RateLimit(RateLimit::compile(document, scope)),
            Document::RequestBody(document) => {
                Self::RequestBody(LimitBody::compile(document, scope))
            }
            Document::ReverseProxy(document) => {
                Self::ReverseProxy(Box::new(ReverseProxy::compile(document, scope)?))
            }
            Document::Rewrite(document) => {
                Self::Rewrite(Box::new(Rewrite::compile(document, scope)))
            }
            Document::StaticResponse(document) => {
                Self::StaticResponse(Box::new(StaticResponse::compile(document, scope)))
            }
            Document::Tracing(document) => Self::Tracing(Tracing::compile(document, scope)),
            Document::Vars(document) => Self::Vars(Vars::compile(document, scope)),
            Document::Subroute(_) | Document::Invoke(_) => return None,
            // It changes nothing of what clients get.
            Document::Push(_) => return None,
            Document::AcmeServer(_) | Document::Templates(_) | Document::Other(_) => {
                scope.error_with_hint(
                    format!("the handler `{}` is not supported", handler.module()),
                    "remove it, or keep Caddy in front of this site",
                );
                return None;
            }
        })
    }

    /// Handles a request, as far as nothing has to be waited for.
    ///
    /// # Errors
    /// What ends the chain without an answer.
    pub fn handle<'a, 'b>(
        &'a self,
        exchange: &'b mut Exchange,
        filters: &mut Vec<Filter<'a>>,
    ) -> Result<Handled<'b>, Failure>
    where
        'a: 'b,
    {
        match self {
            Self::Authentication(handler) => {
                return Ok(Handled::Later(Box::pin(async move {
                    handler.handle(exchange).await?;
                    Ok(Answer::Next)
                })));
            }
            Self::Cache(handler) => return Ok(handler.handle(exchange, filters)),
            Self::CopyResponse(handler) => return Ok(Handled::Done(handler.handle(exchange)?)),
            Self::CopyResponseHeaders(handler) => handler.handle(exchange)?,
            Self::Encode(handler) => filters.extend(handler.filter(exchange)),
            Self::Error(handler) => return Err(handler.handle(exchange).into()),
            Self::FileServer(handler) => {
                return Ok(match handler.lookup(exchange)? {
                    Ok(answer) => Handled::Done(answer),
                    Err(asked) => Handled::Later(Box::pin(async move {
                        Ok(handler.fetch(asked, exchange).await?)
                    })),
                });
            }
            Self::Headers(handler) => filters.extend(handler.handle(exchange)),
            Self::Intercept(handler) => filters.push(Filter::Intercept(handler)),
            Self::LogAppend(handler) => filters.extend(handler.handle(exchange)),
            Self::Map(handler) => handler.handle(exchange),
            Self::Metrics => return Ok(Handled::Done(metrics::handle(exchange)?)),
            Self::RateLimit(handler) => handler.handle(exchange)?,
            Self::RequestBody(handler) => handler.handle(exchange),
            Self::ReverseProxy(handler) => {
                return Ok(Handled::Later(Box::pin(handler.forward(exchange))));
            }
            Self::Rewrite(handler) => handler.handle(exchange),
            Self::StaticResponse(handler) => return handler.handle(exchange).map(Handled::Done),
            Self::Tracing(handler) => filters.extend(handler.handle(exchange)),
            Self::Vars(handler) => handler.handle(exchange),
        }
        Ok(Handled::Done(Answer::Next))
    }
}

impl Filter<'_> {
    /// Passes the answer through.
    ///
    /// # Errors
    /// Where routes that were to replace it fail.
    pub async fn apply(
        self,
        mut response: Response<ResponseBody>,
        exchange: &mut Exchange,
    ) -> Result<Response<ResponseBody>, Failure> {
        match self {
            Self::Cache(fetch) => Ok(fetch.conclude(response, exchange)),
            Self::Encode(encode, coding) => {
                Ok(encode.apply(coding, response, &exchange.worker).await)
            }
            Self::Headers(headers) => {
                headers.apply(&mut response, exchange);
                Ok(response)
            }
            Self::Intercept(intercept) => intercept.apply(response, exchange).await,
            Self::LogAppend(log_append) => {
                log_append.record(exchange);
                Ok(response)
            }
            Self::Tracing(span) => Ok(span.conclude(response, exchange)),
        }
    }

    /// Ends with an error instead of an answer, unless it has one that can stand in.
    pub fn abandon(self, error: &Error, exchange: &mut Exchange) -> Option<Response<ResponseBody>> {
        match self {
            Self::Cache(fetch) => fetch.stand_in(error, exchange),
            Self::LogAppend(log_append) => {
                log_append.record(exchange);
                None
            }
            Self::Tracing(span) => {
                span.fail(error, exchange);
                None
            }
            Self::Encode(..) | Self::Headers(_) | Self::Intercept(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
