//! `respond`: answers with a text.

use super::{Context, one_value};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Handler, StaticResponse};

/// ```text
/// respond [<matcher>] <status>|<body> [<status>] {
///     body <text>
///     close
/// }
/// ```
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let mut response = StaticResponse::default();
    match cursor.remaining_args().as_slice() {
        [status] if is_status(&status.text) => response.status_code = status.text.clone().into(),
        [body] => response.body = body.text.clone(),
        [body, status] => {
            response.body = body.text.clone();
            response.status_code = status.text.clone().into();
        }
        _ => return Err(cursor.argument_error()),
    }
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "body" => {
                if !response.body.is_empty() {
                    return Err(cursor.error_here("body already specified"));
                }
                response.body = one_value(cursor)?;
            }
            "close" => {
                if response.close {
                    return Err(cursor.error_here("close already specified"));
                }
                response.close = true;
            }
            _ => return Err(cursor.unknown_subdirective("respond", ["body", "close"])),
        }
    }
    Ok(Handler::StaticResponse(response))
}

/// Whether a lone argument is a status and no text: three digits.
pub(super) fn is_status(text: &str) -> bool {
    text.len() == 3 && text.parse::<u32>().is_ok_and(|number| number > 0)
}
