//! `map`: sets placeholders by the value of another.

use serde_json::Value as Json;

use super::Context;
use super::argument::scalar;
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Handler, MapHandler, Mapping};

/// ```text
/// map [<matcher>] <source> <destinations...> {
///     [~]<input> <outputs...>
///     default    <values...>
/// }
/// ```
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let mut map = MapHandler {
        source: cursor.expect_arg()?.text.clone(),
        destinations: cursor.remaining_values(),
        ..MapHandler::default()
    };
    if map.destinations.is_empty() {
        return Err(cursor.error_here("missing destination argument(s)"));
    }

    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        if token.text == "default" {
            if !map.defaults.is_empty() {
                return Err(cursor.error_here("defaults already defined"));
            }
            map.defaults = cursor.remaining_values();
            if map.defaults.is_empty() {
                return Err(cursor.argument_error());
            }
            if map.defaults.len() < map.destinations.len() {
                map.defaults.resize(map.destinations.len(), String::new());
            }
            continue;
        }
        let mut outputs: Vec<Json> = cursor
            .remaining_args()
            .into_iter()
            .map(|output| {
                if output.text == "-" {
                    Json::Null
                } else {
                    scalar(output)
                }
            })
            .collect();
        if outputs.len() > map.destinations.len() {
            return Err(cursor.error_here("too many outputs"));
        }
        outputs.resize(map.destinations.len(), Json::Null);
        let (input, input_regexp) = match token.text.strip_prefix('~') {
            Some(pattern) => (String::new(), pattern.to_owned()),
            None => (token.text.clone(), String::new()),
        };
        map.mappings.push(Mapping {
            input,
            input_regexp,
            outputs,
        });
    }
    Ok(Handler::Map(map))
}
