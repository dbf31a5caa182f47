//! `handle_path`: `handle` for a path, which is removed from the request's path.

use super::{Context, Value, Values, parse_subroute, route_of};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Handler, MatcherSet, Rewrite, Subroute};

/// `handle_path <path> { <directives> }`
pub(super) fn parse(cursor: &mut Cursor<'_>, context: &mut Context<'_>) -> Values {
    let token = cursor.expect_arg()?;
    let path = token.text.clone();
    if !path.starts_with('/') {
        let message = format!("path matcher must begin with `/`, got `{path}`");
        let help = "`handle_path` takes a path such as `/static/*`; for other matchers use \
                    `handle` with `uri strip_prefix`";
        return Err(Diagnostic::error_at(token, message).with_help(help));
    }
    let prefix = path
        .strip_suffix("/*")
        .or_else(|| path.strip_suffix('*'))
        .unwrap_or(&path);
    let strip = Rewrite {
        strip_path_prefix: prefix.to_owned(),
        ..Rewrite::default()
    };

    let mut routes = vec![route_of(None, Handler::Rewrite(strip))];
    routes.extend(parse_subroute(cursor, context)?);
    let matcher = MatcherSet {
        path: Some(vec![path]),
        ..MatcherSet::default()
    };
    let subroute = Handler::Subroute(Subroute {
        routes,
        errors: None,
    });
    Ok(vec![Value::Route(route_of(Some(matcher), subroute))])
}
