//! `method`: changes the request's method.

use super::{Context, one_value};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Handler, Rewrite};

/// `method [<matcher>] <method>`
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    Ok(Handler::Rewrite(Rewrite {
        method: one_value(cursor)?,
        ..Rewrite::default()
    }))
}
