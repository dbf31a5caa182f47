//! `log_skip` and its older name `skip_log`: no access log for a request.

use std::collections::BTreeMap;

use super::Context;
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::Handler;

/// `log_skip [<matcher>]`
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    cursor.expect_end_of_args()?;
    Ok(Handler::Vars(BTreeMap::from([(
        "log_skip".to_owned(),
        true.into(),
    )])))
}
