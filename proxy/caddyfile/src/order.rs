//! In which order the routes of a block are tried.
//!
//! A Caddyfile's directives are no program: they are sorted by what they do, and those of one
//! kind by how specific their path matcher is. Only `route` keeps the order of the text.
//! Caddy: `httpcaddyfile/directives.go` (`sortRoutes`) and `httptype.go` (`buildSubroute`).

use crate::diagnostic::Diagnostic;
use crate::directive::{Context, Outcome, Value};
use crate::document::Route;

/// Directives that make routes, first to last.
pub(crate) const DEFAULT: &[&str] = &[
    // Wraps everything.
    "tracing",
    // Variables, which matchers and handlers below may use.
    "map",
    "vars",
    "fs",
    "root",
    "log_append",
    "skip_log",
    "log_skip",
    "log_name",
    // Fields and limits, also for redirects.
    "header",
    "copy_response_headers",
    "request_body",
    "redir",
    // What the request asks for.
    "method",
    "rewrite",
    "uri",
    "try_files",
    // Whether it may, and what wraps the response. Not of stock Caddy is `rate_limit`.
    "rate_limit",
    "basicauth",
    "basic_auth",
    "forward_auth",
    "request_header",
    "encode",
    "push",
    "intercept",
    "templates",
    // What is kept of the answers of all below, before anything above changes them. Not of Caddy.
    "cache",
    // Blocks of further directives.
    "invoke",
    "handle",
    "handle_path",
    "route",
    // What usually answers.
    "abort",
    "error",
    "copy_response",
    "respond",
    "metrics",
    "reverse_proxy",
    "php_fastcgi",
    "file_server",
    "acme_server",
];

/// Directives of which only the first that matches runs.
const EXCLUSIVE: &[&str] = &["handle", "rewrite", "root"];

/// Whether routes are sorted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sorting {
    /// By the directives' order and the matchers' paths.
    ByPriority,
    /// Not at all: the order of the text.
    None,
}

/// Makes one list of routes of what directives yielded.
///
/// Reports directives that make no routes and so mean nothing here.
pub(crate) fn routes(
    mut outcomes: Vec<Outcome<'_>>,
    sorting: Sorting,
    context: &mut Context<'_>,
) -> Vec<Route> {
    outcomes.retain(|outcome| {
        let is_route = matches!(outcome.value, Value::Route(_) | Value::Routes(_));
        // Caddy: an authority that is set up inside a block is left out without a word.
        if !is_route && !matches!(outcome.value, Value::Authority(..)) {
            let message = format!("`{}` cannot be used in here", outcome.directive);
            let help = "put it directly into the site's block";
            context.report(Diagnostic::error_at(outcome.token, message).with_help(help));
        }
        is_route
    });
    if sorting == Sorting::ByPriority {
        let order = &context.options.order;
        stable_sort(&mut outcomes, |left, right| is_before(left, right, order));
    }

    let mut groups: Vec<(&str, String)> = Vec::new();
    for exclusive in EXCLUSIVE {
        let count = outcomes
            .iter()
            .filter(|outcome| outcome.directive == *exclusive)
            .count();
        // Caddy: a rewrite is alone in a group even if it is the only one, so that no route
        // beside it with the same matcher is merged with it: it may no longer match after it.
        if count > 1 || *exclusive == "rewrite" {
            groups.push((exclusive, context.state.next_group()));
        }
    }

    let mut routes = Vec::new();
    for outcome in outcomes {
        match outcome.value {
            Value::Route(mut route) => {
                let group = groups
                    .iter()
                    .find(|(directive, _)| *directive == outcome.directive);
                if EXCLUSIVE.contains(&outcome.directive) {
                    route.group = group.map(|(_, name)| name.clone()).unwrap_or_default();
                }
                routes.push(route);
            }
            Value::Routes(together) => routes.extend(together),
            Value::Authority(..)
            | Value::Bind(_)
            | Value::ErrorRoute(_)
            | Value::Log(_)
            | Value::Tls(_) => {}
        }
    }
    consolidate(routes)
}

/// Merges neighbours that have the same matchers, group and end.
pub(crate) fn consolidate(routes: Vec<Route>) -> Vec<Route> {
    let mut merged: Vec<Route> = Vec::with_capacity(routes.len());
    for route in routes {
        match merged.last_mut() {
            Some(last)
                if last.r#match == route.r#match
                    && last.terminal == route.terminal
                    && last.group == route.group =>
            {
                last.origins.append(last.handle.len(), route.origins);
                last.handle.extend(route.handle);
            }
            _ => merged.push(route),
        }
    }
    merged
}

/// Sorts by `is_before`, which need be no consistent order, as Go's `sort.SliceStable` does.
///
/// Caddy's comparisons contradict themselves for equal elements in places, and what comes out
/// then depends on the algorithm: insertion into runs of 20, then merging.
pub(crate) fn stable_sort<T>(items: &mut Vec<T>, mut is_before: impl FnMut(&T, &T) -> bool) {
    const RUN: usize = 20;

    for run in items.chunks_mut(RUN) {
        for end in 1..run.len() {
            let mut index = end;
            while index > 0 && is_before(&run[index], &run[index - 1]) {
                run.swap(index, index - 1);
                index -= 1;
            }
        }
    }
    let mut width = RUN;
    while width < items.len() {
        let mut rest = std::mem::take(items).into_iter();
        loop {
            let left: Vec<T> = rest.by_ref().take(width).collect();
            let right: Vec<T> = rest.by_ref().take(width).collect();
            if left.is_empty() {
                break;
            }
            merge(left, right, items, &mut is_before);
        }
        width *= 2;
    }
}

fn merge<T>(
    left: Vec<T>,
    right: Vec<T>,
    out: &mut Vec<T>,
    is_before: &mut impl FnMut(&T, &T) -> bool,
) {
    let mut left = left.into_iter().peekable();
    let mut right = right.into_iter().peekable();
    while let (Some(first), Some(second)) = (left.peek(), right.peek()) {
        let takes_right = is_before(second, first);
        out.extend(if takes_right {
            right.next()
        } else {
            left.next()
        });
    }
    out.extend(left);
    out.extend(right);
}

fn is_before(left: &Outcome<'_>, right: &Outcome<'_>, order: &[&str]) -> bool {
    if left.directive != right.directive {
        let position = |directive| order.iter().position(|name| *name == directive);
        return position(left.directive) < position(right.directive);
    }
    let (Value::Route(first), Value::Route(second)) = (&left.value, &right.value) else {
        return false;
    };
    let is_more_specific = match (only_path(first), only_path(second)) {
        (Some(first), Some(second)) => is_more_specific_path(first, second),
        _ => !first.r#match.is_empty() && second.r#match.is_empty(),
    };
    // Caddy: of variables the last one set wins, so the most specific comes last.
    if left.directive == "vars" {
        !is_more_specific
    } else {
        is_more_specific
    }
}

/// Caddy: the longer path without regard to a wildcard at the end, else the one that is first in the
/// alphabet; of two that differ in the wildcard the exact one.
fn is_more_specific_path(first: &str, second: &str) -> bool {
    let first_exact = first.strip_suffix('*').unwrap_or(first);
    let second_exact = second.strip_suffix('*').unwrap_or(second);
    if first_exact == second_exact {
        return first.len() < second.len();
    }
    if first_exact.len() != second_exact.len() {
        return first_exact.len() > second_exact.len();
    }
    first_exact < second_exact
}

/// The path of a route that has one matcher set with one path.
fn only_path(route: &Route) -> Option<&str> {
    match route.r#match.as_slice() {
        [set] => match set.path.as_deref() {
            Some([path]) if !path.is_empty() => Some(path),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sort_is_stable_over_runs() {
        let mut items: Vec<(u32, usize)> = (0..100)
            .map(|index| ((index as u32 * 7) % 5, index))
            .collect();
        let mut expected = items.clone();
        expected.sort_by_key(|(key, _)| *key);
        stable_sort(&mut items, |left, right| left.0 < right.0);
        assert_eq!(items, expected);
    }

    #[test]
    fn sort_ends_without_a_consistent_order() {
        let mut items: Vec<u32> = (0..100).collect();
        stable_sort(&mut items, |_, _| true);
        assert_eq!(items.len(), 100);
    }
}
