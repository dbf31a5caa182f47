//! The way of one request through the routes, as `proxy explain` shows it.
//!
//! A program that is compiled to be explained has notes among its instructions. They tell where in
//! the document and in the Caddyfile the next ones come from, and change nothing. A request that
//! carries a [`Trace`] writes down the notes that it comes by, and handlers that would ask
//! somebody else, or count, do nothing for it.

use std::net::SocketAddr;

use caddyfile::document::{self, Origin};
use http::Response;

use crate::body::ResponseBody;
use crate::compile::Scope;
use crate::error::{Error, Side};
use crate::exchange::Exchange;
use crate::handler::Handler;
use crate::matcher::MatcherSets;

/// What is behind a place in a program.
#[derive(Clone, Debug)]
pub struct Note {
    /// What it is.
    pub part: Part,
    /// Where it is in the document.
    pub path: Box<str>,
    /// Where it was written, if that is known.
    pub origin: Option<Origin>,
    /// It in words: a route's matchers, or a handler with what it is about.
    pub text: Box<str>,
}

/// What a [`Note`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A handler.
    Handler,
    /// A route.
    Route,
}

/// The way of a request.
#[derive(Debug, Default)]
pub struct Trace {
    /// What it came by, in order.
    pub steps: Vec<Step>,
}

/// A part that a request came by.
#[derive(Clone, Debug)]
pub struct Step {
    /// The part.
    pub note: Note,
    /// What became of it.
    pub result: Result,
}

/// What became of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Result {
    /// A route is taken; a handler ran or would run, and the next one goes on.
    Taken,
    /// A route is passed over, with the reason.
    PassedOver(String),
    /// A handler answers, with what it does.
    Answers(String),
    /// A handler does something for real requests only, and the next one goes on.
    Assumed(String),
}

impl Note {
    /// A route, with its matchers.
    pub(super) fn of_route(route: &document::Route, scope: &Scope) -> Self {
        Self {
            part: Part::Route,
            path: scope.path().into(),
            origin: route.origins.get(0).or_else(|| scope.origin()),
            text: in_words(&route.r#match).into(),
        }
    }

    /// A handler, with its options in short.
    pub(super) fn of_handler(handler: &document::Handler, scope: &Scope) -> Self {
        Self {
            part: Part::Handler,
            path: scope.path().into(),
            origin: scope.origin(),
            text: summary(handler).into(),
        }
    }
}

impl Trace {
    /// Comes by a part.
    pub(super) fn note(&mut self, note: &Note) {
        self.steps.push(Step {
            note: note.clone(),
            result: Result::Taken,
        });
    }

    /// Says what became of the route that was come by last.
    pub(super) fn pass_over(&mut self, reason: String) {
        if let Some(step) = self.steps.last_mut() {
            step.result = Result::PassedOver(reason);
        }
    }

    /// Says what became of the handler that was come by last.
    pub(super) fn conclude(&mut self, result: Result) {
        if let Some(step) = self.steps.last_mut() {
            step.result = result;
        }
    }
}

/// Why a route is passed over.
pub(super) fn reason(matchers: &MatcherSets, exchange: &mut Exchange) -> String {
    match matchers.first_mismatch(exchange) {
        Some(name) => format!("`{name}` does not match"),
        None => "another route of its group was taken".to_owned(),
    }
}

/// Whether a trace goes on although the static-server did not answer: the route is passed over.
pub(super) fn is_unanswered(error: &Error, exchange: &mut Exchange) -> bool {
    if error.side() != Side::Upstream {
        return false;
    }
    let Some(trace) = exchange.trace_mut() else {
        return false;
    };
    trace.pass_over(format!("the static-server cannot be asked: {error}"));
    true
}

/// What a handler does that is not run for a trace; `None` for one that can be run.
pub(super) fn rehearse(handler: &Handler, exchange: &Exchange) -> Option<Result> {
    let target = || format!("{} {}", exchange.head.method, exchange.head.uri);
    Some(match handler {
        Handler::Authentication(_) => {
            Result::Assumed("asks for credentials; taken as given".to_owned())
        }
        Handler::Cache(_) => Result::Assumed("looks into the cache; taken as not there".to_owned()),
        Handler::RateLimit(_) => Result::Assumed("counts; taken as within the limit".to_owned()),
        Handler::CopyResponse(_) => Result::Answers("sends the upstream's response".to_owned()),
        Handler::Metrics => Result::Answers("shows the metrics".to_owned()),
        Handler::FileServer(_) => {
            let root = exchange.variables.get("root").unwrap_or_default();
            Result::Answers(format!("serves {} below `{root}`", exchange.path()))
        }
        Handler::ReverseProxy(proxy) if proxy.only_asks() => {
            Result::Assumed("asks; taken as allowed".to_owned())
        }
        Handler::ReverseProxy(_) => Result::Answers(format!("forwards {}", target())),
        _ => return None,
    })
}

/// The answer in place of one that is not asked for.
pub(super) fn stand_in() -> Response<ResponseBody> {
    Response::new(ResponseBody::Empty)
}

/// The client of a request that is explained.
pub const CLIENT: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    40_000,
);

fn in_words(sets: &[document::MatcherSet]) -> String {
    let sets = sets.iter().map(|set| {
        // A set of the document is an object of plain values.
        let value = serde_json::to_value(set).unwrap_or_default();
        let matchers = value.as_object().into_iter().flatten();
        let matchers = matchers.map(|(name, value)| format!("{name} {}", short(value)));
        matchers.collect::<Vec<_>>().join(" and ")
    });
    sets.collect::<Vec<_>>().join(", or ")
}

fn summary(handler: &document::Handler) -> String {
    let mut value = serde_json::to_value(handler).unwrap_or_default();
    let name = handler.module().to_owned();
    if let document::Handler::ReverseProxy(proxy) = handler {
        let dials = proxy
            .upstreams
            .iter()
            .map(|upstream| upstream.dial.as_str());
        return format!("{name} {}", dials.collect::<Vec<_>>().join(" "));
    }
    let Some(options) = value.as_object_mut() else {
        return name;
    };
    options.remove("handler");
    // Password hashes are nobody's business.
    if matches!(handler, document::Handler::Authentication(_)) || options.is_empty() {
        return name;
    }
    format!("{name} {}", short(&value))
}

/// A value on one line; a list of texts as its texts.
fn short(value: &serde_json::Value) -> String {
    const MOST: usize = 120;
    let texts: Option<Vec<&str>> = value
        .as_array()
        .map(|list| list.iter().filter_map(|item| item.as_str()).collect());
    let mut text = match texts {
        Some(texts) if !texts.is_empty() => texts.join(" "),
        _ => value.to_string(),
    };
    if let Some((cut, _)) = text.char_indices().nth(MOST) {
        text.truncate(cut);
        text.push_str("...");
    }
    text
}
