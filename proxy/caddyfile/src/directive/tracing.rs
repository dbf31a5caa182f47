//! `tracing`: traces requests.

use super::{Context, one_value};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Handler, Tracing};

/// ```text
/// tracing [<matcher>] {
///     span <name>
///     span_attributes {
///         <key> <value>
///     }
/// }
/// ```
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    cursor.expect_end_of_args()?;
    let mut tracing = Tracing {
        span: Some(String::new()),
        ..Tracing::default()
    };
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "span" => tracing.span = Some(one_value(cursor)?),
            "span_attributes" => {
                let inner = cursor.nesting();
                while let Some(key) = cursor.next_block(inner) {
                    let value = one_value(cursor)?;
                    tracing.span_attributes.insert(key.text.clone(), value);
                }
            }
            _ => {
                let known = ["span", "span_attributes"];
                return Err(cursor.unknown_subdirective("tracing", known));
            }
        }
    }
    Ok(Handler::Tracing(tracing))
}
