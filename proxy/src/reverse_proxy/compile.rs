//! Caddy's `reverse_proxy` document to what runs.

use std::time::Duration;

use caddyfile::document::{self, LoadBalancing, PassiveHealthChecks};
use upstream::Target;

use super::balance::Policy;
use super::discovery::Discovery;
use super::fastcgi::FastCgi;
use super::health::Plan;
use super::proxy_header::ProxyHeader;
use super::retry::RetryPolicy;
use super::state::{FailureLimit, UpstreamState};
use super::transport::{Transport, positive};
use super::upgrade::TunnelLimits;
use super::upstreams::{Dynamic, Endpoint, Upstream};
use super::{ResponseRule, ReverseProxy, UnhealthyResponses, address};
use crate::compile::Scope;
use crate::compile::scope::Status;
use crate::handler::headers::{HeaderOperations, ResponseHeaders};
use crate::handler::rewrite::Rewrite;
use crate::matcher::MatcherSets;
use crate::matcher::address::Ranges;
use crate::matcher::response::ResponseMatcher;
use crate::placeholder::Unknown;
use crate::route::Program;

impl ReverseProxy {
    /// Compiles the handler; what is wrong with it goes to `scope`.
    pub(crate) fn compile(document: &document::ReverseProxy, scope: &mut Scope) -> Option<Self> {
        refuse_unsupported(document, scope);
        let transport = scope.within(".transport", |scope| {
            Transport::compile(document.transport.as_ref(), scope)
        });
        let passive = document
            .health_checks
            .as_ref()
            .and_then(|checks| checks.passive.as_ref());
        let fastcgi = match &document.transport {
            Some(document::Transport::Fastcgi(document)) => scope.within(".transport", |scope| {
                Some(Box::new(FastCgi::compile(document, scope)))
            }),
            _ => None,
        };
        let upstreams = upstreams(document, passive, &transport, scope);
        let discovery = document.dynamic_upstreams.as_ref();
        let discovery = discovery.and_then(|dynamic| {
            scope.within(".dynamic_upstreams", |scope| {
                let limit = passive.map_or(0, |passive| passive.unhealthy_request_count);
                Discovery::compile(dynamic, transport.clone(), positive(limit), scope)
            })
        });
        if upstreams.is_empty() && document.dynamic_upstreams.is_none() {
            scope.error_with_hint("there is no upstream", "name one, such as `web:8000`");
            return None;
        }
        let load_balancing = document.load_balancing.as_ref();
        let fixed = upstreams.iter().filter(|_| discovery.is_none());
        let dials: Vec<&str> = fixed.map(|upstream| &*upstream.dial).collect();
        let policy = scope.within(".load_balancing.selection_policy", |scope| {
            Policy::compile(
                load_balancing.and_then(|balancing| balancing.selection_policy.as_ref()),
                &dials,
                scope,
            )
        });
        let headers = document.headers.as_ref();
        let request_ops = headers.and_then(|headers| headers.request.as_ref());
        let request_headers = scope.within(".headers.request", |scope| {
            request_ops.map(|ops| HeaderOperations::compile(ops, scope))
        });
        let response_ops = headers.and_then(|headers| headers.response.as_ref());
        let response_headers = scope.within(".headers.response", |scope| {
            response_ops.map(|ops| ResponseHeaders::compile(ops, scope))
        });
        Some(Self {
            upstreams,
            discovery: discovery.map(Box::new),
            fastcgi,
            proxy_header: proxy_header(document, scope),
            policy,
            retry: load_balancing.map(retry).unwrap_or_default(),
            retry_match: scope.within(".load_balancing.retry_match", |scope| {
                let sets = load_balancing.map(|balancing| balancing.retry_match.as_slice());
                MatcherSets::compile(sets.unwrap_or_default(), scope)
            }),
            sets_host: request_ops.is_some_and(sets_host),
            request_headers: request_headers.filter(|headers| !headers.is_empty()),
            response_headers,
            rewrite: document.rewrite.as_ref().map(|rewrite| {
                Box::new(scope.within(".rewrite", |scope| Rewrite::compile(rewrite, scope)))
            }),
            trusted_proxies: scope.within(".trusted_proxies", |scope| {
                Ranges::compile(&document.trusted_proxies, scope)
            }),
            request_buffer: document.request_buffers,
            response_buffer: document.response_buffers,
            failure_limit: passive.map(failure_limit).unwrap_or_default(),
            unhealthy: passive.and_then(|passive| unhealthy(passive, scope)),
            tunnels: TunnelLimits {
                total: document.stream_timeout.to_std(),
                after_reload: document.stream_close_delay.to_std(),
            },
            response_rules: response_rules(&document.handle_response, scope),
        })
    }
}

fn refuse_unsupported(document: &document::ReverseProxy, scope: &mut Scope) {
    if document.circuit_breaker.is_some() {
        scope.error_with_hint(
            "`circuit_breaker` of `reverse_proxy` is not supported",
            "remove it: `fail_duration` and `max_fails` keep requests from upstreams that fail",
        );
    }
}

fn proxy_header(document: &document::ReverseProxy, scope: &mut Scope) -> Option<ProxyHeader> {
    let Some(document::Transport::Http(http)) = &document.transport else {
        return None;
    };
    ProxyHeader::of(http).unwrap_or_else(|| {
        let version = &http.proxy_protocol;
        scope.error_with_hint(
            format!("`{version}` is no version of the PROXY protocol"),
            "use `v1` or `v2`",
        );
        None
    })
}

fn upstreams(
    document: &document::ReverseProxy,
    passive: Option<&PassiveHealthChecks>,
    transport: &Transport,
    scope: &mut Scope,
) -> Box<[Upstream]> {
    let fallback_limit = passive.map_or(0, |passive| passive.unhealthy_request_count);
    let active = document.health_checks.as_ref();
    let active = active.and_then(|checks| checks.active.as_ref());
    let plan = active.and_then(|active| {
        scope.within(".health_checks.active", |scope| {
            Plan::compile(active, document.transport.as_ref(), scope)
        })
    });
    let documents = document.upstreams.iter().enumerate();
    let compiled = documents.filter_map(|(index, document)| {
        scope.within(format_args!(".upstreams[{index}]"), |scope| {
            let limit = match document.max_requests {
                0 => fallback_limit,
                limit => limit,
            };
            upstream(document, limit, transport, plan.as_ref(), scope)
        })
    });
    compiled.collect()
}

fn upstream(
    document: &document::Upstream,
    max_requests: i64,
    transport: &Transport,
    plan: Option<&Plan<'_>>,
    scope: &mut Scope,
) -> Option<Upstream> {
    let max_requests = positive(max_requests);
    let template = scope.template(&document.dial, Unknown::Empty);
    let Some(dial) = template.as_literal() else {
        let dynamic = Dynamic::new(template, transport.clone());
        return Some(Upstream::dynamic(&document.dial, dynamic, max_requests));
    };
    let address = match address::parse(dial) {
        Ok(address) => address,
        Err(error) => {
            scope.error_with_hint(error.to_string(), "write it as `web:8000` or `unix//path`");
            return None;
        }
    };
    match Target::new(transport.settings(address)) {
        Ok(target) => {
            let endpoint = Endpoint {
                target,
                state: UpstreamState::of(dial),
            };
            let check = plan.and_then(|plan| plan.check(dial, transport, scope));
            scope.checks.extend(check.clone());
            Some(Upstream::fixed(dial, endpoint, check, max_requests))
        }
        Err(error) => {
            scope.error(proto::sidecar::error_chain::Chain(&error).to_string());
            None
        }
    }
}

fn retry(document: &LoadBalancing) -> RetryPolicy {
    RetryPolicy {
        duration: document.try_duration.to_std(),
        retries: u32::try_from(document.retries).unwrap_or_default(),
        interval: document.try_interval.to_std(),
    }
}

/// Whether the request's `Host` is what the configuration says, so that it is left alone.
fn sets_host(document: &document::HeaderOps) -> bool {
    let mut names = document.set.keys().chain(document.add.keys());
    names.any(|name| name.eq_ignore_ascii_case("host"))
}

fn failure_limit(document: &PassiveHealthChecks) -> FailureLimit {
    FailureLimit {
        duration: document.fail_duration.to_std(),
        count: usize::try_from(document.max_fails)
            .unwrap_or_default()
            .max(1),
    }
}

fn unhealthy(document: &PassiveHealthChecks, scope: &mut Scope) -> Option<UnhealthyResponses> {
    let latency = Some(document.unhealthy_latency.to_std()).filter(|limit| *limit > Duration::ZERO);
    if document.unhealthy_status.is_empty() && latency.is_none() {
        return None;
    }
    let statuses = document::ResponseMatcher {
        status_code: document.unhealthy_status.clone(),
        ..document::ResponseMatcher::default()
    };
    Some(UnhealthyResponses {
        statuses: (!statuses.status_code.is_empty()).then(|| {
            scope.within(".health_checks.passive.unhealthy_status", |scope| {
                ResponseMatcher::compile(&statuses, scope)
            })
        }),
        latency,
    })
}

fn response_rules(
    documents: &[document::ResponseHandler],
    scope: &mut Scope,
) -> Box<[ResponseRule]> {
    let rules = documents.iter().enumerate().map(|(index, document)| {
        scope.within(format_args!(".handle_response[{index}]"), |scope| {
            ResponseRule {
                matcher: document.r#match.as_ref().map(|matcher| {
                    scope.within(".match", |scope| ResponseMatcher::compile(matcher, scope))
                }),
                status: scope.within(".status_code", |scope| -> Option<Status> {
                    scope.status(document.status_code.as_str())
                }),
                routes: scope.within(".routes", |scope| Program::compile(&document.routes, scope)),
            }
        })
    });
    rules.collect()
}
