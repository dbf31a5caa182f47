//! `request_body`: limits or replaces the request body.

use super::{Context, one_value, size};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Handler, RequestBody};

/// ```text
/// request_body [<matcher>] {
///     max_size <size>
///     set      <body>
/// }
/// ```
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    cursor.expect_end_of_args()?;
    let mut body = RequestBody::default();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "max_size" => body.max_size = size(cursor)?,
            "set" => body.set = one_value(cursor)?,
            _ => {
                let known = ["max_size", "set"];
                return Err(cursor.unknown_subdirective("request_body", known));
            }
        }
    }
    Ok(Handler::RequestBody(body))
}
