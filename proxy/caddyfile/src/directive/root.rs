//! `root`: the folder that file handlers serve from.

use std::collections::BTreeMap;

use super::{Context, Value, Values, route_of, take_matcher};
use crate::cursor::Cursor;
use crate::document::Handler;

/// `root [<matcher>] <path>`
pub(super) fn parse(cursor: &mut Cursor<'_>, context: &mut Context<'_>) -> Values {
    let matcher = match cursor.count_remaining_args() {
        0 => return Err(cursor.error_here("too few arguments; must have at least a root path")),
        // A lone path is the root and no matcher.
        1 => None,
        2 => {
            let matcher = take_matcher(cursor, context)?;
            cursor.next_token();
            matcher
        }
        _ => {
            let message = "too many arguments; should only be a matcher and a path";
            return Err(cursor.error_here(message));
        }
    };
    let root = cursor.expect_arg()?.text.clone();
    let vars = Handler::Vars(BTreeMap::from([("root".to_owned(), root.into())]));
    Ok(vec![Value::Route(route_of(matcher, vars))])
}
