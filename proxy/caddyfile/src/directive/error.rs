//! `error`: fails with an error, which `handle_errors` can answer.

use super::Context;
use super::respond::is_status;
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{ErrorHandler, Handler};

/// ```text
/// error [<matcher>] <status>|<message> [<status>] {
///     message <text>
/// }
/// ```
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let mut error = ErrorHandler::default();
    match cursor.remaining_args().as_slice() {
        [status] if is_status(&status.text) => error.status_code = status.text.clone().into(),
        [message] => error.error = message.text.clone(),
        [message, status] => {
            error.error = message.text.clone();
            error.status_code = status.text.clone().into();
        }
        _ => return Err(cursor.argument_error()),
    }
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "message" => {
                if !error.error.is_empty() {
                    return Err(cursor.error_here("message already specified"));
                }
                error.error = super::one_value(cursor)?;
            }
            _ => return Err(cursor.unknown_subdirective("error", ["message"])),
        }
    }
    Ok(Handler::Error(error))
}
