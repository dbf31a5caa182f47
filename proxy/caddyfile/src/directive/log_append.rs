//! `log_append`: adds a field to the access log.

use super::Context;
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Handler, LogAppend};

/// `log_append [<matcher>] [<]<key> <value>`
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let [key, value] = cursor.expect_args()?;
    let (key, early) = match key.text.strip_prefix('<') {
        Some(key) => (key, true),
        None => (key.text.as_str(), false),
    };
    Ok(Handler::LogAppend(LogAppend {
        key: key.to_owned(),
        value: value.text.clone(),
        early,
    }))
}
