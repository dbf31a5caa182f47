//! A request that goes on to those behind the cache, and what is done with their answer.

use std::sync::Arc;
use std::time::Instant;

use http::header::{CONTENT_LOCATION, ETAG, LOCATION, SET_COOKIE};
use http::{HeaderMap, Method, Response, StatusCode};

use super::{Asked, Cache, changed_target, key};
use crate::body::ResponseBody;
use crate::error::{Error, Side};
use crate::exchange::{Exchange, HeadersAside};
use crate::http_cache::figures::{FIGURES, count};
use crate::http_cache::{
    self, Asker, CacheStatus, FOR_CACHES, Forward, Head, Key, Landing, Lead, Policy, Received,
    Store, Stored,
};

/// A request that goes on.
#[derive(Debug)]
pub struct Fetch {
    pub(super) policy: Policy,
    pub(super) store: Arc<Store>,
    pub(super) key: Key,
    /// How often the URI had been invalidated when it went on.
    pub(super) generation: u64,
    /// What others wait for; `None` if nobody may.
    pub(super) lead: Option<Lead>,
    pub(super) why: Forward,
    /// The answer may be kept.
    pub(super) may_store: bool,
    /// The client gets an answer.
    pub(super) has_client: bool,
    method: Method,
    /// The request's fields as they came to the cache.
    pub(super) request: HeaderMap,
    target: Option<String>,
    /// What was there, and could not be given as it was.
    stale: Option<Stored>,
    /// Whether the server was asked only for what is newer.
    is_validating: bool,
    sent: Instant,
    /// Fields for the response that are not to be kept.
    aside: Option<HeadersAside>,
}

impl Fetch {
    /// A request that the cache does not answer.
    pub(super) fn outside(cache: &Cache, why: Forward, exchange: &mut Exchange) -> Self {
        Self {
            policy: cache.policy,
            store: Arc::clone(&cache.store),
            key: key(exchange).to_key(),
            generation: 0,
            lead: None,
            why,
            may_store: false,
            has_client: true,
            method: exchange.head.method.clone(),
            request: HeaderMap::new(),
            target: None,
            stale: None,
            is_validating: false,
            sent: Instant::now(),
            aside: Some(exchange.set_headers_aside()),
        }
    }

    /// A request that the cache has no answer to; its conditions become those of the cache.
    pub(super) fn new(
        cache: &Cache,
        asked: Asked,
        lead: Option<Lead>,
        generation: u64,
        exchange: &mut Exchange,
    ) -> Self {
        let is_get = exchange.head.method == Method::GET;
        let mut fetch = Self {
            generation,
            request: exchange.head.headers.clone(),
            target: asked.target,
            may_store: is_get && !asked.directives.no_store,
            stale: asked.found.stored,
            lead,
            ..Self::outside(cache, asked.why, exchange)
        };
        if fetch.may_store && (fetch.stale.is_some() || fetch.lead.is_some()) {
            fetch.is_validating = fetch.ask_for_whole(&mut exchange.head.headers);
        }
        fetch
    }

    /// A request of the cache's own, to bring `stored` up to date.
    pub(super) fn background(
        cache: &Cache,
        stored: &Stored,
        lead: Lead,
        generation: u64,
        exchange: &Exchange,
    ) -> Self {
        Self {
            policy: cache.policy,
            store: Arc::clone(&cache.store),
            key: key(exchange).to_key(),
            generation,
            lead: Some(lead),
            why: Forward::Stale,
            may_store: true,
            has_client: false,
            method: Method::GET,
            request: exchange.head.headers.clone(),
            target: changed_target(exchange).map(Into::into),
            stale: Some(stored.clone()),
            is_validating: false,
            sent: Instant::now(),
            aside: None,
        }
    }

    /// The exchange of a request of the cache's own, which repeats that of a client.
    pub(crate) fn exchange(&mut self, of_client: &Exchange) -> Exchange {
        let mut headers = self.request.clone();
        self.is_validating = self.ask_for_whole(&mut headers);
        // The cache's answer is for all, whatever the client had to say to caches.
        of_client.again(Method::GET, headers)
    }

    /// Puts the cache's conditions in the place of the client's; `false` if it has none.
    fn ask_for_whole(&self, headers: &mut HeaderMap) -> bool {
        for name in &FOR_CACHES {
            headers.remove(name);
        }
        self.stale
            .as_ref()
            .is_some_and(|stale| stale.head.validate(headers))
    }

    /// Does what is to be done with the answer; gives the one for the client.
    pub(crate) fn conclude(
        mut self: Box<Self>,
        mut response: Response<ResponseBody>,
        exchange: &mut Exchange,
    ) -> Response<ResponseBody> {
        self.restore(exchange);
        let status = response.status();
        if is_unsafe(&self.method) && (status.is_success() || status.is_redirection()) {
            self.invalidate(response.headers());
        }
        let mut answer = if self.is_validating && status == StatusCode::NOT_MODIFIED {
            self.freshen(response.headers())
        } else if is_failure(status)
            && let Some(answer) = self.give_stale()
        {
            self.land(Landing::Failed);
            answer
        } else if self.may_store {
            self.keep(response)
        } else {
            self.land(Landing::NotForOthers);
            self.say(&mut response, None, false);
            response
        };
        exchange.finish_proxied_headers(answer.headers_mut());
        answer
    }

    /// The answer that stands in for an error of those behind, if there is one.
    pub(crate) fn stand_in(
        mut self: Box<Self>,
        error: &Error,
        exchange: &mut Exchange,
    ) -> Option<Response<ResponseBody>> {
        self.restore(exchange);
        self.land(Landing::Failed);
        if error.side() != Side::Upstream || !is_failure(error.status()) {
            return None;
        }
        let mut answer = self.give_stale()?;
        exchange.finish_proxied_headers(answer.headers_mut());
        Some(answer)
    }

    /// Tells those who wait.
    pub(super) fn land(&mut self, landing: Landing) {
        if let Some(lead) = self.lead.take() {
            lead.land(landing);
        }
    }

    /// Has nobody wait for such a response for a while.
    pub(super) fn pass(&mut self) {
        if let Some(lead) = self.lead.take() {
            self.store.pass(lead.key.clone());
            lead.land(Landing::NotForOthers);
        }
    }

    /// The head under which a response is kept, if it may be.
    pub(super) fn head(
        &self,
        status: StatusCode,
        response: &HeaderMap,
        received: Received,
    ) -> Option<Head> {
        let asker = Asker::new(&self.method, &self.request);
        let request = (self.target.as_deref(), &self.request);
        Head::new(asker, status, response, request, received, &self.policy)
    }

    /// Drops what was there before.
    pub(super) fn forget_stale(&self) {
        if let Some(stale) = &self.stale {
            self.store.remove(&self.key, stale);
        }
    }

    /// When the response came that is being looked at.
    pub(super) fn received(&self) -> Received {
        Received::now(self.sent)
    }

    /// Says in the answer what the cache did.
    pub(super) fn say(
        &self,
        response: &mut Response<ResponseBody>,
        status: Option<StatusCode>,
        is_stored: bool,
    ) {
        let why = self.why;
        CacheStatus::Forwarded {
            why,
            status,
            is_stored,
        }
        .add_to(response.headers_mut());
    }

    /// What was there is still the server's response (RFC 9111 section 4.3.4).
    fn freshen(&mut self, not_modified: &HeaderMap) -> Response<ResponseBody> {
        let Some(stale) = self.stale.take() else {
            // Nothing is validated without it.
            return Response::new(ResponseBody::Empty);
        };
        let received = self.received();
        let is_same = match not_modified.get(ETAG) {
            Some(tag) => stale.head.headers.get(ETAG) == Some(tag),
            None => true,
        };
        let updated = stale.head.updated(not_modified, received);
        let head = self.head(stale.head.status, &updated, received);
        let head = head.filter(|_| is_same).map(Arc::new);
        let is_stored = head.is_some();
        let body = stale.body.clone();
        let now = Stored {
            head: head.unwrap_or_else(|| Arc::new(stale.head.with(updated))),
            body,
        };
        if !is_stored || now.head.selector != stale.head.selector {
            self.store.remove(&self.key, &stale);
        }
        if is_stored {
            self.store.insert(&self.key, self.generation, now.clone());
        }
        if is_stored && now.head.is_fresh(received.instant) {
            self.land(Landing::Stored);
        } else {
            self.pass();
        }
        let status = CacheStatus::Forwarded {
            why: self.why,
            status: Some(StatusCode::NOT_MODIFIED),
            is_stored,
        };
        let request = (&self.method, &self.request);
        let mut answer = now.answer(request, received.instant, status);
        for cookie in not_modified.get_all(SET_COOKIE) {
            answer.headers_mut().append(SET_COOKIE, cookie.clone());
        }
        answer
    }

    /// What was there, where it may stand in for the server's failure (RFC 5861 section 4).
    fn give_stale(&self) -> Option<Response<ResponseBody>> {
        let now = Instant::now();
        let stale = self.stale.as_ref()?;
        if !stale.head.freshness.allows_after_error(stale.head.age(now)) {
            return None;
        }
        if self.has_client {
            count(&FIGURES.stale);
        }
        let status = CacheStatus::Hit {
            ttl: stale.head.ttl(now),
            is_after_error: true,
        };
        Some(stale.answer((&self.method, &self.request), now, status))
    }

    /// Forgets what an unsafe request may have changed (RFC 9111 section 4.4).
    fn invalidate(&self, response: &HeaderMap) {
        let key = self.key.as_ref();
        for name in [LOCATION, CONTENT_LOCATION] {
            let reference = response.get(name).and_then(|value| value.to_str().ok());
            if let Some(other) = reference.and_then(|reference| key.resolve(reference)) {
                http_cache::invalidate(&other);
            }
        }
        http_cache::invalidate(&key);
    }

    /// Gives the exchange back what was taken from it.
    fn restore(&mut self, exchange: &mut Exchange) {
        let Some(aside) = self.aside.take() else {
            return;
        };
        exchange.restore_headers(aside);
        if self.request.is_empty() {
            return;
        }
        let headers = &mut exchange.head.headers;
        for name in &FOR_CACHES {
            headers.remove(name);
            for value in self.request.get_all(name) {
                headers.append(name, value.clone());
            }
        }
    }
}

/// Whether a method may change something at the server: all that are not known to be safe (RFC 9110
/// section 9.2.1).
fn is_unsafe(method: &Method) -> bool {
    !matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    )
}

/// Whether a status says that the server fails (RFC 5861 section 4).
pub(super) fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}
