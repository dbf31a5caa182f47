//! `handle`: directives of which only the first matching block runs.

use super::{Context, parse_subroute};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Handler, Subroute};

/// `handle [<matcher>] { <directives> }`
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let routes = parse_subroute(cursor, context)?;
    Ok(Handler::Subroute(Subroute {
        routes,
        errors: None,
    }))
}
