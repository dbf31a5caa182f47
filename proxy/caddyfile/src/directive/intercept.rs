//! `intercept`: replaces certain responses of the handlers behind it.

use super::Context;
use super::response::{self, ResponseMatchers};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Handler, Intercept};

/// ```text
/// intercept [<matcher>] {
///     @name {
///         <response matchers>
///     }
///     replace_status  [@name] <status>
///     handle_response [@name] { <directives> }
/// }
/// ```
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let mut matchers = ResponseMatchers::new();
    let mut handlers = Vec::new();
    let mut blocks = Vec::new();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            name if name.starts_with('@') => {
                let (name, matcher) = response::parse_definition(&mut cursor.from_next_segment())?;
                matchers.insert(name, matcher);
            }
            "handle_response" => blocks.push(cursor.from_next_segment()),
            "replace_status" => handlers.push(response::parse_replace_status(cursor, &matchers)?),
            _ => {
                let known = ["handle_response", "replace_status"];
                return Err(cursor.unknown_subdirective("intercept", known));
            }
        }
    }
    for mut block in blocks {
        handlers.push(response::parse_handle_response(
            &mut block, &matchers, context,
        )?);
    }
    response::sort_handlers(&mut handlers);
    Ok(Handler::Intercept(Intercept {
        handle_response: handlers,
    }))
}
