//! `fs`: the file system that file handlers use.

use std::collections::BTreeMap;

use super::{Context, one_value};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::Handler;

/// `fs [<matcher>] <file system>`
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let name = one_value(cursor)?;
    Ok(Handler::Vars(BTreeMap::from([(
        "fs".to_owned(),
        name.into(),
    )])))
}
