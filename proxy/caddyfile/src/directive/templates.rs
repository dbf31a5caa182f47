//! `templates`: executes templates in responses.

use super::Context;
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Handler, Templates};

/// ```text
/// templates [<matcher>] {
///     mime    <types...>
///     between <left> <right>
///     root    <path>
/// }
/// ```
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let mut templates = Templates::default();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "mime" => {
                templates.mime_types = cursor.remaining_values();
                if templates.mime_types.is_empty() {
                    return Err(cursor.argument_error());
                }
            }
            "between" => {
                let [left, right] = cursor.expect_args()?;
                templates.delimiters = vec![left.text.clone(), right.text.clone()];
            }
            "extensions" => {
                cursor.expect_end_of_args()?;
                let inner = cursor.nesting();
                if let Some(extension) = cursor.next_block(inner) {
                    let message = format!("unknown template extension `{}`", extension.text);
                    return Err(Diagnostic::error_at(extension, message));
                }
            }
            "root" => templates.file_root = cursor.expect_arg()?.text.clone(),
            _ => {
                let known = ["between", "extensions", "mime", "root"];
                return Err(cursor.unknown_subdirective("templates", known));
            }
        }
    }
    Ok(Handler::Templates(templates))
}
