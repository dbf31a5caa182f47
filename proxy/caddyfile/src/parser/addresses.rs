//! The addresses before a server block.

use crate::diagnostic::Diagnostic;
use crate::directive;
use crate::parser::Parser;
use crate::token::Token;

/// How a list of addresses ended.
pub(super) enum AddressEnd {
    /// By the end of the file.
    File,
    /// By a line break or an opening brace.
    Line,
}

impl Parser<'_> {
    /// Takes the keys of a server block, and imports that stand before it.
    pub(super) fn addresses(&mut self) -> Result<AddressEnd, Diagnostic> {
        let mut comma: Option<Token> = None;
        loop {
            if let Some(token) = self.tokens.current() {
                if token.text.starts_with('@') {
                    let message = format!(
                        "request matchers may not be defined globally, they must be in a site \
                         block; found `{}`",
                        token.text
                    );
                    return Err(Diagnostic::error_at(token, message));
                }
                if token.text == "import" && self.tokens.is_new_line() {
                    self.import(0)?;
                    if !self.tokens.advance() {
                        return end_of_file(comma.as_ref());
                    }
                    continue;
                }
                if token.opens_block() {
                    if comma.is_some() {
                        let message = "expected another address before `{`: check for extra comma";
                        return Err(Diagnostic::error_at(token, message));
                    }
                    self.block.has_braces = true;
                    return Ok(AddressEnd::Line);
                }
                if token.closes_block() {
                    let message = "unexpected `}` because there is no block to close";
                    return Err(self.with_stuck_brace(Diagnostic::error_at(token, message)));
                }
                let (key, has_comma) = address_of(token)?;
                comma = if has_comma { Some(token.clone()) } else { None };
                if let Some(key) = key {
                    self.check_address(&key);
                    self.block.keys.push(key);
                }
            }
            if !self.tokens.advance() {
                return end_of_file(comma.as_ref());
            }
            if comma.is_none() && self.tokens.is_new_line() {
                return Ok(AddressEnd::Line);
            }
        }
    }

    /// Reports a directive in the place of an address: mostly a brace too many stands before it.
    fn check_address(&mut self, key: &Token) {
        let name = &key.text;
        if directive::names().any(|known| known == name) {
            let message = format!(
                "parsed `{name}` as a site address, but it is a known directive; directives must \
                 appear in a site block"
            );
            let diagnostic = Diagnostic::error_at(key, message)
                .with_help("look for a `}` too many before it, or for a missing site address");
            self.diagnostics.push(diagnostic);
        }
    }
}

/// The end of a list of addresses, the last of which had `comma` behind it.
fn end_of_file(comma: Option<&Token>) -> Result<AddressEnd, Diagnostic> {
    match comma {
        Some(token) => {
            let message = "expected another address after the comma";
            Err(Diagnostic::error_at(token, message))
        }
        None => Ok(AddressEnd::File),
    }
}

/// The address that `token` is, if any is left without the comma, and whether it ends with one.
fn address_of(token: &Token) -> Result<(Option<Token>, bool), Diagnostic> {
    if token.text.ends_with('{') {
        let message = format!(
            "site addresses cannot end with a curly brace: `{}`",
            token.text
        );
        return Err(Diagnostic::error_at(token, message)
            .with_help("put a space between the address and the brace"));
    }
    let without_comma = token.text.strip_suffix(',');
    let text = without_comma.unwrap_or(&token.text);
    if text.contains(',') {
        let message = format!("site addresses cannot contain a comma: `{text}`");
        return Err(Diagnostic::error_at(token, message)
            .with_help("put a space after the comma to separate site addresses"));
    }
    let key = (!text.is_empty()).then(|| Token {
        text: text.to_owned(),
        ..token.clone()
    });
    Ok((key, without_comma.is_some()))
}
