//! Flattening: routes of the document become instructions.

mod try_files;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use caddyfile::document::{self, Handler as Document};

use super::hosts::{HostTable, Index, hosts, is_decided_by_host};
use super::trace::Note;
use super::{Operation, Program};
use crate::compile::Scope;
use crate::handler::Handler;
use crate::matcher::MatcherSets;

/// With fewer routes than this, asking each is as quick as a look into the table.
const TABLE_FROM: usize = 4;

impl Program {
    /// Compiles routes.
    pub fn compile(routes: &[document::Route], scope: &mut Scope) -> Self {
        let mut operations = Vec::new();
        let by_host = routes.iter().filter(|route| hosts(route).is_some()).count();
        if by_host >= TABLE_FROM {
            by_host_table(routes, &mut operations, scope);
        } else {
            all(routes, &mut operations, scope);
        }
        Self {
            operations: operations.into(),
        }
    }
}

/// Routes that are asked one after the other. A root that one of them sets holds for all.
fn all(routes: &[document::Route], operations: &mut Vec<Operation>, scope: &mut Scope) {
    let outer = scope.roots.len();
    scope.roots.extend(routes.iter().flat_map(roots));
    for (index, route) in routes.iter().enumerate() {
        if let Some(tried) = try_files::left_to_file_server(&routes[index..]) {
            scope.tried = Some(tried);
            continue;
        }
        scope.within(format_args!("[{index}]"), |scope| {
            one(route, &route.r#match, operations, scope);
        });
    }
    scope.roots.truncate(outer);
}

/// Literal values that a route gives the variable `root`.
fn roots(route: &document::Route) -> impl Iterator<Item = String> {
    route.handle.iter().filter_map(|handler| match handler {
        Document::Vars(variables) => variables.get("root")?.as_str().map(str::to_owned),
        _ => None,
    })
}

/// Routes of which the next one is found by host.
fn by_host_table(routes: &[document::Route], operations: &mut Vec<Operation>, scope: &mut Scope) {
    // The table has to know where the routes begin, so these places are filled in at the end.
    let mut dispatches = vec![operations.len()];
    let mut begins = Vec::new();
    operations.push(Operation::End);
    for (index, route) in routes.iter().enumerate() {
        begins.push(operations.len());
        let mut sets = route.r#match.clone();
        if is_decided_by_host(route) {
            for set in &mut sets {
                set.host = None;
            }
            sets.retain(|set| *set != document::MatcherSet::default());
        }
        let outer = scope.roots.len();
        scope.roots.extend(roots(route));
        scope.within(format_args!("[{index}]"), |scope| {
            one(route, &sets, operations, scope)
        });
        scope.roots.truncate(outer);
        dispatches.push(operations.len());
        operations.push(Operation::End);
    }
    begins.push(operations.len());
    let index = Arc::new(Index::new(routes, begins));
    for (next, at) in (0..).zip(dispatches) {
        operations[at] = Operation::Dispatch(HostTable::new(Arc::clone(&index)), next);
    }
}

fn one(
    route: &document::Route,
    sets: &[document::MatcherSet],
    operations: &mut Vec<Operation>,
    scope: &mut Scope,
) {
    let is_site = scope.site.is_none() && keeps_something(route, scope, 0);
    if is_site {
        scope.site = Some((fingerprint(route, scope), scope.path().len()));
    }
    if scope.context.is_explained {
        let note = Note::of_route(route, scope);
        operations.push(Operation::Note(Box::new(note)));
    }
    let matchers = scope.written(route.origins.get(0), |scope| {
        scope.within(".match", |scope| MatcherSets::compile(sets, scope))
    });
    let group = scope.group(&route.group);
    let entry = operations.len();
    let is_conditional = !matchers.is_empty() || group.is_some();
    if is_conditional {
        operations.push(Operation::Match {
            matchers,
            group,
            otherwise: 0,
        });
    }
    for (index, handler) in route.handle.iter().enumerate() {
        scope.written(route.origins.get(index), |scope| {
            scope.within(format_args!(".handle[{index}]"), |scope| {
                handle(handler, operations, scope);
            });
        });
    }
    if route.terminal {
        operations.push(Operation::End);
    }
    let end = operations.len();
    if is_conditional && let Operation::Match { otherwise, .. } = &mut operations[entry] {
        *otherwise = end;
    }
    if is_site {
        scope.site = None;
    }
}

/// Whether some handler of a route has what outlives a reload.
fn keeps_something(route: &document::Route, scope: &Scope, depth: usize) -> bool {
    // Named routes that invoke one another are refused elsewhere.
    const DEEPEST: usize = 16;
    let keeps = |route| depth < DEEPEST && keeps_something(route, scope, depth + 1);
    route.handle.iter().any(|handler| match handler {
        Document::Cache(_) => true,
        Document::Invoke(invoke) => scope.named_routes.get(&invoke.name).is_some_and(keeps),
        Document::Subroute(subroute) => {
            let errors = subroute.errors.iter().flat_map(|errors| &errors.routes);
            subroute.routes.iter().chain(errors).any(keeps)
        }
        _ => false,
    })
}

/// What tells a route from another one that does something else.
fn fingerprint(route: &document::Route, scope: &Scope) -> u64 {
    let mut hasher = DefaultHasher::new();
    let parts = serde_json::to_string(&(route, &scope.named_routes));
    // A document that cannot be written has not been read either.
    parts.unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

fn handle(handler: &Document, operations: &mut Vec<Operation>, scope: &mut Scope) {
    match handler {
        Document::Subroute(subroute) => match &subroute.errors {
            None => scope.within(".routes", |scope| all(&subroute.routes, operations, scope)),
            Some(errors) => {
                let entry = operations.len();
                operations.push(Operation::End);
                scope.within(".routes", |scope| all(&subroute.routes, operations, scope));
                let exit = operations.len();
                operations.push(Operation::End);
                operations[entry] = Operation::Scope(operations.len());
                scope.within(".errors.routes", |scope| {
                    all(&errors.routes, operations, scope)
                });
                operations[exit] = Operation::Jump(operations.len());
            }
        },
        Document::Invoke(invoke) => {
            let Some(route) = scope.named_routes.get(&invoke.name).cloned() else {
                scope.error_with_hint(
                    format!("there is no named route `{}`", invoke.name),
                    "define it as `&(NAME) { ... }` at the top of the Caddyfile",
                );
                return;
            };
            if scope.invoked.contains(&invoke.name) {
                scope.error(format!("the named route `{}` invokes itself", invoke.name));
                return;
            }
            scope.invoked.push(invoke.name.clone());
            one(&route, &route.r#match, operations, scope);
            scope.invoked.pop();
        }
        handler => {
            if scope.context.is_explained {
                let note = Note::of_handler(handler, scope);
                operations.push(Operation::Note(Box::new(note)));
            }
            operations.extend(Handler::compile(handler, scope).map(Operation::Handle));
        }
    }
}
