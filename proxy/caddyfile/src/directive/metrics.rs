//! `metrics`: shows counters.

use super::Context;
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Handler, Metrics};

/// ```text
/// metrics [<matcher>] {
///     disable_openmetrics
/// }
/// ```
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    cursor.expect_end_of_args()?;
    let mut metrics = Metrics::default();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "disable_openmetrics" => metrics.disable_openmetrics = true,
            _ => return Err(cursor.unknown_subdirective("metrics", ["disable_openmetrics"])),
        }
    }
    Ok(Handler::Metrics(metrics))
}
