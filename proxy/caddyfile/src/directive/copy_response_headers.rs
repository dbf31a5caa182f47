//! `copy_response_headers`: copies fields of the upstream's response, in `handle_response`.

use super::Context;
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{CopyResponseHeaders, Handler};

/// ```text
/// copy_response_headers [<matcher>] {
///     include <fields...>
///     exclude <fields...>
/// }
/// ```
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    cursor.expect_end_of_args()?;
    let mut fields = CopyResponseHeaders::default();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "include" => fields.include.extend(cursor.remaining_values()),
            "exclude" => fields.exclude.extend(cursor.remaining_values()),
            _ => {
                let known = ["exclude", "include"];
                return Err(cursor.unknown_subdirective("copy_response_headers", known));
            }
        }
    }
    Ok(Handler::CopyResponseHeaders(fields))
}
