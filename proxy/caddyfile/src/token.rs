//! Tokens, where they stand, and the texts they stand in.
//!
//! A token remembers its place in the text as the user wrote it (also after environment variables
//! were expanded) for messages, and its row as Caddy counts it for the grammar: a Caddyfile is
//! line-based, so whether two tokens share a row decides where a directive ends.
//! Caddy: `caddyconfig/caddyfile/lexer.go`, `dispenser.go`.

use std::collections::HashMap;
use std::sync::Arc;

/// One word, quoted string, brace or heredoc of a Caddyfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The text without quotes and escapes; imports have replaced their `{args[..]}` in it.
    pub text: String,
    /// Where the token stands in the text that was read, quotes included.
    pub span: Span,
    /// How the token was quoted.
    pub quote: Quote,
    /// The row the token starts in, from 1: rows joined by a backslash are one, and lines that came
    /// with the value of an environment variable count.
    pub row: u32,
    /// The imports that brought the token here, or `None` for a token of the main file.
    pub imports: Option<ImportId>,
    /// The snippet that the token was defined in.
    pub snippet: Option<Arc<str>>,
    /// The token as written, if the value of an environment variable is in its text: the value may
    /// be secret, so messages show this instead.
    pub written: Option<Arc<str>>,
}

impl Token {
    /// Whether the token was quoted in any way, and so is text even where it looks like syntax.
    #[must_use]
    pub fn is_quoted(&self) -> bool {
        self.quote != Quote::None
    }

    /// Whether the token opens a block: an unquoted `{`.
    #[must_use]
    pub fn opens_block(&self) -> bool {
        self.text == "{" && !self.is_quoted()
    }

    /// Whether the token closes a block: an unquoted `}`.
    #[must_use]
    pub fn closes_block(&self) -> bool {
        self.text == "}" && !self.is_quoted()
    }

    /// Whether `next`, the token after this one, begins a new line.
    ///
    /// Tokens of different files or different imports never share a line.
    #[must_use]
    pub fn is_followed_by_line_break(&self, next: &Self) -> bool {
        self.span.source != next.span.source
            || self.imports != next.imports
            || self.row + self.line_breaks() < next.row
    }

    /// The line breaks from the token's first row to its last.
    fn line_breaks(&self) -> u32 {
        let inside = self.text.bytes().filter(|byte| *byte == b'\n').count();
        // A heredoc's text begins in the row after its opening marker and ends in the row before
        // its closing one.
        let markers = if self.quote == Quote::Heredoc { 2 } else { 0 };
        u32::try_from(inside)
            .unwrap_or(u32::MAX)
            .saturating_add(markers)
    }
}

/// How a token was quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quote {
    /// Not at all.
    None,
    /// By `"`: escapes are `\"` only.
    Double,
    /// By a backtick: no escapes.
    Backtick,
    /// As a heredoc, `<<MARKER`.
    Heredoc,
}

/// A piece of one source text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// The text.
    pub source: SourceId,
    /// First byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
    /// The line of `start`, from 1.
    pub line: u32,
    /// The column of `start`, in characters, from 1.
    pub column: u32,
}

/// A text in [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceId(u32);

/// A chain of imports in [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImportId(u32);

/// One import statement at work.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Import {
    /// The import statement.
    pub at: Span,
    /// The snippet that it names, or `None` if it names files.
    pub snippet: Option<Arc<str>>,
    /// The imports that brought the statement itself to where it stands.
    pub parent: Option<ImportId>,
    /// The imports that had brought the imported token to where it was defined.
    pub defined_by: Option<ImportId>,
}

/// Every text that was read, by name, and every chain of imports.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    texts: Vec<(String, String)>,
    imports: Vec<Import>,
    known_imports: HashMap<Import, ImportId>,
}

impl Sources {
    /// No text yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text, or finds it if it was added before under the same name.
    pub fn add(&mut self, name: &str, text: &str) -> SourceId {
        let known = self
            .texts
            .iter()
            .position(|known| (known.0.as_str(), known.1.as_str()) == (name, text));
        let index = known.unwrap_or_else(|| {
            self.texts.push((name.to_owned(), text.to_owned()));
            self.texts.len() - 1
        });
        SourceId(index_as_id(index))
    }

    /// The name of a text, usually its path. Empty if the id is of other `Sources`.
    #[must_use]
    pub fn name(&self, id: SourceId) -> &str {
        self.texts.get(id.0 as usize).map_or("", |(name, _)| name)
    }

    /// A text as it was read. Empty if the id is of other `Sources`.
    #[must_use]
    pub fn text(&self, id: SourceId) -> &str {
        self.texts.get(id.0 as usize).map_or("", |(_, text)| text)
    }

    /// Adds a step of an import chain; equal steps have equal ids.
    pub fn add_import(&mut self, import: Import) -> ImportId {
        let next = ImportId(index_as_id(self.imports.len()));
        let id = *self.known_imports.entry(import.clone()).or_insert(next);
        if id == next {
            self.imports.push(import);
        }
        id
    }

    /// The statements that brought a token here, the nearest first, the one in the main file last.
    pub fn import_chain(&self, id: Option<ImportId>) -> impl Iterator<Item = &Import> {
        let find = |id: ImportId| self.imports.get(id.0 as usize);
        std::iter::successors(id.and_then(find), move |import| {
            import.parent.and_then(find)
        })
    }
}

/// Texts and imports are counted in thousands; the limit is out of reach.
fn index_as_id(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(sources: &mut Sources, text: &str, row: u32, quote: Quote) -> Token {
        let source = sources.add("Caddyfile", "");
        Token {
            text: text.to_owned(),
            span: Span {
                source,
                start: 0,
                end: 0,
                line: row,
                column: 1,
            },
            quote,
            row,
            imports: None,
            snippet: None,
            written: None,
        }
    }

    #[test]
    fn rows_of_a_quoted_token_count_up_to_its_end() {
        let mut sources = Sources::new();
        let quoted = token(&mut sources, "a\nb", 1, Quote::Double);
        assert!(!quoted.is_followed_by_line_break(&token(&mut sources, "c", 2, Quote::None)));
        assert!(quoted.is_followed_by_line_break(&token(&mut sources, "c", 3, Quote::None)));
        let heredoc = token(&mut sources, "a\nb", 1, Quote::Heredoc);
        assert!(!heredoc.is_followed_by_line_break(&token(&mut sources, "c", 4, Quote::None)));
    }

    #[test]
    fn import_steps_are_interned_and_chained() {
        let mut sources = Sources::new();
        let at = token(&mut sources, "import", 1, Quote::None).span;
        let outer = Import {
            at,
            snippet: Some("a".into()),
            parent: None,
            defined_by: None,
        };
        let first = sources.add_import(outer.clone());
        assert_eq!(sources.add_import(outer), first);
        let inner = Import {
            at,
            snippet: None,
            parent: Some(first),
            defined_by: None,
        };
        let second = sources.add_import(inner);
        assert_ne!(first, second);
        assert_eq!(sources.import_chain(Some(second)).count(), 2);
    }
}
