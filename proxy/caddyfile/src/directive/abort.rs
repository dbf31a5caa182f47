//! `abort`: closes the connection without a response.

use super::Context;
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Handler, StaticResponse};

/// `abort [<matcher>]`
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    cursor.expect_end_of_args()?;
    cursor.expect_no_block()?;
    Ok(Handler::StaticResponse(StaticResponse {
        abort: true,
        ..StaticResponse::default()
    }))
}
