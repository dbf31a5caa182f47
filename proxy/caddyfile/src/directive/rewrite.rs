//! `rewrite`: changes the request's URI.

use super::{Context, Value, Values, route_of, take_matcher};
use crate::cursor::Cursor;
use crate::document::{Handler, Rewrite};

/// `rewrite [<matcher>] <to>`
pub(super) fn parse(cursor: &mut Cursor<'_>, context: &mut Context<'_>) -> Values {
    let matcher = match cursor.count_remaining_args() {
        0 => {
            let message = "too few arguments; must have at least a rewrite URI";
            return Err(cursor.error_here(message));
        }
        // A lone path is the target and no matcher.
        1 => None,
        2 => {
            let matcher = take_matcher(cursor, context)?;
            cursor.next_token();
            matcher
        }
        _ => {
            let message = "too many arguments; should only be a matcher and a URI";
            return Err(cursor.error_here(message));
        }
    };
    let uri = cursor.expect_arg()?.text.clone();
    let rewrite = Rewrite {
        uri,
        ..Rewrite::default()
    };
    Ok(vec![Value::Route(route_of(
        matcher,
        Handler::Rewrite(rewrite),
    ))])
}
