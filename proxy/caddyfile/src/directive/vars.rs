//! `vars`: sets variables.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::Context;
use super::argument::scalar;
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::Handler;
use crate::token::Token;

/// ```text
/// vars [<matcher>] [<name> <value>] {
///     <name> <value>
/// }
/// ```
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let mut vars = BTreeMap::new();
    if let Some(name) = cursor.next_arg() {
        parse_variable(name, cursor, &mut vars)?;
    }
    let nesting = cursor.nesting();
    while let Some(name) = cursor.next_block(nesting) {
        parse_variable(name, cursor, &mut vars)?;
    }
    Ok(Handler::Vars(vars))
}

fn parse_variable(
    name: &Token,
    cursor: &mut Cursor<'_>,
    vars: &mut BTreeMap<String, Json>,
) -> Result<(), Diagnostic> {
    let value = cursor.expect_arg()?;
    cursor.expect_end_of_args()?;
    vars.insert(name.text.clone(), scalar(value));
    Ok(())
}
