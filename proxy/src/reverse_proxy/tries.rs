//! The tries of one request: choose an upstream, send, and see what came of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{HOST, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use upstream::{Address, SendError, SendErrorKind, UpstreamBody};

use super::balance::Candidates;
use super::failure::Protocol;
use super::request::Prepared;
use super::retry::Failed;
use super::state::InFlight;
use super::upstreams::{Endpoint, Upstream};
use super::{ReverseProxy, failure, request};
use crate::body::RequestBody;
use crate::error::{Error, Side};
use crate::exchange::Exchange;

/// What one request carries from try to try.
pub(super) struct Tries {
    pub(super) body: RequestBody,
    /// Whether there is a body, also after it was sent.
    pub(super) has_body: bool,
    pub(super) upgrade: Option<OnUpgrade>,
    /// When the first try began.
    pub(super) began: Instant,
    /// When the last try began.
    pub(super) last_began: Instant,
    pub(super) retries: u32,
    /// Upstreams that failed since the last pause.
    pub(super) failed: Vec<usize>,
    /// Upstreams that were found for the request, where they are not fixed.
    pub(super) found: Option<Arc<[Upstream]>>,
}

/// What one try led to.
enum Tried {
    /// A response, from an upstream that is still busy with it.
    Response(Response<UpstreamBody>, Endpoint, InFlight),
    /// Nothing; `None` as endpoint when no upstream was available.
    Failed(Option<Endpoint>, Option<SendError<RequestBody>>),
}

impl ReverseProxy {
    /// Tries until there is a response or no more try.
    pub(super) async fn send(
        &self,
        exchange: &mut Exchange,
        tries: &mut Tries,
    ) -> Result<(Response<UpstreamBody>, Endpoint, InFlight), Error> {
        loop {
            if let Some(discovery) = &self.discovery {
                tries.found = Box::pin(discovery.upstreams(exchange)).await;
            }
            let (endpoint, error) = match self.try_once(exchange, tries).await? {
                Tried::Response(response, endpoint, in_flight) => {
                    return Ok((response, endpoint, in_flight));
                }
                Tried::Failed(endpoint, error) => (endpoint, error),
            };
            let failed = self.failed(exchange, tries, error.as_ref());
            let Some(pause) = self.retry.next(&failed) else {
                let site = exchange.host();
                return Err(match (endpoint, error) {
                    (Some(Endpoint { target, state }), Some(error)) => {
                        let protocol = match self.fastcgi {
                            Some(_) => Protocol::FastCgi,
                            None => Protocol::Http,
                        };
                        failure::conclude(site, protocol, target.address(), &state, error)
                    }
                    _ => {
                        let first = self.upstreams(tries).first();
                        failure::unavailable(site, first.and_then(Upstream::state))
                    }
                });
            };
            if let Some(unsent) = error.and_then(|error| error.unsent) {
                tries.body = unsent.into_body();
            }
            tries.retries += 1;
            if !pause.is_zero() {
                tries.failed.clear();
                Box::pin(tokio::time::sleep(pause)).await;
            }
            tries.last_began = Instant::now();
        }
    }

    async fn try_once(&self, exchange: &mut Exchange, tries: &mut Tries) -> Result<Tried, Error> {
        let Some(index) = self.choose(exchange, tries) else {
            return Ok(Tried::Failed(None, None));
        };
        let endpoint = self.upstreams(tries)[index]
            .endpoint(exchange)
            .map_err(|message| {
                Error::new(StatusCode::INTERNAL_SERVER_ERROR, Side::Internal, message)
            })?;
        exchange.proxying.upstream = Some(Arc::clone(endpoint.state.address()));
        loop {
            let body = std::mem::take(&mut tries.body);
            let request = self.request(exchange, &endpoint, tries, body)?;
            let in_flight = endpoint.state.begin_request();
            let upstreams = &exchange.worker.upstreams;
            let sent = match (&self.fastcgi, self.proxy_header) {
                (None, None) => upstreams.send(&endpoint.target, request).await,
                // Boxed: most requests need none of these.
                (Some(fastcgi), _) => Box::pin(fastcgi.send(exchange, &endpoint, request)).await?,
                (None, Some(header)) => {
                    let connection = &exchange.connection;
                    let client = SocketAddr::new(exchange.client_ip, connection.peer.port());
                    let header = header.encode(client, connection.local);
                    Box::pin(upstreams.send_after(&endpoint.target, header, request)).await
                }
            };
            match sent {
                Ok(response) => {
                    let now = Instant::now();
                    let latency = now.duration_since(tries.last_began);
                    exchange.proxying.latency = Some(latency);
                    exchange.proxying.duration = Some(now.duration_since(tries.began));
                    self.judge(&response, latency, &endpoint);
                    return Ok(Tried::Response(response, endpoint, in_flight));
                }
                // The upstream may have closed the connection before it saw the request. Go's
                // transport sends such a request again too, on the next connection.
                Err(error)
                    if error.kind == SendErrorKind::Closed
                        && error.is_reused
                        && error.unsent.is_none()
                        && !tries.has_body
                        && exchange.head.method.is_safe() => {}
                Err(error) => {
                    if error.kind != SendErrorKind::RequestBody {
                        let reason = format!("{}", error.kind);
                        endpoint.state.count_failure(&reason, self.failure_limit);
                        tries.failed.push(index);
                    }
                    return Ok(Tried::Failed(Some(endpoint), Some(error)));
                }
            }
        }
    }

    /// The upstreams to choose from.
    fn upstreams<'a>(&'a self, tries: &'a Tries) -> &'a [Upstream] {
        tries.found.as_deref().unwrap_or(&self.upstreams)
    }

    fn choose(&self, exchange: &mut Exchange, tries: &Tries) -> Option<usize> {
        let (upstreams, failed) = (self.upstreams(tries), &tries.failed);
        if let [only] = upstreams {
            return only.is_available(self.failure_limit).then_some(0);
        }
        let is_available = |index: usize| upstreams[index].is_available(self.failure_limit);
        let is_fresh = |index: usize| !failed.contains(&index) && is_available(index);
        let among = |available| Candidates {
            upstreams,
            available,
        };
        let chosen = self.policy.choose(exchange, &among(&is_fresh));
        if chosen.is_none() && !failed.is_empty() {
            return self.policy.choose(exchange, &among(&is_available));
        }
        chosen
    }

    fn request(
        &self,
        exchange: &Exchange,
        endpoint: &Endpoint,
        tries: &Tries,
        body: RequestBody,
    ) -> Result<Request<RequestBody>, Error> {
        let peer = exchange.connection.peer.ip();
        let is_trusted = exchange.is_from_trusted_proxy
            || (!self.trusted_proxies.is_empty() && self.trusted_proxies.contain(peer, exchange));
        let Prepared {
            method,
            uri,
            mut headers,
            is_upgrade,
        } = request::prepare(exchange, is_trusted, tries.has_body).map_err(|error| {
            Error::new(
                StatusCode::NOT_IMPLEMENTED,
                Side::Downstream,
                error.message(),
            )
        })?;
        // Caddy: a server that is reached over TLS is most often another site's.
        let is_other_site = endpoint.target.is_tls() && !self.sets_host;
        if is_other_site || !headers.contains_key(HOST) {
            headers.insert(HOST, host_of(endpoint.target.address()));
        }
        if let Some(operations) = &self.request_headers {
            operations.apply(&mut headers, exchange);
            // Go: a `Host` that is set to nothing is the upstream's own.
            if headers.get(HOST).is_some_and(HeaderValue::is_empty) {
                headers.insert(HOST, host_of(endpoint.target.address()));
            }
        }
        // Whoever cannot switch must not ask for it.
        debug_assert!(
            is_upgrade || !headers.contains_key(UPGRADE) || self.request_headers.is_some()
        );
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Counts responses that are as bad as none.
    fn judge(&self, response: &Response<UpstreamBody>, latency: Duration, endpoint: &Endpoint) {
        let Some(unhealthy) = &self.unhealthy else {
            return;
        };
        let (status, headers) = (response.status(), response.headers());
        if unhealthy
            .statuses
            .as_ref()
            .is_some_and(|statuses| statuses.matches(status, headers))
        {
            let reason = format!("answered {status}");
            endpoint.state.count_failure(&reason, self.failure_limit);
        }
        if unhealthy.latency.is_some_and(|limit| latency >= limit) {
            let reason = format!("took {latency:?} to answer");
            endpoint.state.count_failure(&reason, self.failure_limit);
        }
    }

    fn failed(
        &self,
        exchange: &mut Exchange,
        tries: &Tries,
        error: Option<&SendError<RequestBody>>,
    ) -> Failed {
        let is_repeatable = !tries.has_body
            && if self.retry_match.is_empty() {
                exchange.head.method == Method::GET
            } else {
                self.retry_match.matches(exchange).unwrap_or(false)
            };
        let upstreams = self.upstreams(tries);
        let mut others = 0..upstreams.len();
        Failed {
            kind: error.map(|error| error.kind),
            is_unsent: error.is_some_and(|error| error.unsent.is_some()),
            is_repeatable,
            is_reused: error.is_some_and(|error| error.is_reused),
            has_alternative: error.is_some()
                && others.any(|index| {
                    !tries.failed.contains(&index)
                        && upstreams[index].is_available(self.failure_limit)
                }),
            retries: tries.retries,
            elapsed: tries.began.elapsed(),
        }
    }
}

/// The `Host` of an upstream that is asked by its own name.
fn host_of(address: &Address) -> HeaderValue {
    let host = match address {
        Address::Host { .. } => HeaderValue::from_str(&address.to_string()).ok(),
        Address::Unix(_) => None,
    };
    host.unwrap_or(HeaderValue::from_static("localhost"))
}
