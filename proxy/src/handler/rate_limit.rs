//! Refuses requests that come too often (`rate_limit`, after `mholt/caddy-ratelimit`).
//!
//! Each process counts for itself, over all its workers, and goes on counting over a reload that
//! leaves a limit as it was. A refused request is an error 429, which error routes may answer.

mod zone;

use std::sync::Arc;

use caddyfile::document;
use http::StatusCode;

use self::zone::Zone;
use crate::compile::Scope;
use crate::error::{Error, Side};
use crate::exchange::Exchange;
use crate::matcher::MatcherSets;
use crate::placeholder::{Template, Unknown};

/// The handler.
#[derive(Debug)]
pub struct RateLimit {
    limits: Box<[Limit]>,
    jitter: f64,
    shows_key: bool,
}

#[derive(Debug)]
struct Limit {
    name: Box<str>,
    matchers: MatcherSets,
    key: Template,
    zone: Arc<Zone>,
}

/// The placeholder that says which limit was exceeded.
const EXCEEDED: &str = "http.rate_limit.exceeded.name";

impl RateLimit {
    pub(super) fn compile(document: &document::RateLimit, scope: &mut Scope) -> Self {
        for (is_used, name) in [
            (document.distributed.is_some(), ".distributed"),
            (document.storage.is_some(), ".storage"),
        ] {
            if is_used {
                scope.within(name, |scope| {
                    scope.error_with_hint(
                        "counters are not shared between proxies",
                        "remove it: each proxy counts for itself",
                    );
                });
            }
        }
        if !(0.0..=1.0).contains(&document.jitter) {
            scope.within(".jitter", |scope| {
                scope.error(format!("`{}` is no share from 0 to 1", document.jitter));
            });
        }
        let limits = document.rate_limits.iter().filter_map(|(name, limit)| {
            scope.within(format_args!(".rate_limits.{name}"), |scope| {
                Limit::compile(name, limit, scope)
            })
        });
        Self {
            limits: limits.collect(),
            jitter: document.jitter.clamp(0.0, 1.0),
            shows_key: document.log_key,
        }
    }

    pub(super) fn handle(&self, exchange: &mut Exchange) -> Result<(), Error> {
        for limit in &self.limits {
            if !limit.matchers.matches(exchange)? {
                continue;
            }
            let key = limit.key.expand(exchange).into_owned();
            let Err(wait) = limit.zone.enter(&key) else {
                continue;
            };
            if self.shows_key {
                tracing::info!(zone = %limit.name, key, "rate limit exceeded");
            } else {
                tracing::debug!(zone = %limit.name, "rate limit exceeded");
            }
            exchange.set_replacement(EXCEEDED, limit.name.to_string());
            let wait = wait.as_secs_f64() * (1.0 + self.jitter * rand::random::<f64>());
            // In whole seconds, up: a client that comes back in time is let in.
            let seconds = wait.ceil().clamp(1.0, f64::from(u32::MAX)) as u32;
            return Err(Error::new(
                StatusCode::TOO_MANY_REQUESTS,
                Side::Downstream,
                "too many requests",
            )
            .with_retry_after(seconds));
        }
        Ok(())
    }
}

impl Limit {
    fn compile(name: &str, document: &document::RateLimitZone, scope: &mut Scope) -> Option<Self> {
        let matchers = scope.within(".match", |scope| {
            MatcherSets::compile(&document.r#match, scope)
        });
        if matchers.needs_files() {
            scope.within(".match", |scope| {
                scope.error_with_hint(
                    "the `file` matcher cannot be used here",
                    "put the whole `rate_limit` behind it: `rate_limit @matcher { ... }`",
                );
            });
        }
        let window = document.window.to_std();
        let events = u32::try_from(document.max_events).ok();
        let (Some(events), false) = (events, window.is_zero()) else {
            scope.error_with_hint(
                "a limit needs a window and a number of events",
                "write for example `window 1m` and `events 100`",
            );
            return None;
        };
        Some(Self {
            name: name.into(),
            matchers,
            key: scope.template(&document.key, Unknown::Empty),
            zone: Zone::shared(name, window, events),
        })
    }
}
