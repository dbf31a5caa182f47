//! Splits the text of a Caddyfile into tokens.
//!
//! The rules are those of Caddy's lexer, with its corner cases: a token is a word between white
//! space, or starts with a quote and ends with the next, or is a heredoc. A backslash joins lines,
//! keeps a quote inside quotes, or keeps `<<` from starting a heredoc, and is text elsewhere. `#` at
//! the start of a word makes the rest of the line a comment. Caddy: `caddyfile/lexer.go`.

use std::cell::Cell;
use std::ops::Range;

use crate::diagnostic::Diagnostic;
use crate::env::Expanded;
use crate::token::{Quote, SourceId, Span, Token};

/// The tokens of `text`, and warnings about it.
///
/// # Errors
/// A heredoc that does not end, or is not indented as it must be.
pub(crate) fn lex(
    text: &str,
    source: SourceId,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(Vec<Token>, Vec<Diagnostic>), Diagnostic> {
    let expanded = Expanded::new(text, environment);
    let mut rest = expanded.text.char_indices();
    if expanded.text.starts_with(BYTE_ORDER_MARK) {
        rest.next();
    }
    let mut lexer = Lexer {
        rest,
        end: expanded.text.len(),
        row: 1,
        joined_rows: 0,
        places: Places {
            source,
            original: text,
            expanded: &expanded,
            line_starts: lines(text),
            last: Cell::new((0, 0)),
        },
        warnings: Vec::new(),
    };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next_token()? {
        tokens.push(token);
    }
    Ok((tokens, lexer.warnings))
}

struct Lexer<'t> {
    rest: std::str::CharIndices<'t>,
    end: usize,
    row: u32,
    /// Line breaks since `row` that did not end it.
    joined_rows: u32,
    places: Places<'t>,
    warnings: Vec<Diagnostic>,
}

/// A token in the making.
#[derive(Default)]
struct Word {
    text: String,
    start: usize,
    row: u32,
}

impl Lexer<'_> {
    fn next_token(&mut self) -> Result<Option<Token>, Diagnostic> {
        let mut word = Word::default();
        let mut is_comment = false;
        let mut escape = None;
        let mut is_heredoc_escaped = false;
        while let Some((at, character)) = self.rest.next() {
            if !is_heredoc_escaped && word.text.starts_with("<<") {
                match character {
                    ' ' => return Ok(Some(self.token(word, at, Quote::None))),
                    '\n' => return self.heredoc(word, at).map(Some),
                    '\r' => {}
                    _ => word.text.push(character),
                }
                continue;
            }
            if character == '\\' && escape.is_none() {
                escape = Some(at);
                continue;
            }
            if character.is_whitespace() {
                if character == '\r' {
                    continue;
                }
                if character == '\n' {
                    if escape.take().is_some() {
                        self.joined_rows += 1;
                    } else {
                        self.end_row();
                    }
                    is_comment = false;
                }
                if !word.text.is_empty() {
                    return Ok(Some(self.token(word, at, Quote::None)));
                }
                continue;
            }
            // Caddy: a backslash in a comment joins it with the next line.
            is_comment |= character == '#' && word.text.is_empty();
            if is_comment {
                continue;
            }
            if word.text.is_empty() {
                word.start = escape.unwrap_or(at);
                word.row = self.row;
                match character {
                    '"' => return Ok(self.quoted(word, Quote::Double, escape.is_some())),
                    '`' => return Ok(self.quoted(word, Quote::Backtick, false)),
                    _ => {}
                }
            }
            if escape.take().is_some() {
                if character == '<' {
                    is_heredoc_escaped = true;
                } else {
                    word.text.push('\\');
                }
            }
            word.text.push(character);
        }
        let is_word = !word.text.is_empty();
        Ok(is_word.then(|| self.token(word, self.end, Quote::None)))
    }

    /// The rest of a quoted token, after its opening quote.
    fn quoted(&mut self, mut word: Word, quote: Quote, mut is_escaped: bool) -> Option<Token> {
        let closing = if quote == Quote::Double { '"' } else { '`' };
        while let Some((at, character)) = self.rest.next() {
            if quote == Quote::Double && character == '\\' && !is_escaped {
                is_escaped = true;
                continue;
            }
            if is_escaped {
                if character != '"' {
                    word.text.push('\\');
                }
                is_escaped = false;
            } else if character == closing {
                return Some(self.token(word, at + 1, quote));
            }
            if character == '\n' {
                self.end_row();
            }
            word.text.push(character);
        }
        // Caddy takes what there is as a word.
        let opening = self.places.span(word.start..word.start + 1);
        let warning = Diagnostic::error(format!("the quote `{closing}` is never closed"));
        self.warnings.push(Diagnostic {
            severity: crate::diagnostic::Severity::Warning,
            span: Some(opening),
            ..warning
        });
        let is_word = !word.text.is_empty();
        is_word.then(|| self.token(word, self.end, Quote::None))
    }

    /// The rest of a heredoc, after the line break at `opened_at` that ends `<<MARKER`.
    fn heredoc(&mut self, word: Word, opened_at: usize) -> Result<Token, Diagnostic> {
        let opening = self.places.span(word.start..opened_at);
        let error = |message: String| {
            Err(Diagnostic {
                span: Some(opening),
                ..Diagnostic::error(message)
            })
        };
        let line = opening.line;
        let marker = word.text.strip_prefix("<<").unwrap_or_default().to_owned();
        if marker.starts_with('<') {
            let message = format!(
                "too many '<' for heredoc on line #{line}; only use two, for example <<END"
            );
            return error(message);
        }
        let rule = "must contain only alphanumeric characters, dashes and underscores";
        if marker.is_empty() {
            let message = format!("missing opening heredoc marker on line #{line}; {rule}");
            return error(message);
        }
        if !marker
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        {
            return error(format!(
                "heredoc marker on line #{line} {rule}; got `{marker}`"
            ));
        }
        self.joined_rows += 1;
        let content_start = opened_at + 1;
        let mut content = String::new();
        while let Some((at, character)) = self.rest.next() {
            content.push(character);
            if character == '\n' {
                self.joined_rows += 1;
            }
            if content.ends_with(&marker) {
                let text = self.without_indent(&content, &marker, content_start)?;
                self.row += self.joined_rows;
                self.joined_rows = 0;
                let end = at + character.len_utf8();
                return Ok(self.token(Word { text, ..word }, end, Quote::Heredoc));
            }
        }
        error(format!(
            "incomplete heredoc <<{marker}, expected ending marker {marker}"
        ))
    }

    /// The lines of a heredoc without the indent of its closing marker, joined by line breaks.
    fn without_indent(
        &self,
        content: &str,
        marker: &str,
        content_start: usize,
    ) -> Result<String, Diagnostic> {
        let closing_line = content.rfind('\n').map_or(0, |at| at + 1);
        let indent = &content[closing_line..content.len() - marker.len()];
        let mut lines = Vec::new();
        let mut line_start = content_start;
        for line in content[..closing_line].split_inclusive('\n') {
            let text = line.trim_end_matches('\n');
            if text.is_empty() || text == "\r" {
                lines.push(String::new());
            } else if let Some(text) = text.strip_prefix(indent) {
                lines.push(text.replace('\r', ""));
            } else {
                let span = self.places.span(line_start..line_start + text.len());
                let message = format!(
                    "mismatched leading whitespace in heredoc <<{marker} on line #{} [{text}], \
                     expected whitespace [{indent}] to match the closing marker",
                    span.line
                );
                return Err(Diagnostic {
                    span: Some(span),
                    ..Diagnostic::error(message)
                });
            }
            line_start += line.len();
        }
        Ok(lines.join("\n"))
    }

    fn end_row(&mut self) {
        self.row += 1 + self.joined_rows;
        self.joined_rows = 0;
    }

    fn token(&self, word: Word, end: usize, quote: Quote) -> Token {
        let range = word.start..end;
        let has_value = self.places.expanded.has_value_in(&range);
        let span = self.places.span(range);
        let written = has_value.then(|| self.places.original[span.start..span.end].into());
        let text = word.text;
        Token {
            text,
            span,
            quote,
            row: word.row,
            imports: None,
            snippet: None,
            written,
        }
    }
}

/// Finds lines and columns.
struct Places<'t> {
    source: SourceId,
    original: &'t str,
    expanded: &'t Expanded,
    line_starts: Vec<usize>,
    /// The place that was found last, and the characters before it in its line.
    last: Cell<(usize, usize)>,
}

impl Places<'_> {
    /// The place that a range of the expanded text has in the text as it was read.
    fn span(&self, range: Range<usize>) -> Span {
        let Range { start, end } = self.expanded.original(range);
        let line = self
            .line_starts
            .partition_point(|line_start| *line_start <= start);
        let line_start = line
            .checked_sub(1)
            .and_then(|line| self.line_starts.get(line));
        let column = self.characters(line_start.copied().unwrap_or(0), start) + 1;
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Span {
            source: self.source,
            start,
            end,
            line: count(line),
            column: count(column),
        }
    }

    /// The characters from the start of a line to `at`. Places are mostly asked for in their order,
    /// so that a long line is counted once and not for each of its tokens.
    fn characters(&self, line_start: usize, at: usize) -> usize {
        let (last, before) = self.last.get();
        let (from, before) = if (line_start..=at).contains(&last) {
            (last, before)
        } else {
            (line_start, 0)
        };
        let text = self.original.get(from..at).unwrap_or("");
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let characters = before + text.chars().count();
        self.last.set((at, characters));
        characters
    }
}

fn lines(text: &str) -> Vec<usize> {
    std::iter::once(0)
        .chain(text.match_indices('\n').map(|(at, _)| at + 1))
        .collect()
}

const BYTE_ORDER_MARK: char = '\u{feff}';

#[cfg(test)]
mod tests;
