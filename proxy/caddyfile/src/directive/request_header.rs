//! `request_header`: changes fields of the request.

use super::field::parse_request_op;
use super::{Context, Value, Values, route_of, take_matcher};
use crate::cursor::Cursor;
use crate::document::{Handler, HeaderOps, Headers};

/// `request_header [<matcher>] [+|-]<field> [<value>|<find> [<replacement>]]`
pub(super) fn parse(cursor: &mut Cursor<'_>, context: &mut Context<'_>) -> Values {
    let matcher = take_matcher(cursor, context)?;
    cursor.next_token();
    let mut ops = HeaderOps::default();
    parse_request_op(cursor, &mut ops, true)?;
    let headers = Headers {
        request: Some(ops),
        response: None,
    };
    Ok(vec![Value::Route(route_of(
        matcher,
        Handler::Headers(headers),
    ))])
}
