//! `header`: changes fields of the response.

use super::field::FieldOp;
use super::{Context, Value, Values, response, route_of, take_matcher};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Handler, HeaderOps, Headers, ResponseHeaderOps, ResponseMatcher};
use crate::token::Token;
use crate::value::canonical_field_name;

/// ```text
/// header [<matcher>] [+|-|?|>]<field> [<value>|<find> [<replacement>]]
/// header [<matcher>] {
///     [+|-|?|>]<field> [<value>|<find> [<replacement>]]
///     defer
///     match {
///         <response matchers>
///     }
/// }
/// ```
pub(super) fn parse(cursor: &mut Cursor<'_>, context: &mut Context<'_>) -> Values {
    let matcher = take_matcher(cursor, context)?;
    cursor.next_token();
    let mut changes = Changes::default();

    let mut arguments = cursor.remaining_args();
    if let Some(extra) = arguments.get(3) {
        context.report(ignored(extra));
        arguments.truncate(3);
    }
    if !arguments.is_empty() {
        changes.add(FieldOp::of(&arguments))?;
    }
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "defer" => changes.all.deferred = true,
            "match" => {
                let (_, matcher) = response::parse_definition(&mut cursor.from_next_segment())?;
                changes.all.require = Some(matcher);
            }
            _ if !arguments.is_empty() => {
                let message = "cannot specify headers in both arguments and block";
                return Err(cursor.error_here(message));
            }
            _ => {
                // Caddy: an operation has three words, and a fourth begins the next one.
                let mut line = vec![token];
                line.extend(std::iter::from_fn(|| cursor.next_arg()).take(2));
                if let Some(extra) = cursor.clone().next_arg() {
                    context.report(ignored(extra));
                }
                changes.add(FieldOp::of(&line).map(FieldOp::without_colon))?;
            }
        }
    }

    let handlers = [changes.all, changes.defaults];
    Ok(handlers
        .into_iter()
        .filter(|response| *response != ResponseHeaderOps::default())
        .map(|response| {
            let headers = Headers {
                request: None,
                response: Some(response),
            };
            Value::Route(route_of(matcher.clone(), Handler::Headers(headers)))
        })
        .collect())
}

/// A value with spaces that is not quoted works, but hardly as meant.
fn ignored(extra: &Token) -> Diagnostic {
    let message = format!("`{}` is no part of the field's value", extra.text);
    Diagnostic::warning_at(extra, message).with_help("put quotes around a value with spaces")
}

/// Two handlers' worth of changes: those with `?` have a condition of their own.
#[derive(Debug, Default)]
struct Changes {
    all: ResponseHeaderOps,
    defaults: ResponseHeaderOps,
}

impl Changes {
    fn add(&mut self, op: Option<FieldOp<'_>>) -> Result<(), Diagnostic> {
        let Some(op) = op else {
            return Err(Diagnostic::error("a field is missing"));
        };
        if let Some(field) = op.field.strip_prefix('?') {
            let require = self
                .defaults
                .require
                .get_or_insert_with(ResponseMatcher::default);
            require.headers.insert(field.to_owned(), None);
            self.defaults
                .set
                .insert(canonical_field_name(field), vec![op.value.to_owned()]);
            return Ok(());
        }
        self.all.deferred |= op.is_deferred();
        apply(&op, &mut self.all);
        Ok(())
    }
}

/// Adds an operation on request fields to those on response fields.
pub(super) fn apply(op: &FieldOp<'_>, response: &mut ResponseHeaderOps) {
    let mut ops = HeaderOps {
        add: std::mem::take(&mut response.add),
        set: std::mem::take(&mut response.set),
        delete: std::mem::take(&mut response.delete),
        replace: std::mem::take(&mut response.replace),
    };
    op.apply(&mut ops);
    response.add = ops.add;
    response.set = ops.set;
    response.delete = ops.delete;
    response.replace = ops.replace;
}
