//! `basic_auth` and its older name `basicauth`: asks for a name and a password.

use super::Context;
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{
    Authentication, AuthenticationProviders, BasicAuth, BasicAuthAccount, Empty, Handler,
    PasswordHash,
};

/// ```text
/// basic_auth [<matcher>] [<algorithm> [<realm>]] {
///     <name> <hash>
/// }
/// ```
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let arguments = cursor.remaining_args();
    if let Some(extra) = arguments.get(2) {
        return Err(Diagnostic::error_at(extra, "unexpected argument"));
    }
    let algorithm = arguments
        .first()
        .map_or("bcrypt", |token| token.text.as_str());
    if !matches!(algorithm, "bcrypt" | "argon2id") {
        let message = format!("unrecognized hash algorithm: {algorithm}");
        return Err(cursor
            .error_here(message)
            .with_help("use `bcrypt` or `argon2id`"));
    }

    let mut accounts = Vec::new();
    let nesting = cursor.nesting();
    while let Some(name) = cursor.next_block(nesting) {
        let password = cursor
            .next_arg()
            .map(|token| token.text.clone())
            .unwrap_or_default();
        cursor.expect_end_of_args()?;
        if name.text.is_empty() || password.is_empty() {
            let message = "username and password cannot be empty or missing";
            let help = "write a name and a password hash in each line";
            return Err(Diagnostic::error_at(name, message).with_help(help));
        }
        accounts.push(BasicAuthAccount {
            username: name.text.clone(),
            password,
        });
    }

    Ok(Handler::Authentication(Authentication {
        providers: AuthenticationProviders {
            http_basic: Some(BasicAuth {
                hash: Some(PasswordHash {
                    algorithm: algorithm.to_owned(),
                    cost: 0,
                }),
                accounts,
                realm: arguments
                    .get(1)
                    .map(|token| token.text.clone())
                    .unwrap_or_default(),
                hash_cache: Some(Empty {}),
            }),
            ..AuthenticationProviders::default()
        },
    }))
}
