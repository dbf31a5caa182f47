//! The tokens that are left to parse, in front of which imports put what they bring.

use crate::token::Token;

/// Tokens with a place among them. Taking a token and putting many in its place cost the same
/// however long the file is, so that a file of a hundred thousand imports is read in one pass.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The current token is the last of them.
    taken: Vec<Token>,
    /// What follows, the next token last.
    rest: Vec<Token>,
}

impl Stream {
    /// Before the first of `tokens`.
    pub(super) fn new(mut tokens: Vec<Token>) -> Self {
        tokens.reverse();
        Self {
            taken: Vec::with_capacity(tokens.len()),
            rest: tokens,
        }
    }

    /// Goes to the next token; false at the end.
    pub(super) fn advance(&mut self) -> bool {
        let next = self.rest.pop();
        let has_next = next.is_some();
        self.taken.extend(next);
        has_next
    }

    /// Goes back to the token before the current one.
    pub(super) fn back(&mut self) {
        self.rest.extend(self.taken.pop());
    }

    /// The current token; `None` before the first.
    pub(super) fn current(&self) -> Option<&Token> {
        self.taken.last()
    }

    /// Whether the current token begins a line.
    pub(super) fn is_new_line(&self) -> bool {
        match self.taken.as_slice() {
            [.., previous, current] => previous.is_followed_by_line_break(current),
            _ => true,
        }
    }

    /// The next token if it is in the same line.
    pub(super) fn next_in_line(&self) -> Option<&Token> {
        let current = self.current()?;
        self.rest
            .last()
            .filter(|next| !current.is_followed_by_line_break(next))
    }

    /// The tokens up to the current one.
    pub(super) fn taken(&self) -> &[Token] {
        &self.taken
    }

    /// The tokens from the current one to where its line and the blocks that open in it end, at
    /// least: braces are counted so that a cursor over them never misses one.
    pub(super) fn statement(&self) -> Vec<&Token> {
        let mut following = self.rest.iter().rev().peekable();
        let mut statement = Vec::new();
        let mut nesting = 0_usize;
        let mut next = self.current();
        while let Some(token) = next {
            statement.push(token);
            let ends_line = following
                .peek()
                .is_none_or(|following| token.is_followed_by_line_break(following));
            if token.opens_block() {
                nesting += 1;
            } else if token.closes_block() && ends_line {
                nesting = nesting.saturating_sub(1);
            }
            if nesting == 0 && ends_line {
                break;
            }
            next = following.next();
        }
        statement
    }

    /// Replaces the current token and those after it, `count` in all, by `tokens`: the next token
    /// is the first of them.
    pub(super) fn replace(&mut self, count: usize, tokens: Vec<Token>) {
        self.taken.pop();
        let left = (self.rest.len() + 1).saturating_sub(count);
        self.rest.truncate(left);
        self.rest.extend(tokens.into_iter().rev());
    }
}
