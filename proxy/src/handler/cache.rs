//! Answers with what others were answered before (`cache`): see [`http_cache`].
//!
//! What is fresh is given at once. Otherwise the request goes on with a [`Fetch`] that sees the
//! answer of the handlers behind; or it waits for one that goes on already, and is then looked at
//! once more.

mod compile;
mod fetch;
mod keep;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use http::header::{HOST, HeaderName, RANGE, UPGRADE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;

pub use self::fetch::Fetch;
use super::{Answer, Filter, Handled};
use crate::body::ResponseBody;
use crate::exchange::Exchange;
use crate::http_cache::figures::{FIGURES, count};
use crate::http_cache::{
    self, CacheStatus, FOR_THE_SERVER, Flight, FlightKey, Forward, Found, KeyRef, Landing, Phase,
    Place, Policy, Recording, RequestDirectives, Store, Stored, Use,
};

/// The handler.
#[derive(Debug)]
pub struct Cache {
    policy: Policy,
    store: Arc<Store>,
}

/// What became of a request while it waited.
#[derive(Debug, Default)]
pub(crate) struct CacheState {
    /// What is to be asked once more in the background.
    pub(crate) refresh: Option<Box<Fetch>>,
    waited: Option<Waited>,
    rounds: u8,
}

/// What a request has waited for.
#[derive(Debug)]
struct Waited {
    key: FlightKey,
    /// How that ended; `None` if only its head has come.
    landing: Option<Landing>,
    /// Why the request would have gone on.
    why: Forward,
}

/// Who waits more often than this goes on alone.
const MOST_ROUNDS: u8 = 4;

/// Fields by which a trusted proxy in front tells the app what the client asked for. They count
/// as parts of the URI.
static ABOUT_THE_URI: [HeaderName; 2] = [
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
];

impl Cache {
    pub(super) fn handle<'b>(
        &self,
        exchange: &'b mut Exchange,
        filters: &mut Vec<Filter<'_>>,
    ) -> Handled<'b> {
        let (method, headers) = (&exchange.head.method, &exchange.head.headers);
        if *method == Method::CONNECT || headers.contains_key(UPGRADE) {
            return Handled::Done(Answer::Next);
        }
        let has_body = exchange
            .body
            .as_ref()
            .is_some_and(|body| !body.is_end_stream());
        let outside = match *method {
            Method::GET | Method::HEAD => {
                let is_for_server = FOR_THE_SERVER.iter().any(|name| headers.contains_key(name));
                (has_body || is_for_server).then_some(Forward::Bypass)
            }
            _ => Some(Forward::Method),
        };
        if let Some(why) = outside {
            let fetch = Fetch::outside(self, why, exchange);
            filters.push(Filter::Cache(Box::new(fetch)));
            return Handled::Done(Answer::Next);
        }
        let directives = RequestDirectives::parse(headers);
        let target = changed_target(exchange);
        let found = self.store.find(&key(exchange), target.as_deref(), headers);
        let now = Instant::now();
        let why = match &found.stored {
            None if found.is_known() => Forward::VaryMiss,
            None => Forward::UriMiss,
            Some(stored) => match stored
                .head
                .freshness
                .use_at(stored.head.age(now), &directives)
            {
                Use::Fresh => return self.give(stored, now, exchange),
                Use::Stale => return give_stale(stored, now, false, exchange),
                Use::WhileRevalidating => {
                    let key = flight_key(exchange, &found, target.as_deref());
                    self.refresh(key, stored, exchange);
                    return give_stale(stored, now, false, exchange);
                }
                Use::AfterValidation => Forward::Stale,
                Use::AfterRequestedValidation => Forward::Request,
            },
        };
        if directives.only_if_cached {
            return Handled::Done(Answer::Response(refused(exchange)));
        }
        let asked = Asked {
            directives,
            found,
            target: target.map(Cow::into_owned),
            why,
        };
        self.ask(asked, now, exchange, filters)
    }

    /// Sees to it that the server is asked, by this request or by another one.
    fn ask<'b>(
        &self,
        asked: Asked,
        now: Instant,
        exchange: &'b mut Exchange,
        filters: &mut Vec<Filter<'_>>,
    ) -> Handled<'b> {
        let key = flight_key(exchange, &asked.found, asked.target.as_deref());
        let waited = exchange.rare.as_ref().and_then(|rare| {
            let waited = rare.cache.waited.as_ref()?;
            (waited.key == key).then_some(waited.landing).flatten()
        });
        if let (Some(Landing::Failed), Some(stored), Forward::Stale) =
            (waited, &asked.found.stored, asked.why)
            && stored
                .head
                .freshness
                .allows_after_error(stored.head.age(now))
        {
            return give_stale(stored, now, true, exchange);
        }
        let headers = &exchange.head.headers;
        let rounds = exchange.rare.as_ref().map_or(0, |rare| rare.cache.rounds);
        let is_alone = exchange.head.method == Method::HEAD
            || asked.directives.no_store
            || asked.why == Forward::Request
            || headers.contains_key(RANGE) && asked.found.stored.is_none()
            || waited.is_some_and(|landing| landing != Landing::Abandoned)
            || rounds >= MOST_ROUNDS
            || self.store.is_passing(&key);
        let generation = self.store.generation(&key.key.as_ref());
        let mut lead = None;
        if !is_alone {
            match self.store.flights.board(key.clone(), generation) {
                Place::Lead(place) => lead = Some(place),
                Place::Follow(flight) => match flight.phase() {
                    Phase::Recording(recording) if !is_for(&recording, &asked, now, exchange) => {}
                    Phase::Recording(recording) if recording.length.is_some() => {
                        return share(&recording, asked.why, now, exchange);
                    }
                    Phase::Recording(recording) => {
                        return wait(key, flight, Some(recording), asked.why, exchange);
                    }
                    Phase::Waiting | Phase::Ended(_) => {
                        return wait(key, flight, None, asked.why, exchange);
                    }
                },
            }
        }
        count(&FIGURES.misses);
        let fetch = Fetch::new(self, asked, lead, generation, exchange);
        filters.push(Filter::Cache(Box::new(fetch)));
        Handled::Done(Answer::Next)
    }

    /// Gives what is fresh.
    fn give<'b>(&self, stored: &Stored, now: Instant, exchange: &mut Exchange) -> Handled<'b> {
        let waited = exchange.rare.as_ref();
        let waited = waited.and_then(|rare| rare.cache.waited.as_ref());
        let status = match waited {
            Some(waited) => {
                count(&FIGURES.collapsed);
                CacheStatus::Collapsed { why: waited.why }
            }
            None => {
                count(&FIGURES.hits);
                CacheStatus::Hit {
                    ttl: stored.head.ttl(now),
                    is_after_error: false,
                }
            }
        };
        answer(stored, now, status, exchange)
    }

    /// Has a response asked for once more in the background, unless somebody asks already.
    fn refresh(&self, key: FlightKey, stored: &Stored, exchange: &mut Exchange) {
        let generation = self.store.generation(&key.key.as_ref());
        if let Place::Lead(lead) = self.store.flights.board(key, generation) {
            let fetch = Fetch::background(self, stored, lead, generation, exchange);
            exchange.rare_mut().cache.refresh = Some(Box::new(fetch));
        }
    }
}

/// What is known of a request that cannot be answered at once.
#[derive(Debug)]
struct Asked {
    directives: RequestDirectives,
    found: Found,
    /// The target as it is for those behind, where handlers have changed it.
    target: Option<String>,
    why: Forward,
}

/// The key of a request: what the client asked for.
fn key(exchange: &Exchange) -> KeyRef<'_> {
    let target = exchange.original.uri.path_and_query();
    let host = exchange.head.headers.get(HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let target = target.map_or("/", |target| target.as_str());
    KeyRef::new(exchange.is_tls(), host, target)
}

/// What tells a request from others for the same URI, where those behind see something else of it.
fn changed_target(exchange: &Exchange) -> Option<Cow<'_, str>> {
    let (now, before) = (&exchange.head.uri, &exchange.original.uri);
    let headers = &exchange.head.headers;
    let mut named = ABOUT_THE_URI
        .iter()
        .flat_map(|name| headers.get_all(name).iter().map(move |value| (name, value)))
        .peekable();
    if now == before && named.peek().is_none() {
        return None;
    }
    let target = now.path_and_query().map_or("/", |target| target.as_str());
    let mut target = Cow::Borrowed(target);
    for (name, value) in named {
        let text = String::from_utf8_lossy(value.as_bytes());
        target.to_mut().push_str(&format!(" {name}: {text}"));
    }
    Some(target)
}

fn flight_key(exchange: &Exchange, found: &Found, target: Option<&str>) -> FlightKey {
    FlightKey {
        key: key(exchange).to_key(),
        values: found.values(target, &exchange.head.headers),
    }
}

/// Whether a request may have a response that is on its way.
fn is_for(recording: &Recording, asked: &Asked, now: Instant, exchange: &Exchange) -> bool {
    let (head, headers) = (&recording.head, &exchange.head.headers);
    head.selector.matches(asked.target.as_deref(), headers)
        && head.freshness.use_at(head.age(now), &asked.directives) == Use::Fresh
}

/// Gives a response that is on its way.
fn share<'b>(
    recording: &Arc<Recording>,
    why: Forward,
    now: Instant,
    exchange: &mut Exchange,
) -> Handled<'b> {
    count(&FIGURES.collapsed);
    let mut response = recording.head.answer(now, CacheStatus::Collapsed { why });
    if !http_cache::conditional(&exchange.head.headers, &mut response) {
        *response.body_mut() = ResponseBody::Recorded(Box::new(recording.reader()));
    }
    exchange.finish_proxied_headers(response.headers_mut());
    Handled::Done(Answer::Response(response))
}

/// Waits for a response that somebody else has asked for; its body has readers meanwhile.
fn wait(
    key: FlightKey,
    flight: Arc<Flight>,
    recording: Option<Arc<Recording>>,
    why: Forward,
    exchange: &mut Exchange,
) -> Handled<'_> {
    Handled::Later(Box::pin(async move {
        let reader = recording.map(|recording| recording.reader());
        let landing = flight.progress().await;
        drop(reader);
        let state = &mut exchange.rare_mut().cache;
        state.rounds += 1;
        state.waited = Some(Waited { key, landing, why });
        Ok(Answer::Again)
    }))
}

fn give_stale<'b>(
    stored: &Stored,
    now: Instant,
    is_after_error: bool,
    exchange: &mut Exchange,
) -> Handled<'b> {
    count(&FIGURES.stale);
    let ttl = stored.head.ttl(now);
    let status = CacheStatus::Hit {
        ttl,
        is_after_error,
    };
    answer(stored, now, status, exchange)
}

fn answer<'b>(
    stored: &Stored,
    now: Instant,
    status: CacheStatus,
    exchange: &mut Exchange,
) -> Handled<'b> {
    let request = (&exchange.head.method, &exchange.head.headers);
    let mut response = stored.answer(request, now, status);
    exchange.finish_proxied_headers(response.headers_mut());
    Handled::Done(Answer::Response(response))
}

/// The answer where nothing is there and nobody may be asked (RFC 9111 section 5.2.1.7).
fn refused(exchange: &mut Exchange) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    CacheStatus::Refused.add_to(headers);
    exchange.finish_own_headers(headers);
    response
}
