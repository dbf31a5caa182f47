//! The reverse proxy (Caddy: `http.handlers.reverse_proxy`): chooses an upstream, sends it the
//! request, and passes its response on.
//!
//! ```text
//! choose ──► prepare head ──► send ──► response head ──► rules, fields ──► client
//!   ▲                           │ failed                    └─ 101: a tunnel of its own
//!   └── pause ◄── may be tried again? ──► error (502, 503, 504) and one line in the log
//! ```
//!
//! Bodies stream through in both directions and are never held whole unless `request_buffers`
//! or `response_buffers` say so. Nothing here is locked or spawned on the way of an ordinary request.

mod address;
mod balance;
mod compile;
mod discovery;
mod failure;
mod fastcgi;
mod health;
mod hop_by_hop;
mod proxy_header;
mod request;
mod response;
mod retry;
mod state;
mod transport;
mod tries;
mod upgrade;
mod upstreams;

use std::rc::Rc;
use std::time::Duration;

use http::header::UPGRADE;
use http::{Method, Response, StatusCode};
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;
use upstream::UpstreamBody;

use self::balance::Policy;
use self::discovery::Discovery;
use self::fastcgi::FastCgi;
use self::proxy_header::ProxyHeader;
use self::retry::RetryPolicy;
use self::state::{FailureLimit, InFlight};
use self::tries::Tries;
use self::upgrade::TunnelLimits;
use self::upstreams::{Endpoint, Upstream};
use crate::body::{RequestBody, RequestBodyError, ResponseBody};
use crate::compile::scope::Status;
use crate::error::{Error, Side};
use crate::exchange::Exchange;
use crate::handler::Answer;
use crate::handler::headers::{HeaderOperations, ResponseHeaders};
use crate::handler::rewrite::Rewrite;
use crate::matcher::MatcherSets;
use crate::matcher::address::Ranges;
use crate::matcher::response::ResponseMatcher;
use crate::route::{Failure, Outcome, Program};

pub(crate) use self::fastcgi::SplitPath;
pub use self::health::{Check, Checker};
pub use self::state::{UpstreamFigures, upstream_states};

/// Forwards requests to upstreams.
#[derive(Debug)]
pub struct ReverseProxy {
    upstreams: Box<[Upstream]>,
    /// Finds upstreams for each request; the fixed ones are for when it cannot.
    discovery: Option<Box<Discovery>>,
    /// Set where upstreams are FastCGI responders.
    fastcgi: Option<Box<FastCgi>>,
    /// Begins connections to upstreams.
    proxy_header: Option<ProxyHeader>,
    policy: Policy,
    retry: RetryPolicy,
    retry_match: MatcherSets,
    request_headers: Option<HeaderOperations>,
    /// Whether `request_headers` says what `Host` is.
    sets_host: bool,
    response_headers: Option<ResponseHeaders>,
    rewrite: Option<Box<Rewrite>>,
    /// Ranges of proxies whose `X-Forwarded-*` are kept, besides the server's.
    trusted_proxies: Ranges,
    /// Bytes of the request body that are read before it is sent; negative is all of it.
    request_buffer: i64,
    /// Bytes of the response body that are read before it is passed on; negative is all of it.
    response_buffer: i64,
    failure_limit: FailureLimit,
    unhealthy: Option<UnhealthyResponses>,
    /// Time after which tunnels are closed; zero is never.
    tunnels: TunnelLimits,
    response_rules: Box<[ResponseRule]>,
}

/// Responses that count as failures.
#[derive(Debug)]
struct UnhealthyResponses {
    statuses: Option<ResponseMatcher>,
    latency: Option<Duration>,
}

/// What is done with certain responses (Caddy: `handle_response`).
#[derive(Debug)]
struct ResponseRule {
    matcher: Option<ResponseMatcher>,
    status: Option<Status>,
    routes: Program,
}

impl ReverseProxy {
    /// Forwards the request and answers with the upstream's response.
    ///
    /// Dropping the future closes the upstream's connection.
    ///
    /// # Errors
    /// 502 where the upstream cannot be reached or does not answer properly, 503 where none is
    /// available, 504 where the answer takes too long; the log has been told what to look at.
    pub async fn forward(&self, exchange: &mut Exchange) -> Result<Answer, Failure> {
        exchange.proxying.rewritten = self.rewrite.as_ref().map(|rewrite| {
            // Caddy rewrites a copy: placeholders, and what comes later, see the request as it was.
            let before = (exchange.head.method.clone(), exchange.head.uri.clone());
            rewrite.handle(exchange);
            let (method, uri) = before;
            Box::new((
                std::mem::replace(&mut exchange.head.method, method),
                std::mem::replace(&mut exchange.head.uri, uri),
            ))
        });
        let forwarded = self.forward_rewritten(exchange).await;
        exchange.proxying.rewritten = None;
        self.answer(forwarded?, exchange).await
    }

    /// The body that the upstream gets. Where another method asks in place of the request's, as
    /// `forward_auth` does, the body is left for who comes later.
    fn body_for_upstream(exchange: &mut Exchange) -> RequestBody {
        let asks = |method: &Method| matches!(*method, Method::GET | Method::HEAD);
        let rewritten = exchange.proxying.rewritten.as_deref();
        match rewritten.filter(|(method, _)| asks(method)) {
            Some(_) if !asks(&exchange.head.method) => RequestBody::default(),
            _ => exchange.body.take().unwrap_or_default(),
        }
    }

    async fn forward_rewritten(
        &self,
        exchange: &mut Exchange,
    ) -> Result<Response<ResponseBody>, Error> {
        if exchange.head.method == Method::CONNECT {
            // Caddy's server does not tunnel for clients either.
            return Err(Error::new(
                StatusCode::METHOD_NOT_ALLOWED,
                Side::Downstream,
                "`CONNECT` is not forwarded",
            ));
        }
        let mut body = Self::body_for_upstream(exchange);
        if body.is_over_limit() {
            // No upstream need see a request that is sure to break off.
            return Err(failure::request_body(RequestBodyError::TooLarge));
        }
        if self.request_buffer != 0 {
            let limit = u64::try_from(self.request_buffer).ok();
            Box::pin(body.buffer(limit))
                .await
                .map_err(failure::request_body)?;
        }
        if let Some(fastcgi) = &self.fastcgi {
            Box::pin(fastcgi.measure(&mut body)).await?;
        }
        let mut tries = Tries {
            has_body: !body.is_end_stream(),
            body,
            upgrade: exchange.head.extensions.remove(),
            // The routes take next to no time, and every look at the clock costs some.
            began: exchange.started,
            last_began: exchange.started,
            retries: 0,
            failed: Vec::new(),
            found: None,
        };
        let sent = self.send(exchange, &mut tries).await;
        exchange.proxying.retries = tries.retries;
        let (response, endpoint, in_flight) = sent?;
        let response = self.receive(response, &endpoint, in_flight, tries.upgrade, exchange)?;
        if self.response_buffer == 0 {
            return Ok(response);
        }
        Ok(Box::pin(response::buffered(response, self.response_buffer)).await)
    }

    /// Takes the upstream's response over.
    fn receive(
        &self,
        mut response: Response<UpstreamBody>,
        endpoint: &Endpoint,
        in_flight: InFlight,
        upgrade: Option<OnUpgrade>,
        exchange: &Exchange,
    ) -> Result<Response<ResponseBody>, Error> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let asked = exchange.head.headers.get(UPGRADE);
            return match upgrade {
                Some(client) if upgrade::is_as_asked(asked, response.headers()) => {
                    Ok(upgrade::join(
                        client,
                        response,
                        in_flight,
                        self.tunnels,
                        Rc::clone(&exchange.worker),
                    ))
                }
                _ => Err(Error::new(
                    StatusCode::BAD_GATEWAY,
                    Side::Upstream,
                    "the upstream switched to a protocol that it was not asked for",
                )),
            };
        }
        if let Some(observer) = in_flight.into_observer() {
            response.body_mut().observe(observer);
        }
        response::prepare(response)
            .map_err(|error| failure::response(endpoint.target.address(), error.message()))
    }

    /// Whether it only asks somebody about the request, as `forward_auth` does, and goes on.
    pub(crate) fn only_asks(&self) -> bool {
        let mut rules = self.response_rules.iter();
        self.rewrite.is_some() && rules.any(|rule| !rule.routes.is_empty())
    }

    /// Applies what the configuration says about responses.
    async fn answer(
        &self,
        mut response: Response<ResponseBody>,
        exchange: &mut Exchange,
    ) -> Result<Answer, Failure> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Answer::Response(response));
        }
        let rule = self
            .response_rules
            .iter()
            .find(|rule| rule.is_for(&response));
        exchange.proxying.status = Some(response.status());
        let status = rule.and_then(|rule| rule.status.as_ref());
        if let Some(status) = status {
            *response.status_mut() = status.of(exchange)?;
        }
        if let Some(operations) = &self.response_headers {
            operations.apply(&mut response, exchange);
        }
        response::finish(&mut response);
        match rule {
            Some(rule) if status.is_none() && !rule.routes.is_empty() => {
                exchange.proxying.response = Some(Box::new(response));
                let outcome = rule.routes.run_nested(exchange).await;
                exchange.proxying.response = None;
                Ok(match outcome? {
                    Outcome::Answer(response) => Answer::Response(response),
                    Outcome::Next => Answer::Next,
                })
            }
            _ => {
                exchange.finish_proxied_headers(response.headers_mut());
                Ok(Answer::Response(response))
            }
        }
    }
}

impl ResponseRule {
    fn is_for(&self, response: &Response<ResponseBody>) -> bool {
        let (status, headers) = (response.status(), response.headers());
        self.matcher
            .as_ref()
            .is_none_or(|matcher| matcher.matches(status, headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<'a, F, S>(_: F) -> usize
    where
        F: Fn(&'a ReverseProxy, &'a mut Exchange) -> S,
        S: Future,
    {
        size_of::<S>()
    }

    /// Every request pays for its future's size: it is moved to where it is run.
    #[test]
    fn the_state_of_a_request_is_small() {
        let size = size(|proxy, exchange| proxy.forward(exchange));
        assert!(size <= 1100, "{size} bytes");
    }
}
