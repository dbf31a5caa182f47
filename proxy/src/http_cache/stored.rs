//! A stored response, and the answers that are made of it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, AGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, DATE, ETAG, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::Policy;
use super::cache_control::ResponseDirectives;
use super::cache_status::CacheStatus;
use super::conditions::{self, Part};
use super::freshness::{Freshness, initial_age};
use super::storing::{self, Asker};
use super::variants::Selector;
use crate::body::ResponseBody;

/// The head of a response that is kept.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub freshness: Freshness,
    pub selector: Selector,
    initial_age: u64,
    received: Instant,
}

/// A response that is kept.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub head: Arc<Head>,
    pub body: Bytes,
}

/// When a response came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// By the clock that never jumps.
    pub instant: Instant,
    /// By the clock on the wall.
    pub time: SystemTime,
    /// Since the request went out.
    pub delay: Duration,
}

/// What a stored response costs beside its bytes.
const OVERHEAD: usize = 512;

/// What a field costs beside its bytes.
const FIELD_OVERHEAD: usize = 48;

/// Fields that say something of the body that was stored with them, and stay with it (RFC 9111
/// section 3.2).
const OF_THE_BODY: [HeaderName; 6] = [
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    ETAG,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
];

/// Fields about content, which a 304 has not (RFC 9110 section 15.4.5).
const OF_CONTENT: [HeaderName; 6] = [
    ACCEPT_RANGES,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
];

impl Received {
    /// Now, for a request that went out at `sent`.
    pub(crate) fn now(sent: Instant) -> Self {
        let instant = Instant::now();
        Self {
            instant,
            time: SystemTime::now(),
            delay: instant.saturating_duration_since(sent),
        }
    }

    /// As `Date` has it.
    fn date(self) -> HeaderValue {
        let date = httpdate::fmt_http_date(self.time);
        HeaderValue::from_str(&date).unwrap_or(HeaderValue::from_static(""))
    }
}

impl Head {
    /// The head under which a response is kept; `None` if it is not to be.
    pub(crate) fn new(
        asker: Asker,
        status: StatusCode,
        response: &HeaderMap,
        (target, request): (Option<&str>, &HeaderMap),
        received: Received,
        policy: &Policy,
    ) -> Option<Self> {
        let directives = ResponseDirectives::parse(response);
        let freshness = Freshness::of(status, response, &directives, received.time, policy);
        if !storing::is_storable(asker, status, response, &directives, &freshness) {
            return None;
        }
        let selector = Selector::new(response, target, request)?;
        let initial_age = initial_age(response, received.time, received.delay);
        let mut headers = response.clone();
        storing::strip(&mut headers);
        headers.remove(AGE);
        // RFC 9110 section 6.6.1: who keeps a response notes when it came.
        if !headers.contains_key(DATE) {
            headers.insert(DATE, received.date());
        }
        Some(Self {
            status,
            headers,
            freshness,
            selector,
            initial_age,
            received: received.instant,
        })
    }

    /// The same with other fields.
    pub(crate) fn with(&self, headers: HeaderMap) -> Self {
        Self {
            headers,
            ..self.clone()
        }
    }

    /// The current age in seconds (RFC 9111 section 4.2.3).
    pub(crate) fn age(&self, now: Instant) -> u64 {
        let resident = now.saturating_duration_since(self.received);
        self.initial_age.saturating_add(resident.as_secs())
    }

    /// Seconds that it is still fresh; negative since when it is stale.
    pub(crate) fn ttl(&self, now: Instant) -> i64 {
        let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        signed(self.freshness.lifetime).saturating_sub(signed(self.age(now)))
    }

    /// Whether others may have it without asking the server.
    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        !self.freshness.needs_validation && self.ttl(now) > 0
    }

    /// Bytes that it takes.
    pub(crate) fn weight(&self) -> usize {
        let fields = self.headers.iter();
        let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD);
        OVERHEAD + self.selector.weight() + fields.sum::<usize>()
    }

    /// Puts the conditions into a request that find out whether this is still the response (RFC
    /// 9111 section 4.3.1). `false` if it has nothing to tell by.
    pub(crate) fn validate(&self, request: &mut HeaderMap) -> bool {
        let mut has_some = false;
        for (validator, condition) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
            if let Some(value) = self.headers.get(validator) {
                request.insert(condition, value.clone());
                has_some = true;
            }
        }
        has_some
    }

    /// The fields once a 304 has brought them up to date (RFC 9111 section 3.2).
    pub(crate) fn updated(&self, not_modified: &HeaderMap, received: Received) -> HeaderMap {
        let mut headers = self.headers.clone();
        let mut newer = not_modified.clone();
        storing::strip(&mut newer);
        for name in &OF_THE_BODY {
            newer.remove(name);
        }
        for name in newer.keys() {
            headers.remove(name);
        }
        headers.extend(newer);
        // That of the response before would make it as old as that.
        if !not_modified.contains_key(DATE) {
            headers.insert(DATE, received.date());
        }
        headers
    }

    /// The head of the answer to a client, with what the cache has to say.
    pub(crate) fn answer(&self, now: Instant, status: CacheStatus) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::Empty);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        let headers = response.headers_mut();
        headers.insert(AGE, self.age(now).into());
        status.add_to(headers);
        response
    }
}

impl Stored {
    /// The answer to a client that may have conditions of its own or want a part only.
    pub(crate) fn answer(
        &self,
        (method, request): (&Method, &HeaderMap),
        now: Instant,
        status: CacheStatus,
    ) -> Response<ResponseBody> {
        let mut response = self.head.answer(now, status);
        if conditional(request, &mut response) {
            return response;
        }
        if self.head.status != StatusCode::NO_CONTENT {
            response
                .headers_mut()
                .insert(CONTENT_LENGTH, self.body.len().into());
        }
        if *method == Method::HEAD {
            return response;
        }
        *response.body_mut() = ResponseBody::kept(self.body.clone());
        if self.head.status == StatusCode::OK {
            take_part(request, &self.body, &mut response);
        }
        response
    }

    /// Bytes that it takes.
    pub(crate) fn weight(&self) -> u64 {
        (self.body.len() + self.head.weight()) as u64
    }
}

/// Makes a 304 of the answer if the client has it already.
pub(crate) fn conditional(request: &HeaderMap, response: &mut Response<ResponseBody>) -> bool {
    if response.status() != StatusCode::OK
        || !conditions::is_not_modified(request, response.headers())
    {
        return false;
    }
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.body_mut() = ResponseBody::Empty;
    let headers = response.headers_mut();
    for name in &OF_CONTENT {
        headers.remove(name);
    }
    if headers.contains_key(ETAG) {
        headers.remove(LAST_MODIFIED);
    }
    true
}

/// Makes a 206 or 416 of the answer if the client wants a part.
fn take_part(request: &HeaderMap, body: &Bytes, response: &mut Response<ResponseBody>) {
    let length = body.len() as u64;
    let (range, part) = match conditions::part(request, response.headers(), length) {
        Part::Whole => return,
        Part::Unsatisfiable => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            let headers = response.headers_mut();
            headers.remove(CONTENT_TYPE);
            headers.remove(CONTENT_ENCODING);
            (format!("bytes */{length}"), Bytes::new())
        }
        Part::Bytes(first, last) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            // Both are within the body, whose length is a `usize`.
            let part = body.slice(first as usize..=last as usize);
            (format!("bytes {first}-{last}/{length}"), part)
        }
    };
    let headers = response.headers_mut();
    if let Ok(range) = HeaderValue::from_str(&range) {
        headers.insert(CONTENT_RANGE, range);
    }
    headers.insert(CONTENT_LENGTH, part.len().into());
    *response.body_mut() = ResponseBody::full(part);
}
