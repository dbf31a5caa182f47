//! Formats a Caddyfile as `caddy fmt` does: tabs for nesting, single spaces, at most one blank line.
//!
//! Only white space and the place of braces change. The text is walked once, character by
//! character, since comments and everything inside quotes must stay as they are.
//! Caddy: `caddyconfig/caddyfile/formatter.go`.

use crate::lexer::lex;
use crate::token::Sources;

/// Braces nest deeper than this only in nonsense; more is not indented.
const MAX_INDENT: usize = 10;

/// The formatted text, with one line break at its end.
///
/// A malformed text, whose formatting would not be final or would change its words, stays as it is.
#[must_use]
pub fn format(text: &str) -> String {
    let formatted = format_once(text);
    if format_once(&formatted) == formatted && words(text) == words(&formatted) {
        return formatted;
    }
    text.to_owned()
}

fn format_once(text: &str) -> String {
    let mut formatter = Formatter::new();
    for character in text.trim().chars() {
        formatter.take(character);
    }
    format!("{}\n", formatter.out.trim())
}

/// The texts of the tokens in one, or `None` if the text cannot be split into tokens.
///
/// Where one token ends is left out, since formatting parts a brace from the word it is stuck to.
fn words(text: &str) -> Option<String> {
    let source = Sources::new().add("", text);
    let (tokens, _) = lex(text, source, &|name| Some(format!("{{${name}}}"))).ok()?;
    Some(tokens.into_iter().map(|token| token.text).collect())
}

#[derive(Debug)]
struct Formatter {
    out: String,
    /// The character that was written last.
    last: char,
    nesting: usize,
    /// Line breaks read and not yet written.
    line_breaks: usize,
    /// Whether the last character was white space.
    after_space: bool,
    is_line_start: bool,
    is_comment: bool,
    is_escaped: bool,
    quotes: Quotes,
    heredoc: Heredoc,
    is_heredoc_escaped: bool,
    brace: Brace,
    /// The current word, and the first of its line.
    word: String,
    first_word: String,
    /// Whether the line before is an `import` outside of all blocks: a brace after it opens the
    /// global options.
    follows_import: bool,
}

/// Which quotes the formatter is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    None,
    Double,
    Backtick,
    BacktickInDouble,
}

#[derive(Debug, PartialEq, Eq)]
enum Heredoc {
    None,
    /// In the marker after `<<`.
    Opening(String),
    /// In the text, with what was read of its current line.
    Open {
        marker: String,
        line: String,
    },
}

/// An opening brace: what it is shows only by what comes next.
#[derive(Debug, Clone, Copy)]
struct Brace {
    is_open: bool,
    is_written: bool,
    /// Whether there was white space before it, other than a line break.
    has_space: bool,
    /// Whether it was on a new line.
    is_on_new_line: bool,
}

impl Formatter {
    fn new() -> Self {
        Self {
            out: String::new(),
            last: '\0',
            nesting: 0,
            line_breaks: 0,
            after_space: true,
            is_line_start: true,
            is_comment: false,
            is_escaped: false,
            quotes: Quotes::None,
            heredoc: Heredoc::None,
            is_heredoc_escaped: false,
            brace: Brace {
                is_open: false,
                is_written: false,
                has_space: false,
                is_on_new_line: false,
            },
            word: String::new(),
            first_word: String::new(),
            follows_import: false,
        }
    }

    fn take(&mut self, character: char) {
        if self.take_heredoc(character) {
            return;
        }
        if self.last == '<' {
            self.after_space = false;
        }
        let is_literal = self.take_comment(character)
            || self.take_escape(character)
            || self.take_quoted(character);
        if is_literal {
            return;
        }
        if character.is_whitespace() {
            self.take_space(character);
        } else {
            self.take_plain(character);
        }
    }

    /// Takes a character of a heredoc or of its opening.
    fn take_heredoc(&mut self, character: char) -> bool {
        let opens = self.quotes == Quotes::None
            && self.heredoc == Heredoc::None
            && !self.is_heredoc_escaped
            && self.after_space
            && self.last == '<'
            && character == '<';
        if opens {
            self.write(character);
            self.heredoc = Heredoc::Opening(String::new());
            self.after_space = false;
            return true;
        }
        match &mut self.heredoc {
            Heredoc::None => false,
            Heredoc::Opening(marker) => {
                if character == '\n' {
                    let is_marker = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                    if !marker.is_empty() && marker.chars().all(is_marker) {
                        let marker = std::mem::take(marker);
                        self.heredoc = Heredoc::Open {
                            marker,
                            line: String::new(),
                        };
                        self.write(character);
                    } else {
                        self.heredoc = Heredoc::None;
                        self.next_line();
                    }
                    return true;
                }
                if character.is_whitespace() {
                    self.heredoc = Heredoc::None;
                    return false;
                }
                marker.push(character);
                self.write(character);
                true
            }
            Heredoc::Open { marker, line } => {
                if character.is_whitespace() && line.ends_with(marker.as_str()) {
                    self.heredoc = Heredoc::None;
                    return false;
                }
                line.push(character);
                if character == '\n' {
                    line.clear();
                }
                self.write(character);
                true
            }
        }
    }

    fn take_comment(&mut self, character: char) -> bool {
        if !self.is_comment {
            return false;
        }
        if character == '\n' {
            self.is_comment = false;
            self.after_space = true;
            self.next_line();
        } else {
            self.write(character);
        }
        true
    }

    fn take_escape(&mut self, character: char) -> bool {
        if self.is_escaped {
            self.is_heredoc_escaped |= character == '<';
            self.write(character);
            self.is_escaped = false;
            return true;
        }
        if character != '\\' {
            return false;
        }
        if self.after_space {
            self.write(' ');
            self.after_space = false;
        }
        self.write(character);
        self.is_escaped = true;
        true
    }

    fn take_quoted(&mut self, character: char) -> bool {
        if character == '`' {
            self.quotes = match self.quotes {
                Quotes::None => Quotes::Backtick,
                Quotes::Backtick => Quotes::None,
                Quotes::Double => Quotes::BacktickInDouble,
                Quotes::BacktickInDouble => Quotes::Double,
            };
        }
        if self.quotes == Quotes::Double {
            if character == '"' {
                self.quotes = Quotes::None;
            }
            self.write(character);
            return true;
        }
        if character == '"' {
            match self.quotes {
                Quotes::None if self.after_space => self.quotes = Quotes::Double,
                Quotes::BacktickInDouble => self.quotes = Quotes::None,
                _ => {}
            }
        }
        if matches!(self.quotes, Quotes::Backtick | Quotes::BacktickInDouble) {
            if character == '`' && self.after_space && !self.is_line_start {
                self.write(' ');
            }
            self.write(character);
            self.after_space = false;
            return true;
        }
        false
    }

    fn take_space(&mut self, character: char) {
        self.end_word();
        self.after_space = true;
        self.is_heredoc_escaped = false;
        if character == '\n' {
            self.end_line();
            self.line_breaks += 1;
        }
    }

    fn take_plain(&mut self, character: char) {
        let after_space = std::mem::replace(&mut self.after_space, false);
        self.is_comment = character == '#';
        if self.brace.is_open && after_space && !self.brace.is_written {
            self.open_block();
        }
        match character {
            '{' => {
                self.end_word();
                let has_space = after_space && !self.is_line_start;
                let is_on_new_line = self.line_breaks > 0;
                self.brace = Brace {
                    is_open: true,
                    is_written: false,
                    has_space,
                    is_on_new_line,
                };
                if has_space && !is_on_new_line {
                    self.write(' ');
                }
            }
            '}' if after_space || !self.brace.is_open => {
                self.end_word();
                self.close_block();
            }
            _ => self.continue_word(character, after_space),
        }
    }

    /// Writes the opening brace that was waiting to be one.
    fn open_block(&mut self) {
        if self.nesting == 0 && self.last == '}' {
            self.next_line();
            self.next_line();
        }
        self.brace.is_open = false;
        if self.brace.is_on_new_line && self.follows_import {
            if self.last != '\n' {
                self.next_line();
            }
            self.indent();
        } else if self.is_line_start {
            self.indent();
        } else if !self.brace.has_space || !self.last.is_whitespace() {
            self.write(' ');
        }
        self.write('{');
        self.brace.is_written = true;
        self.brace.is_on_new_line = false;
        self.next_line();
        self.line_breaks = 0;
        if self.nesting < MAX_INDENT {
            self.nesting += 1;
        }
    }

    fn close_block(&mut self) {
        if self.last != '\n' {
            self.next_line();
        }
        self.nesting = self.nesting.saturating_sub(1);
        self.indent();
        self.write('}');
        self.line_breaks = 0;
    }

    fn continue_word(&mut self, character: char, after_space: bool) {
        for _ in 0..self.line_breaks.min(2) {
            self.next_line();
        }
        self.line_breaks = 0;
        if self.is_line_start {
            self.indent();
        }
        if self.nesting == 0 && self.last == '}' && self.is_line_start {
            self.next_line();
            self.next_line();
        }
        if !self.is_line_start && after_space {
            self.write(' ');
        }
        if self.brace.is_open && !self.brace.is_written {
            self.write('{');
            self.brace.is_written = true;
        }
        if after_space && character == '<' {
            self.after_space = true;
        }
        self.word.push(character);
        self.write(character);
        self.is_line_start = false;
    }

    fn end_word(&mut self) {
        let word = std::mem::take(&mut self.word);
        if self.first_word.is_empty() {
            self.first_word = word;
        }
    }

    fn end_line(&mut self) {
        self.end_word();
        let is_waiting = self.brace.is_open && self.brace.is_on_new_line && !self.brace.is_written;
        if !self.first_word.is_empty() {
            self.follows_import = self.nesting == 0 && self.first_word == "import";
        } else if !is_waiting {
            self.follows_import = false;
        }
        self.first_word.clear();
    }

    fn indent(&mut self) {
        for _ in 0..self.nesting {
            self.write('\t');
        }
    }

    fn next_line(&mut self) {
        self.write('\n');
        self.is_line_start = true;
    }

    fn write(&mut self, character: char) {
        self.out.push(character);
        self.last = character;
    }
}

#[cfg(test)]
mod tests;
