//! Response matchers.

use std::collections::BTreeMap;

use super::argument::status;
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{ResponseHandler, ResponseMatcher};
use crate::token::Token;
use crate::value::canonical_field_name;

/// Response matchers by name, with the `@`.
pub(super) type ResponseMatchers = BTreeMap<String, ResponseMatcher>;

/// Reads a definition; the cursor is before the name.
///
/// ```text
/// @name {
///     status <statuses...>
///     header <field> [<value>]
/// }
/// ```
pub(super) fn parse_definition(
    cursor: &mut Cursor<'_>,
) -> Result<(String, ResponseMatcher), Diagnostic> {
    let name = cursor
        .next_token()
        .map(|token| token.text.clone())
        .unwrap_or_default();
    let mut matcher = ResponseMatcher::default();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_arg().or_else(|| cursor.next_block(nesting)) {
        match token.text.as_str() {
            "header" => parse_header(&mut cursor.from_next_segment(), &mut matcher)?,
            "status" => {
                let statuses = cursor.remaining_args();
                if statuses.is_empty() {
                    return Err(cursor.argument_error());
                }
                for token in statuses {
                    matcher.status_code.push(status(token)?);
                }
            }
            other => {
                let message = format!("unrecognized response matcher {other}");
                return Err(cursor
                    .error_here(message)
                    .with_suggestion(other, ["header", "status"]));
            }
        }
    }
    Ok((name, matcher))
}

/// Reads `replace_status [@name] <status>`; the cursor is at the name of the subdirective.
pub(super) fn parse_replace_status(
    cursor: &mut Cursor<'_>,
    matchers: &ResponseMatchers,
) -> Result<ResponseHandler, Diagnostic> {
    let handler = match cursor.remaining_args().as_slice() {
        [status] => ResponseHandler {
            status_code: status.text.clone().into(),
            ..ResponseHandler::default()
        },
        [matcher, status] => ResponseHandler {
            r#match: Some(find(matcher, matchers)?),
            status_code: status.text.clone().into(),
            ..ResponseHandler::default()
        },
        _ => {
            let message = "must have one or two arguments: an optional response matcher, and a \
                           status code";
            return Err(cursor.error_here(message));
        }
    };
    let nesting = cursor.nesting();
    if cursor.next_block(nesting).is_some() {
        let message = "cannot define routes for `replace_status`, use `handle_response` instead";
        return Err(cursor.error_here(message));
    }
    Ok(handler)
}

/// Reads the blocks of `handle_response [@name] { ... }` that were put aside.
pub(super) fn parse_handle_response(
    cursor: &mut Cursor<'_>,
    matchers: &ResponseMatchers,
    context: &mut super::Context<'_>,
) -> Result<ResponseHandler, Diagnostic> {
    cursor.next_token();
    let arguments = cursor.remaining_args();
    let matcher = match arguments.as_slice() {
        [] => None,
        [matcher] => Some(find(matcher, matchers)?),
        [_, second, ..] => {
            let message = "too many arguments for `handle_response`";
            return Err(Diagnostic::error_at(second, message)
                .with_help("to replace the status alone, use `replace_status`"));
        }
    };
    Ok(ResponseHandler {
        r#match: matcher,
        routes: super::parse_subroute(cursor, context)?,
        ..ResponseHandler::default()
    })
}

/// Puts handlers without a matcher last.
pub(super) fn sort_handlers(handlers: &mut [ResponseHandler]) {
    handlers.sort_by_key(|handler| handler.r#match.is_none());
}

fn find(token: &Token, matchers: &ResponseMatchers) -> Result<ResponseMatcher, Diagnostic> {
    if !token.text.starts_with('@') {
        let message = "must use a named response matcher, starting with `@`";
        return Err(Diagnostic::error_at(token, message));
    }
    matchers.get(&token.text).cloned().ok_or_else(|| {
        let message = format!(
            "no named response matcher defined with name `{}`",
            token.text
        );
        Diagnostic::error_at(token, message)
            .with_suggestion(&token.text, matchers.keys().map(String::as_str))
    })
}

fn parse_header(cursor: &mut Cursor<'_>, matcher: &mut ResponseMatcher) -> Result<(), Diagnostic> {
    cursor.next_token();
    let Some(field) = cursor.next_arg() else {
        return Err(cursor.error_here("malformed header matcher: expected field"));
    };
    if let Some(absent) = field.text.strip_prefix('!') {
        if absent.is_empty() {
            let message = "malformed header matcher: must have field name following ! character";
            return Err(cursor.error_here(message));
        }
        cursor.expect_end_of_args()?;
        matcher.headers.insert(absent.to_owned(), None);
    } else {
        let Some(value) = cursor.next_arg() else {
            let message = "malformed header matcher: expected both field and value";
            return Err(cursor.error_here(message));
        };
        let values = matcher
            .headers
            .entry(canonical_field_name(&field.text))
            .or_default();
        values.get_or_insert_default().push(value.text.clone());
    }
    cursor.expect_no_block()
}
