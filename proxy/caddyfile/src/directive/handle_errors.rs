//! `handle_errors`: directives that answer errors.

use super::{Context, Value, Values, parse_subroute, route_of};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Expression, Handler, MatcherSet, Subroute};
use crate::token::Token;

/// `handle_errors [<statuses...>] { <directives> }`
pub(super) fn parse(cursor: &mut Cursor<'_>, context: &mut Context<'_>) -> Values {
    let statuses = cursor.remaining_args();
    let expression = status_expression(&statuses)?;
    let routes = parse_subroute(cursor, context)?;
    let matcher = (!expression.is_empty()).then(|| MatcherSet {
        expression: Some(Expression {
            expr: expression,
            name: String::new(),
        }),
        ..MatcherSet::default()
    });
    let subroute = Handler::Subroute(Subroute {
        routes,
        errors: None,
    });
    Ok(vec![Value::ErrorRoute(route_of(matcher, subroute))])
}

fn status_expression(statuses: &[&Token]) -> Result<String, Diagnostic> {
    let mut terms = Vec::new();
    let mut codes = Vec::new();
    for token in statuses {
        let text = token.text.as_str();
        let (digits, is_class) = match text.strip_suffix("xx") {
            Some(class) => (class, true),
            None => (text, false),
        };
        if text.len() != 3 || digits.parse::<u32>().is_err() {
            let help = "write statuses such as `404` or classes such as `5xx`";
            return Err(
                Diagnostic::error_at(token, format!("bad status value `{text}`")).with_help(help),
            );
        }
        if is_class {
            terms.push(format!(
                "{{http.error.status_code}} >= {digits}00 && {{http.error.status_code}} <= {digits}99"
            ));
        } else {
            codes.push(digits);
        }
    }
    if !codes.is_empty() {
        terms.push(format!(
            "{{http.error.status_code}} in [{}]",
            codes.join(", ")
        ));
    }
    Ok(terms.join(" || "))
}
