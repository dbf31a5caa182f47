//! `storage`: where certificates and other assets are kept.

use serde_json::{Map, Value as Json};

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;

/// Reads a storage module from its name on.
///
/// # Errors
///
/// It is not the one that Caddy has, `file_system`, or has wrong options.
pub(crate) fn parse_storage(cursor: &mut Cursor<'_>) -> Result<Map<String, Json>, Diagnostic> {
    cursor.next_token();
    let module = cursor.value();
    if module != "file_system" {
        let diagnostic = cursor.error_here(format!("unknown storage `{module}`"));
        return Err(diagnostic.with_suggestion(module, ["file_system"]));
    }
    let mut storage = Map::from_iter([("module".to_owned(), Json::from(module))]);
    if let Some(root) = cursor.next_arg() {
        storage.insert("root".to_owned(), root.text.clone().into());
        cursor.expect_end_of_args()?;
    }
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "root" => {
                let root = cursor.expect_arg()?;
                if storage
                    .insert("root".to_owned(), root.text.clone().into())
                    .is_some()
                {
                    return Err(Diagnostic::error_at(root, "root already set"));
                }
            }
            _ => return Err(cursor.unknown_subdirective("storage file_system", ["root"])),
        }
    }
    Ok(storage)
}
