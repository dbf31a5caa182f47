//! `bind`: the addresses that a site listens on.

use super::{Context, Value, Values};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;

/// Addresses to listen on, without ports, which come from the site's address.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bind {
    /// Hosts, or networks with hosts; an empty one is all addresses of the machine.
    pub(crate) addresses: Vec<String>,
    /// Protocols on these addresses; empty is the server's.
    pub(crate) protocols: Vec<String>,
}

/// ```text
/// bind <addresses...> {
///     protocols h1|h2|h2c|h3...
/// }
/// ```
pub(super) fn parse(cursor: &mut Cursor<'_>, _context: &mut Context<'_>) -> Values {
    parse_bind(cursor).map(|bind| vec![Value::Bind(bind)])
}

/// Reads what follows the name of the directive or of the option `default_bind`.
pub(crate) fn parse_bind(cursor: &mut Cursor<'_>) -> Result<Bind, Diagnostic> {
    let mut bind = Bind {
        addresses: cursor.remaining_values(),
        protocols: Vec::new(),
    };
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "protocols" => {
                bind.protocols = cursor.remaining_values();
                if bind.protocols.is_empty() {
                    return Err(cursor.error_here("protocols requires one or more arguments"));
                }
            }
            _ => return Err(cursor.unknown_subdirective("bind", ["protocols"])),
        }
    }
    Ok(bind)
}
