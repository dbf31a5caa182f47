//! `try_files`: rewrites to the first file that exists.

use super::{Context, Value, Values, route_of};
use crate::cursor::Cursor;
use crate::document::{FileMatcher, Handler, MatcherSet, Rewrite, Route};

/// ```text
/// try_files <files...> {
///     policy <policy>
/// }
/// ```
pub(super) fn parse(cursor: &mut Cursor<'_>, context: &mut Context<'_>) -> Values {
    let files = cursor.remaining_values();
    if files.is_empty() {
        return Err(cursor.argument_error());
    }
    let mut policy = String::new();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        if token.text != "policy" {
            return Err(cursor.unknown_subdirective("try_files", ["policy"]));
        }
        if !policy.is_empty() {
            return Err(cursor.error_here("try policy already configured"));
        }
        policy = cursor.expect_arg()?.text.clone();
        let known = [
            "first_exist",
            "first_exist_fallback",
            "largest_size",
            "most_recently_modified",
            "smallest_size",
        ];
        if !known.contains(&policy.as_str()) {
            let message = format!("unrecognized try policy: {policy}");
            return Err(cursor.error_here(message).with_suggestion(&policy, known));
        }
    }

    // A file with a query needs a rewrite of its own; those without share one.
    let mut routes = Vec::new();
    let mut plain = Vec::new();
    for file in files {
        match file.find('?') {
            None => plain.push(file),
            Some(index) => {
                if !plain.is_empty() {
                    routes.push(route(std::mem::take(&mut plain), "", &policy));
                }
                routes.push(route(
                    vec![file[..index].to_owned()],
                    &file[index..],
                    &policy,
                ));
            }
        }
    }
    if !plain.is_empty() {
        routes.push(route(plain, "", &policy));
    }
    if routes.len() > 1 {
        let group = context.state.next_group();
        for route in &mut routes {
            route.group.clone_from(&group);
        }
    }
    Ok(routes.into_iter().map(Value::Route).collect())
}

fn route(try_files: Vec<String>, query: &str, try_policy: &str) -> Route {
    let file = FileMatcher {
        try_files,
        try_policy: try_policy.to_owned(),
        ..FileMatcher::default()
    };
    let uri = format!("{{http.matchers.file.relative}}{query}");
    route_of(
        Some(MatcherSet {
            file: Some(file),
            ..MatcherSet::default()
        }),
        Handler::Rewrite(Rewrite {
            uri,
            ..Rewrite::default()
        }),
    )
}
