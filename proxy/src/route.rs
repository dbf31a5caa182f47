//! Routes: flattened into a program when the configuration is read, run for each request.
//!
//! Caddy chains its handlers: each calls the next one, a route that does not match calls the
//! following route, a subroute's last route calls what follows the subroute. Such a chain is the
//! same as a list of instructions with jumps, which needs no recursion and no allocation:
//!
//! ```text
//! route 0:  Match (else route 1) · handler · handler · [End, if terminal]
//! route 1:  Match (else route 2) · the routes of a subroute · handler
//! ...
//! End
//! ```
//!
//! A subroute with error routes of its own opens a scope that is in force until the end of the
//! chain (also for what follows the subroute, since that is called from within it); an error runs
//! the innermost scope's error routes, which go on behind the subroute.

mod compile;
mod hosts;
pub mod trace;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};

use self::hosts::HostTable;
use self::trace::Note;
use crate::body::ResponseBody;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::handler::cache::Fetch;
use crate::handler::{Answer, Filter, Handled, Handler};
use crate::matcher::MatcherSets;

/// Routes as a list of instructions.
#[derive(Clone, Debug, Default)]
pub struct Program {
    operations: Arc<[Operation]>,
}

/// How long those behind a cache may take to answer it in the background.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(60);

/// What a cache asks once more, for itself alone.
#[derive(Debug)]
struct Refresh {
    /// The instruction after the cache's.
    from: usize,
    fetch: Box<Fetch>,
}

/// How a program ended.
#[derive(Debug)]
pub enum Outcome {
    /// A handler answered.
    Answer(Response<ResponseBody>),
    /// Nobody answered and no route was terminal: what follows the program goes on.
    Next,
}

/// Why a program gave no answer.
#[derive(Debug)]
pub enum Failure {
    /// The connection is to be closed without an answer.
    Abort,
    /// An error that no subroute's error routes answered.
    Error(Error),
}

#[derive(Debug)]
enum Operation {
    /// Goes to the next route, at or after the given one, that may be for the request's host.
    Dispatch(HostTable, u32),
    /// Ends the chain: no later route runs.
    End,
    /// Goes elsewhere.
    Jump(usize),
    /// Runs a handler.
    Handle(Handler),
    /// Begins a route: goes to `otherwise` if it does not match or its group has been served.
    Match {
        matchers: MatcherSets,
        group: Option<u32>,
        otherwise: usize,
    },
    /// Tells what comes next to whoever explains the way of a request.
    Note(Box<Note>),
    /// Begins a subroute whose error routes are at the given place.
    Scope(usize),
}

/// Error routes that are in force.
struct ErrorScope {
    routes: usize,
    filters: usize,
}

impl Program {
    /// Runs the routes for a request.
    ///
    /// Handlers' changes to the request stay in `exchange` also where the program fails.
    pub fn run<'a>(
        &'a self,
        exchange: &'a mut Exchange,
    ) -> impl Future<Output = Result<Outcome, Failure>> + 'a {
        self.run_from(None, exchange)
    }

    async fn run_from(
        &self,
        refresh: Option<Box<Refresh>>,
        exchange: &mut Exchange,
    ) -> Result<Outcome, Failure> {
        let (mut at, mut filters) = match refresh {
            None => (0, Vec::new()),
            Some(refresh) => (refresh.from, vec![Filter::Cache(refresh.fetch)]),
        };
        let mut scopes: Vec<ErrorScope> = Vec::new();
        loop {
            let answered = match self.step(at, exchange, &filters, &mut scopes) {
                Ok(Step::To(next)) => {
                    at = next;
                    continue;
                }
                Ok(Step::Probe(branch)) => match branch.probe(exchange).await {
                    Ok(next) => {
                        at = next;
                        continue;
                    }
                    Err(error) => Err(Failure::Error(error)),
                },
                Ok(Step::Handle(handler)) => match handler.handle(exchange, &mut filters) {
                    Ok(Handled::Done(answer)) => Ok(answer),
                    Ok(Handled::Later(answering)) => answering.await,
                    Err(failure) => Err(failure),
                },
                Err(error) => Err(Failure::Error(error)),
                Ok(Step::StandIn) => Ok(Answer::Response(trace::stand_in())),
                Ok(Step::End { is_terminal }) => {
                    // Whoever runs these routes answers with nothing too, but then it is too late
                    // for the filters.
                    if !is_terminal && filters.is_empty() {
                        return Ok(Outcome::Next);
                    }
                    Ok(Answer::Response(empty_answer(exchange)))
                }
            };
            if let Some(fetch) = exchange.take_refresh() {
                self.refresh(at + 1, fetch, exchange);
            }
            let response = match answered {
                Ok(Answer::Next) => {
                    at += 1;
                    continue;
                }
                Ok(Answer::Again) => continue,
                Ok(Answer::Response(response)) if filters.is_empty() => {
                    return Ok(Outcome::Answer(response));
                }
                Ok(Answer::Response(response)) => response,
                Err(Failure::Abort) => return Err(Failure::Abort),
                Err(Failure::Error(error)) => {
                    let scope = scopes.pop();
                    let keep = scope.as_ref().map_or(0, |scope| scope.filters);
                    match (abandon(&mut filters, keep, &error, exchange), scope) {
                        (Some(stand_in), _) => stand_in,
                        (None, None) => return Err(Failure::Error(error)),
                        (None, Some(scope)) => {
                            exchange.error = Some(error);
                            at = scope.routes;
                            continue;
                        }
                    }
                }
            };
            return Box::pin(finish(response, filters, exchange)).await;
        }
    }

    /// Asks those behind a cache once more, for the cache alone.
    fn refresh(&self, from: usize, mut fetch: Box<Fetch>, exchange: &Exchange) {
        let mut exchange = fetch.exchange(exchange);
        let program = self.clone();
        tokio::task::spawn_local(async move {
            let refresh = Box::new(Refresh { from, fetch });
            let running = program.run_from(Some(refresh), &mut exchange);
            match tokio::time::timeout(REFRESH_TIMEOUT, running).await {
                Ok(Ok(_)) => {}
                Ok(Err(failure)) => tracing::debug!(?failure, "a refresh of the cache failed"),
                Err(_) => tracing::debug!("a refresh of the cache took too long"),
            }
        });
    }

    /// Runs routes within a handler of other routes. Boxed, so that the handler's own future stays
    /// small.
    pub fn run_nested<'a>(
        &'a self,
        exchange: &'a mut Exchange,
    ) -> Pin<Box<dyn Future<Output = Result<Outcome, Failure>> + 'a>> {
        Box::pin(self.run(exchange))
    }

    /// Whether there are no routes.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// What is to be done at an operation. Does what needs no waiting.
    ///
    /// # Errors
    /// Where a matcher cannot say whether the request is one of its own.
    fn step<'a>(
        &'a self,
        at: usize,
        exchange: &mut Exchange,
        filters: &[Filter<'a>],
        scopes: &mut Vec<ErrorScope>,
    ) -> Result<Step<'a>, Error> {
        let Some(operation) = self.operations.get(at) else {
            return Ok(Step::End { is_terminal: false });
        };
        Ok(match operation {
            Operation::Dispatch(table, from) => Step::To(table.next(exchange.host(), *from)),
            Operation::End => Step::End { is_terminal: true },
            Operation::Jump(to) => Step::To(*to),
            Operation::Scope(routes) => {
                scopes.push(ErrorScope {
                    routes: *routes,
                    filters: filters.len(),
                });
                Step::To(at + 1)
            }
            Operation::Match {
                matchers,
                group,
                otherwise,
            } => {
                let branch = Branch {
                    matchers,
                    group: group.as_ref(),
                    inside: at + 1,
                    otherwise: *otherwise,
                };
                if matchers.needs_files() {
                    return Ok(Step::Probe(branch));
                }
                let is_match = matchers.matches(exchange)?;
                Step::To(branch.decide(is_match, exchange))
            }
            Operation::Note(note) => {
                if let Some(trace) = exchange.trace_mut() {
                    trace.note(note);
                }
                Step::To(at + 1)
            }
            Operation::Handle(handler) => {
                if exchange.trace_mut().is_some()
                    && let Some(answers) = rehearse(handler, exchange)
                {
                    return Ok(if answers {
                        Step::StandIn
                    } else {
                        Step::To(at + 1)
                    });
                }
                Step::Handle(handler)
            }
        })
    }
}

/// What is to be done next.
enum Step<'a> {
    /// The chain is at its end, perhaps by a terminal route.
    End { is_terminal: bool },
    /// A handler is to be run.
    Handle(&'a Handler),
    /// The static-server is to be asked before it is known where to go.
    Probe(Branch<'a>),
    /// Something stands in for the answer of a handler that is not run.
    StandIn,
    /// Go there.
    To(usize),
}

/// Where a route begins.
#[derive(Clone, Copy)]
struct Branch<'a> {
    matchers: &'a MatcherSets,
    group: Option<&'a u32>,
    inside: usize,
    otherwise: usize,
}

impl Branch<'_> {
    /// Where to go once it is known whether the route matches.
    fn decide(self, is_match: bool, exchange: &mut Exchange) -> usize {
        if is_match && enter(self.group, exchange) {
            return self.inside;
        }
        if exchange.trace_mut().is_some() {
            let reason = trace::reason(self.matchers, exchange);
            if let Some(trace) = exchange.trace_mut() {
                trace.pass_over(reason);
            }
        }
        self.otherwise
    }

    /// Asks the static-server about the route's files. Boxed: few routes have such matchers.
    fn probe<'a>(
        self,
        exchange: &'a mut Exchange,
    ) -> Pin<Box<dyn Future<Output = Result<usize, Error>> + 'a>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            match self.matchers.match_with_files(exchange).await {
                Ok(is_match) => Ok(self.decide(is_match, exchange)),
                Err(error) if trace::is_unanswered(&error, exchange) => Ok(self.otherwise),
                Err(error) => Err(error),
            }
        })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Notes what a handler does that is not run for a trace, and tells whether it answers; `None` for
/// a handler that is run.
fn rehearse(handler: &Handler, exchange: &mut Exchange) -> Option<bool> {
    let result = trace::rehearse(handler, exchange)?;
    let answers = matches!(result, trace::Result::Answers(_));
    if let Some(trace) = exchange.trace_mut() {
        trace.conclude(result);
    }
    Some(answers)
}

/// Marks a route's group as served; `false` if it was before.
fn enter(group: Option<&u32>, exchange: &mut Exchange) -> bool {
    let Some(group) = group else { return true };
    if exchange.groups.contains(group) {
        return false;
    }
    exchange.groups.push(*group);
    true
}

/// The answer where nobody answers: nothing, with the status of the error that is being handled.
pub fn empty_answer(exchange: &mut Exchange) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = exchange
        .error
        .as_ref()
        .map_or(StatusCode::OK, Error::status);
    exchange.finish_own_headers(response.headers_mut());
    response
}

/// Ends with an error the filters after the first `keep`, the last one first, up to one that has an
/// answer that stands in.
fn abandon(
    filters: &mut Vec<Filter<'_>>,
    keep: usize,
    error: &Error,
    exchange: &mut Exchange,
) -> Option<Response<ResponseBody>> {
    while filters.len() > keep {
        let stand_in = filters.pop()?.abandon(error, exchange);
        if stand_in.is_some() {
            return stand_in;
        }
    }
    None
}

/// Passes the answer through the filters, the last one first.
async fn finish(
    mut response: Response<ResponseBody>,
    mut filters: Vec<Filter<'_>>,
    exchange: &mut Exchange,
) -> Result<Outcome, Failure> {
    while let Some(filter) = filters.pop() {
        response = filter.apply(response, exchange).await?;
    }
    Ok(Outcome::Answer(response))
}
