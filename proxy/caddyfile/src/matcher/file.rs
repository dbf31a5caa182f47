//! `file`.

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::FileMatcher;

const SUBDIRECTIVES: &[&str] = &["root", "split_path", "try_files", "try_policy"];

/// Caddy: `caddyhttp/fileserver/matcher.go`.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<FileMatcher, Diagnostic> {
    let mut matcher = FileMatcher::default();
    while cursor.next_token().is_some() {
        matcher.try_files.extend(cursor.remaining_values());
        while let Some(name) = cursor.next_block(0) {
            match name.text.as_str() {
                "root" => matcher.root.clone_from(&cursor.expect_arg()?.text),
                "split_path" => matcher.split_path = values(cursor)?,
                "try_files" => matcher.try_files.extend(values(cursor)?),
                "try_policy" => matcher.try_policy.clone_from(&cursor.expect_arg()?.text),
                _ => {
                    let known = SUBDIRECTIVES.iter().copied();
                    return Err(cursor.unknown_subdirective("file", known));
                }
            }
        }
    }
    Ok(matcher)
}

fn values(cursor: &mut Cursor<'_>) -> Result<Vec<String>, Diagnostic> {
    let values = cursor.remaining_values();
    if values.is_empty() {
        Err(cursor.argument_error())
    } else {
        Ok(values)
    }
}
