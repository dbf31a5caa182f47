//! How old a stored response is, how long it is fresh, and whether a request may have it (RFC 9111
//! section 4.2, RFC 5861).
//!
//! All of it is arithmetic on whole seconds; whoever calls looks at the clock.

use std::time::{Duration, SystemTime};

use http::header::{AGE, DATE, EXPIRES, HeaderName};
use http::{HeaderMap, StatusCode};

use super::Policy;
use super::cache_control::{RequestDirectives, ResponseDirectives};

/// What a response's fields say of how long it can be used. Times are in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Freshness {
    /// How long it is fresh, from its generation at the origin on.
    pub lifetime: u64,
    /// Whether the lifetime is one that the response names.
    pub is_explicit: bool,
    /// Every use has to be validated before (`no-cache`).
    pub needs_validation: bool,
    /// Nobody may have it stale.
    pub forbids_stale: bool,
    /// A client that would take it stale may not have it: `s-maxage` is the server's word for
    /// shared caches (RFC 9111 section 5.2.2.10).
    pub ignores_max_stale: bool,
    /// How long past its lifetime it is given while it is being validated (RFC 5861 section 3).
    pub while_revalidate: u64,
    /// How long past its lifetime it is given where the server fails (RFC 5861 section 4).
    pub if_error: u64,
}

/// Whether a request may have a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It is fresh.
    Fresh,
    /// It is stale, and the client said that this will do.
    Stale,
    /// It is stale, and given once more while it is validated.
    WhileRevalidating,
    /// Not before the server has said so, because the response's time is over.
    AfterValidation,
    /// Not before the server has said so, because the client wants that.
    AfterRequestedValidation,
}

impl Freshness {
    /// What `headers` say, received at `received`; windows that they do not name are the policy's.
    pub(crate) fn of(
        status: StatusCode,
        headers: &HeaderMap,
        directives: &ResponseDirectives,
        received: SystemTime,
        policy: &Policy,
    ) -> Self {
        let explicit = explicit_lifetime(headers, directives, received);
        // RFC 9111 section 4.2.2: what a status is cacheable by without being told.
        let default = match is_cacheable_by_default(status) {
            true => policy.default_ttl.as_secs(),
            false => 0,
        };
        let forbids_stale = directives.forbids_stale();
        let window = |named: Option<u64>, policy: Duration| match forbids_stale {
            true => 0,
            false => named.unwrap_or(policy.as_secs()),
        };
        Self {
            lifetime: explicit.unwrap_or(default),
            is_explicit: explicit.is_some(),
            needs_validation: directives.no_cache,
            forbids_stale,
            ignores_max_stale: forbids_stale || directives.s_maxage.is_some(),
            while_revalidate: window(
                directives.stale_while_revalidate,
                policy.stale_while_revalidate,
            ),
            if_error: window(directives.stale_if_error, policy.stale_if_error),
        }
    }

    /// Whether a request may have a response of `age`.
    pub(crate) fn use_at(&self, age: u64, request: &RequestDirectives) -> Use {
        let left = self.lifetime.saturating_sub(age);
        if request.no_cache
            || request.max_age.is_some_and(|most| age > most)
            || request.min_fresh.is_some_and(|least| left < least)
        {
            return Use::AfterRequestedValidation;
        }
        if self.needs_validation {
            return Use::AfterValidation;
        }
        if self.lifetime > age {
            return Use::Fresh;
        }
        let staleness = age - self.lifetime;
        if !self.ignores_max_stale && request.max_stale.is_some_and(|most| staleness <= most) {
            return Use::Stale;
        }
        if staleness < self.while_revalidate {
            return Use::WhileRevalidating;
        }
        Use::AfterValidation
    }

    /// Whether a response of `age` may stand in for a server that fails.
    pub(crate) fn allows_after_error(&self, age: u64) -> bool {
        !self.needs_validation && (self.lifetime > age || age - self.lifetime < self.if_error)
    }
}

/// The statuses that are cacheable without being told (RFC 9110 section 15.1), but for 206.
pub(crate) fn is_cacheable_by_default(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// The age of a response when it was received (RFC 9111 section 4.2.3): the larger of what its
/// `Date` shows and what its `Age` and the time under way add up to.
pub(crate) fn initial_age(headers: &HeaderMap, received: SystemTime, delay: Duration) -> u64 {
    let apparent = date(headers, &DATE)
        .and_then(|date| received.duration_since(date).ok())
        .unwrap_or_default();
    // Of several values the first counts, and one that is no number is none (RFC 9111 section 5.1).
    let said = headers
        .get(AGE)
        .and_then(|age| age.to_str().ok()?.split(',').next()?.trim().parse().ok())
        .unwrap_or(0_u64);
    apparent.as_secs().max(said.saturating_add(delay.as_secs()))
}

/// The time that a field names.
pub(crate) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// The lifetime that a response names (RFC 9111 section 4.2.1).
fn explicit_lifetime(
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    received: SystemTime,
) -> Option<u64> {
    if let Some(seconds) = directives.s_maxage.or(directives.max_age) {
        return Some(seconds);
    }
    headers.get(EXPIRES)?;
    // What is no date is in the past (RFC 9111 section 5.3).
    let Some(expires) = date(headers, &EXPIRES) else {
        return Some(0);
    };
    let generated = date(headers, &DATE).unwrap_or(received);
    Some(
        expires
            .duration_since(generated)
            .unwrap_or_default()
            .as_secs(),
    )
}

#[cfg(test)]
mod tests;
