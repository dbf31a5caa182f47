//! `copy_response`: sends the upstream's response, in `handle_response`.

use super::Context;
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{CopyResponse, Handler};

/// ```text
/// copy_response [<matcher>] [<status>] {
///     status <status>
/// }
/// ```
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let mut response = CopyResponse::default();
    if let [status] = cursor.remaining_args().as_slice()
        && status.text.parse::<u32>().is_ok_and(|number| number > 0)
    {
        response.status_code = status.text.clone().into();
        return Ok(Handler::CopyResponse(response));
    }
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "status" => response.status_code = cursor.expect_arg()?.text.clone().into(),
            _ => return Err(cursor.unknown_subdirective("copy_response", ["status"])),
        }
    }
    Ok(Handler::CopyResponse(response))
}
