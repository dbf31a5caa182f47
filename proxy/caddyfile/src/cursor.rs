//! Reading the tokens of one directive in order.
//!
//! Caddy: `caddyconfig/caddyfile/dispenser.go`; the rules on lines and blocks are the same, so that
//! a directive takes exactly the tokens that it takes in Caddy.

use crate::diagnostic::Diagnostic;
use crate::token::Token;

/// A position in the tokens of a directive (or of several) and its block.
///
/// It starts before the first token. The usual loop is:
///
/// ```text
/// cursor.next_token();                              // the directive's name
/// let arguments = cursor.remaining_args();          // its arguments
/// let nesting = cursor.nesting();
/// while let Some(token) = cursor.next_block(nesting) {  // each line of its block
///     match token.text.as_str() {
///         "name" => { cursor.expect_arg()?; }
///         ..
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    tokens: Vec<&'a Token>,
    /// How many tokens were taken; the current one is the last of them.
    taken: usize,
    nesting: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor before the first of `tokens`.
    #[must_use]
    pub fn new(tokens: impl IntoIterator<Item = &'a Token>) -> Self {
        Self {
            tokens: tokens.into_iter().collect(),
            taken: 0,
            nesting: 0,
        }
    }

    /// Takes the next token, wherever it is.
    pub fn next_token(&mut self) -> Option<&'a Token> {
        let token = *self.tokens.get(self.taken)?;
        self.taken += 1;
        Some(token)
    }

    /// Gives the current token back.
    pub fn previous(&mut self) {
        self.taken = self.taken.saturating_sub(1);
    }

    /// Takes the next token if it is in the same line and opens no block.
    ///
    /// At the very start it takes the first token.
    pub fn next_arg(&mut self) -> Option<&'a Token> {
        let token = self.next_in_line()?;
        if token.opens_block() {
            self.previous();
            return None;
        }
        Some(token)
    }

    /// Takes the next token if it begins a new line. At the very start it takes the first token.
    pub fn next_line(&mut self) -> Option<&'a Token> {
        let next = *self.tokens.get(self.taken)?;
        if let Some(current) = self.token()
            && !current.is_followed_by_line_break(next)
        {
            return None;
        }
        self.taken += 1;
        Some(next)
    }

    /// Takes the next token of the block that is open, or that opens here in the same line.
    ///
    /// `nesting` is what [`nesting`](Self::nesting) said before the first call. The outermost
    /// braces are not given out; after `None` the current token is the closing brace, or what it
    /// was before if no block opens here.
    pub fn next_block(&mut self, nesting: usize) -> Option<&'a Token> {
        if self.nesting > nesting {
            let token = self.next_token()?;
            // Caddy: a brace with more tokens behind it in its line is skipped over.
            if token.closes_block() && self.next_in_line().is_none() {
                self.nesting -= 1;
            } else if token.opens_block() && self.next_in_line().is_none() {
                self.nesting += 1;
            }
            return if self.nesting > nesting {
                self.token()
            } else {
                None
            };
        }
        let opening = self.next_in_line()?;
        if !opening.opens_block() {
            self.previous();
            return None;
        }
        if self.next_token()?.closes_block() {
            return None;
        }
        self.nesting += 1;
        self.token()
    }

    /// How many blocks are open at the current token.
    #[must_use]
    pub fn nesting(&self) -> usize {
        self.nesting
    }

    /// The current token; `None` before the first one.
    #[must_use]
    pub fn token(&self) -> Option<&'a Token> {
        self.tokens.get(self.taken.checked_sub(1)?).copied()
    }

    /// The text of the current token; empty before the first one.
    #[must_use]
    pub fn value(&self) -> &'a str {
        self.token().map_or("", |token| &token.text)
    }

    /// Takes the arguments up to the end of the line or the opening of a block.
    pub fn remaining_args(&mut self) -> Vec<&'a Token> {
        std::iter::from_fn(|| self.next_arg()).collect()
    }

    /// The texts of [`remaining_args`](Self::remaining_args).
    pub fn remaining_values(&mut self) -> Vec<String> {
        self.remaining_args()
            .into_iter()
            .map(|token| token.text.clone())
            .collect()
    }

    /// How many arguments are left in the line; takes none.
    #[must_use]
    pub fn count_remaining_args(&self) -> usize {
        self.clone().remaining_args().len()
    }

    /// Takes the next argument.
    ///
    /// # Errors
    /// The line ends, or a block opens.
    pub fn expect_arg(&mut self) -> Result<&'a Token, Diagnostic> {
        self.next_arg().ok_or_else(|| self.argument_error())
    }

    /// Takes exactly `N` arguments, all that the line has.
    ///
    /// # Errors
    /// There are fewer or more.
    pub fn expect_args<const N: usize>(&mut self) -> Result<[&'a Token; N], Diagnostic> {
        let before = self.clone();
        let arguments = self.remaining_args();
        if arguments.len() > N {
            return Err(Diagnostic::error_at(arguments[N], "unexpected argument"));
        }
        arguments.try_into().map_err(|_| before.argument_error())
    }

    /// Checks that the line has no more arguments; takes none.
    ///
    /// # Errors
    /// There is another one.
    pub fn expect_end_of_args(&self) -> Result<(), Diagnostic> {
        match self.clone().next_arg() {
            Some(extra) => Err(Diagnostic::error_at(
                extra,
                format!("unexpected argument `{}`", extra.text),
            )),
            None => Ok(()),
        }
    }

    /// Checks that no block opens after the current token; takes nothing.
    ///
    /// # Errors
    /// One does.
    pub fn expect_no_block(&self) -> Result<(), Diagnostic> {
        match self.clone().next_in_line() {
            Some(brace) if brace.opens_block() => {
                let message = format!("blocks are not supported after `{}`", self.value());
                Err(Diagnostic::error_at(brace, message))
            }
            _ => Ok(()),
        }
    }

    /// The tokens from the current one to the end of its line or of the block that opens there, and
    /// moves to the last of them.
    ///
    /// The closing brace is left for the loop over the enclosing block to take.
    pub fn next_segment(&mut self) -> Vec<&'a Token> {
        let mut segment: Vec<&Token> = self.token().into_iter().collect();
        segment.extend(self.remaining_args());
        let nesting = self.nesting;
        let mut is_open = false;
        while let Some(token) = self.next_block(nesting) {
            if !is_open {
                segment.push(self.tokens[self.taken - 2]);
                is_open = true;
            }
            segment.push(token);
        }
        if is_open {
            segment.extend(self.token());
        }
        segment
    }

    /// A cursor over [`next_segment`](Self::next_segment).
    #[must_use]
    pub fn from_next_segment(&mut self) -> Self {
        Self {
            tokens: self.next_segment(),
            taken: 0,
            nesting: 0,
        }
    }

    /// Removes the current token; the one before it becomes current.
    pub fn delete(&mut self) {
        if let Some(index) = self.taken.checked_sub(1) {
            self.tokens.remove(index);
            self.taken = index;
        }
    }

    /// How many tokens were taken.
    pub(crate) fn position(&self) -> usize {
        self.taken
    }

    /// Goes back to before the first token.
    pub fn reset(&mut self) {
        self.taken = 0;
        self.nesting = 0;
    }

    /// All tokens, wherever the cursor stands.
    #[must_use]
    pub fn tokens(&self) -> &[&'a Token] {
        &self.tokens
    }

    /// An error at the current token, or at the first one before it is taken.
    #[must_use]
    pub fn error_here(&self, message: impl Into<String>) -> Diagnostic {
        let diagnostic = Diagnostic::error(message);
        match self.token().or_else(|| self.tokens.first().copied()) {
            Some(token) => diagnostic.at(token),
            None => diagnostic,
        }
    }

    /// The error that an argument is missing after the current token.
    #[must_use]
    pub fn argument_error(&self) -> Diagnostic {
        if self.token().is_some_and(Token::opens_block) {
            return self.error_here("unexpected `{`, expecting an argument");
        }
        let name = self.value();
        self.error_here(format!(
            "wrong argument count or unexpected line ending after `{name}`"
        ))
    }

    /// The error that the current token is no subdirective of `directive`; `known` are those there
    /// are, for a suggestion.
    #[must_use]
    pub fn unknown_subdirective(
        &self,
        directive: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Diagnostic {
        let name = self.value();
        self.error_here(format!(
            "unrecognized subdirective `{name}` of `{directive}`"
        ))
        .with_suggestion(name, known)
    }

    /// Takes the next token if it is in the same line, a brace or not.
    fn next_in_line(&mut self) -> Option<&'a Token> {
        let next = *self.tokens.get(self.taken)?;
        if let Some(current) = self.token()
            && current.is_followed_by_line_break(next)
        {
            return None;
        }
        self.taken += 1;
        Some(next)
    }
}

#[cfg(test)]
mod tests;
