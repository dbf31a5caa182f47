//! `invoke`: runs a named route.

use super::Context;
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Handler, Invoke};

/// `invoke [<matcher>] <named route>`
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let [token] = cursor.expect_args()?;
    cursor.expect_no_block()?;
    context
        .state
        .invoked
        .insert(token.text.clone(), token.clone());
    Ok(Handler::Invoke(Invoke {
        name: token.text.clone(),
    }))
}
