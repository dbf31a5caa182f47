//! `push`: HTTP/2 server push.

use super::Context;
use super::field::FieldOp;
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Handler, Push, PushResource};

/// ```text
/// push [<matcher>] [<resource>] {
///     [GET|HEAD] <resource>
///     headers {
///         [+|-]<field> [<value>|<find> [<replacement>]]
///     }
/// }
/// ```
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let mut push = Push::default();
    if let Some(target) = cursor.next_arg() {
        push.resources.push(resource("", &target.text));
    }
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "headers" => {
                cursor.expect_end_of_args()?;
                let headers = push.headers.get_or_insert_default();
                let inner = cursor.nesting();
                while let Some(field) = cursor.next_block(inner) {
                    let mut line = vec![field];
                    line.extend(cursor.remaining_args());
                    let op = FieldOp::of(&line).ok_or_else(|| cursor.argument_error())?;
                    op.apply(headers);
                }
            }
            method @ ("GET" | "HEAD") => {
                let target = cursor.expect_arg()?;
                push.resources.push(resource(method, &target.text));
            }
            target => push.resources.push(resource("", target)),
        }
    }
    Ok(Handler::Push(push))
}

fn resource(method: &str, target: &str) -> PushResource {
    PushResource {
        method: method.to_owned(),
        target: target.to_owned(),
    }
}
