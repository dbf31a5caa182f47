//! `route`: directives in the order of the text.

use super::{Context, parse_block};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Handler, Subroute};
use crate::order::{self, Sorting};

/// `route [<matcher>] { <directives> }`
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let sorting = Sorting::None;
    let outcomes = parse_block(cursor, sorting, context)?;
    let routes = order::routes(outcomes, sorting, context);
    Ok(Handler::Subroute(Subroute {
        routes,
        errors: None,
    }))
}
