//! `expression`: CEL.

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::Expression;
use crate::token::{Quote, Token};

/// Caddy: `caddyhttp/celmatcher.go`. Of several only the first is taken.
pub(super) fn parse(cursor: &mut Cursor<'_>, context: &str) -> Result<Expression, Diagnostic> {
    cursor.next_token();
    let words = cursor.remaining_args();
    match words.as_slice() {
        [] => Err(cursor.argument_error()),
        [word] => Ok(of(&word.text, context)),
        // Quotes between words belong to the expression, as those of its strings.
        words => {
            let expr = words
                .iter()
                .map(|word| as_written(word))
                .collect::<Vec<_>>()
                .join(" ");
            Ok(Expression {
                expr,
                name: String::new(),
            })
        }
    }
}

/// The expression `text` of the matcher `context`.
pub(super) fn of(text: &str, context: &str) -> Expression {
    Expression {
        expr: text.to_owned(),
        name: context.to_owned(),
    }
}

fn as_written(token: &Token) -> String {
    match token.quote {
        Quote::Double => format!("\"{}\"", token.text),
        Quote::Backtick => format!("`{}`", token.text),
        Quote::None | Quote::Heredoc => token.text.clone(),
    }
}
