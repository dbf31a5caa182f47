//! `admin`: the admin endpoint.

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::Admin;

/// Where Caddy's endpoint listens unless it is told otherwise.
const DEFAULT_LISTEN: &str = "localhost:2019";

/// ```text
/// admin off|<address> {
///     origins <origins...>
///     enforce_origin
/// }
/// ```
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Admin, Diagnostic> {
    let mut admin = Admin::default();
    if let Some(address) = cursor.next_arg() {
        if address.text == "off" {
            admin.disabled = true;
            return match cursor.next_token() {
                Some(extra) => Err(Diagnostic::error_at(
                    extra,
                    "no more option is allowed after turning off admin config",
                )),
                None => Ok(admin),
            };
        }
        admin.listen = address.text.clone();
        cursor.expect_end_of_args()?;
    }
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "enforce_origin" => admin.enforce_origin = true,
            "origins" => admin.origins = cursor.remaining_values(),
            _ => return Err(cursor.unknown_subdirective("admin", ["enforce_origin", "origins"])),
        }
    }
    if admin.listen.is_empty() {
        admin.listen = DEFAULT_LISTEN.to_owned();
    }
    Ok(admin)
}
