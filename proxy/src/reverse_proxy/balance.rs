//! Which upstream a request goes to (Caddy: `lb_policy`).

mod compile;
mod cookie;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderName, Uri};
use rand::RngExt as _;

use self::cookie::Cookie;
use super::Upstream;
use crate::exchange::Exchange;
use crate::uri::query::Query;

/// How an upstream is chosen among those that are available.
#[derive(Debug, Default)]
pub(crate) enum Policy {
    /// By a hash of the client's address behind trusted proxies.
    ClientIpHash,
    /// By a cookie, which is set on the first response.
    Cookie(Box<Cookie>),
    /// The first.
    First,
    /// By a hash of a request field.
    Header(HeaderName, Box<Self>),
    /// By a hash of the connection's address.
    IpHash,
    /// The one with the fewest requests.
    LeastConnections,
    /// By a hash of the values of a query key.
    Query(Box<str>, Box<Self>),
    /// Any.
    #[default]
    Random,
    /// The one with the fewest requests among some that are picked at random.
    RandomChoose(usize),
    /// Each in turn.
    RoundRobin(AtomicUsize),
    /// By a hash of the URI as the client sent it.
    UriHash,
    /// Each in turn as often as its weight.
    WeightedRoundRobin(Box<[usize]>, AtomicUsize),
}

/// The upstreams to choose from.
pub(crate) struct Candidates<'a> {
    /// All upstreams, in the order of the configuration.
    pub(crate) upstreams: &'a [Upstream],
    /// Which of them are available.
    pub(crate) available: &'a dyn Fn(usize) -> bool,
}

impl Candidates<'_> {
    fn indices(&self) -> impl Iterator<Item = usize> {
        (0..self.upstreams.len()).filter(|index| (self.available)(*index))
    }

    fn requests(&self, index: usize) -> usize {
        self.upstreams[index].requests()
    }
}

impl Policy {
    /// Compiles a policy for upstreams with these dial addresses.
    pub(crate) fn compile(
        document: Option<&caddyfile::document::SelectionPolicy>,
        dials: &[&str],
        scope: &mut crate::compile::Scope,
    ) -> Self {
        compile::policy(document, dials, scope)
    }

    /// The index of the chosen upstream, or `None` if none is available.
    pub(crate) fn choose(
        &self,
        exchange: &mut Exchange,
        candidates: &Candidates<'_>,
    ) -> Option<usize> {
        match self {
            Self::ClientIpHash => by_hash(candidates, &exchange.client_ip.to_string()),
            Self::Cookie(cookie) => cookie.choose(exchange, candidates),
            Self::First => candidates.indices().next(),
            Self::Header(name, fallback) => {
                let value = exchange.head.headers.get(name);
                match value
                    .and_then(|value| value.to_str().ok())
                    .filter(|text| !text.is_empty())
                {
                    Some(text) => by_hash(candidates, text),
                    None => fallback.choose(exchange, candidates),
                }
            }
            Self::IpHash => by_hash(candidates, &exchange.connection.peer.ip().to_string()),
            Self::LeastConnections => least(candidates, candidates.indices()),
            Self::Query(key, fallback) => match query_values(&exchange.head.uri, key) {
                Some(values) => by_hash(candidates, &values),
                None => fallback.choose(exchange, candidates),
            },
            Self::Random => random(candidates),
            Self::RandomChoose(count) => {
                let mut picked: Vec<usize> = candidates.indices().collect();
                let mut random = rand::rng();
                while picked.len() > *count {
                    picked.swap_remove(random.random_range(..picked.len()));
                }
                least(candidates, picked.into_iter())
            }
            Self::RoundRobin(turn) => {
                let first = turn.fetch_add(1, Ordering::Relaxed);
                in_turn(candidates, first)
            }
            Self::UriHash => by_hash(candidates, &exchange.original.uri.to_string()),
            Self::WeightedRoundRobin(weights, turn) => {
                weighted(candidates, weights, turn.fetch_add(1, Ordering::Relaxed))
            }
        }
    }
}

/// The upstream whose share of the weights has the place `turn`, or else the next one.
fn weighted(candidates: &Candidates<'_>, weights: &[usize], turn: usize) -> Option<usize> {
    let total: usize = weights.iter().sum();
    let place = turn.checked_rem(total)?;
    let mut end = 0;
    let first = weights.iter().position(|weight| {
        end += weight;
        place < end
    });
    let mut order = from(candidates.upstreams.len(), first?);
    let has_weight = |index: &usize| weights.get(*index).is_some_and(|weight| *weight > 0);
    order.find(|index| has_weight(index) && (candidates.available)(*index))
}

fn from(count: usize, first: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |offset| (first.wrapping_add(offset)) % count)
}

fn in_turn(candidates: &Candidates<'_>, first: usize) -> Option<usize> {
    let count = candidates.upstreams.len();
    from(count, first.checked_rem(count)?).find(|index| (candidates.available)(*index))
}

fn random(candidates: &Candidates<'_>) -> Option<usize> {
    let count = candidates.indices().count();
    if count < 2 {
        return candidates.indices().next();
    }
    candidates.indices().nth(rand::rng().random_range(..count))
}

/// The one with the fewest requests; any of them where several have as few.
fn least(candidates: &Candidates<'_>, among: impl Iterator<Item = usize>) -> Option<usize> {
    let mut random = rand::rng();
    let mut best: Option<(usize, usize)> = None;
    let mut equals = 1_usize;
    for index in among {
        let requests = candidates.requests(index);
        match best {
            Some((_, fewest)) if requests > fewest => {}
            Some((_, fewest)) if requests == fewest => {
                equals += 1;
                if random.random_range(..equals) == 0 {
                    best = Some((index, requests));
                }
            }
            _ => {
                equals = 1;
                best = Some((index, requests));
            }
        }
    }
    best.map(|(index, _)| index)
}

/// Highest random weight: when an upstream comes or goes, only its own share moves. The hash is
/// the same in every process.
fn by_hash(candidates: &Candidates<'_>, text: &str) -> Option<usize> {
    candidates.indices().max_by_key(|index| {
        let mut hasher = DefaultHasher::new();
        candidates.upstreams[*index].dial.hash(&mut hasher);
        text.hash(&mut hasher);
        hasher.finish()
    })
}

fn query_values(uri: &Uri, key: &str) -> Option<String> {
    let query = Query::parse(uri.query()?);
    query.get(key).map(|values| values.join(","))
}

#[cfg(test)]
mod tests;
