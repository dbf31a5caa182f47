//! `log_name`: the loggers that take a request's access log entry.

use std::collections::BTreeMap;

use super::Context;
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::Handler;

/// `log_name [<matcher>] <names...>`
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let names = cursor.remaining_values();
    Ok(Handler::Vars(BTreeMap::from([(
        "access_logger_names".to_owned(),
        names.into(),
    )])))
}
