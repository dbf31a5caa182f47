//! What is wrong with a Caddyfile, where, and what to do about it.
//!
//! Parsing and lowering collect diagnostics instead of stopping at the first, so that one run shows
//! them all. The first line of each, `FILE:LINE:COLUMN: message`, is what editors look for.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Element, Level, Renderer, Snippet};
use indexmap::IndexMap;

use crate::document::Origin;
use crate::token::{ImportId, Sources, Span, Token};

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: one phrase in lower case without a full stop, literals in backticks.
    pub message: String,
    /// Where, or `None` if it concerns no place in a text.
    pub span: Option<Span>,
    /// The imports that brought the place into the configuration.
    pub imports: Option<ImportId>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error that concerns no place in a text.
    #[must_use]
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span: None,
            imports: None,
            help: None,
        }
    }

    /// An error at `token`.
    #[must_use]
    pub fn error_at(token: &Token, message: impl Into<String>) -> Self {
        Self::error(message).at(token)
    }

    /// Something valid at `token` that this program cannot run.
    #[must_use]
    pub fn unsupported_at(token: &Token, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Unsupported,
            ..Self::error_at(token, message)
        }
    }

    /// Something at `token` that works, but hardly as meant.
    #[must_use]
    pub fn warning_at(token: &Token, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error_at(token, message)
        }
    }

    /// The same at `token`. Where the message has the token's text and that is from an environment
    /// variable, it gets the variable's name instead.
    #[must_use]
    pub fn at(mut self, token: &Token) -> Self {
        self.span = Some(token.span);
        self.imports = token.imports;
        if let Some(written) = token.written.as_deref().filter(|_| !token.text.is_empty()) {
            self.message = self.message.replace(&token.text, written);
        }
        self
    }

    /// The same at a place that a document remembers.
    #[must_use]
    pub fn at_origin(mut self, origin: Origin) -> Self {
        self.span = Some(origin.span);
        self.imports = origin.imports;
        self
    }

    /// The same with a word on what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with the known word that `word` was perhaps meant to be, if one is near.
    #[must_use]
    pub fn with_suggestion<'a>(
        mut self,
        word: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        if let Some(suggestion) = suggest(word, known) {
            self.help = Some(format!("did you mean `{suggestion}`?"));
        }
        self
    }

    /// Whether `serve` and `validate` must refuse the file for it.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.severity != Severity::Warning
    }
}

/// How bad a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Caddy refuses the file as well, or no configuration can be made of it.
    Error,
    /// A valid Caddyfile that this program cannot run yet: `adapt` prints its JSON, `serve` and
    /// `validate` refuse it.
    Unsupported,
    /// It works, but hardly as meant.
    Warning,
}

/// Renders diagnostics as text for people, without colours, one after the other.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    render_with(&Renderer::plain(), diagnostics, sources)
}

/// Renders diagnostics as [`render`] does, with the colours of a terminal.
#[must_use]
pub fn render_coloured(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    render_with(&Renderer::styled(), diagnostics, sources)
}

fn render_with(renderer: &Renderer, diagnostics: &[Diagnostic], sources: &Sources) -> String {
    // What is wrong in a snippet is found wherever it is imported, and shown once.
    let mut found: IndexMap<_, (&Diagnostic, usize)> = IndexMap::new();
    for diagnostic in diagnostics {
        let key = (diagnostic.span, &diagnostic.message, diagnostic.severity);
        found.entry(key).or_insert((diagnostic, 0)).1 += 1;
    }
    let rendered = found.values().map(|(diagnostic, count)| {
        let mut text = render_one(renderer, diagnostic, count - 1, sources);
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    });
    rendered.collect::<Vec<_>>().join("\n")
}

fn render_one(
    renderer: &Renderer,
    diagnostic: &Diagnostic,
    repetitions: usize,
    sources: &Sources,
) -> String {
    let mut title = String::new();
    if let Some(span) = diagnostic.span {
        let _ = write!(title, "{}: ", position(span, sources));
    }
    let level = match diagnostic.severity {
        Severity::Error | Severity::Unsupported => Level::ERROR,
        Severity::Warning => {
            title.push_str("warning: ");
            Level::WARNING
        }
    };
    title.push_str(&diagnostic.message);
    let mut elements: Vec<Element<'_>> = Vec::new();
    if let Some(span) = diagnostic.span {
        let text = sources.text(span.source);
        let mark = AnnotationKind::Primary.span(first_line_of(span, text));
        elements.push(Snippet::source(text).annotation(mark).into());
    }
    if let Some(help) = &diagnostic.help {
        elements.push(Level::HELP.with_name("hint").message(help.as_str()).into());
    }
    for import in sources.import_chain(diagnostic.imports) {
        let place = position(import.at, sources);
        let message = match &import.snippet {
            Some(name) => format!("snippet `{name}` is imported at {place}"),
            None => format!("imported at {place}"),
        };
        elements.push(Level::NOTE.message(message).into());
    }
    if repetitions > 0 && diagnostic.imports.is_some() {
        let message = format!("the same at {repetitions} more imports");
        elements.push(Level::NOTE.message(message).into());
    }
    renderer.render(&[level.no_name().primary_title(title).elements(elements)])
}

fn position(span: Span, sources: &Sources) -> String {
    format!(
        "{}:{}:{}",
        sources.name(span.source),
        span.line,
        span.column
    )
}

/// The bytes to mark: a token over several lines is marked in its first one only.
fn first_line_of(span: Span, text: &str) -> std::ops::Range<usize> {
    let marked = text.get(span.start..span.end).unwrap_or_default();
    let length = marked.find('\n').unwrap_or(marked.len());
    let start = span.start.min(text.len());
    start..start + length
}

/// The word of `known` that is nearest to `word`, if one is near enough to be meant.
///
/// Near means: at most a third of the letters changed, added, dropped or swapped with their
/// neighbour. The first of several equally near words is taken.
#[must_use]
pub fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count().max(3) / 3).min(3);
    let near = known
        .into_iter()
        .map(|candidate| (edit_distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit);
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The edits between two words; swapped neighbours are one edit (optimal string alignment).
fn edit_distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().flat_map(char::to_lowercase).collect();
    let right: Vec<char> = right.chars().flat_map(char::to_lowercase).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, left_char) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, right_char) in right.iter().enumerate() {
            let changed = above[column] + usize::from(left_char != right_char);
            let mut best = changed.min(above[column + 1] + 1).min(current[column] + 1);
            let swapped = row > 0
                && column > 0
                && *left_char == right[column - 1]
                && left[row - 1] == *right_char;
            if swapped {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut above, current);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Import, Quote};

    fn token_of(sources: &mut Sources, name: &str, text: &str, word: &str) -> Token {
        let start = text.find(word).expect("the word is in the text");
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = u32::try_from(text[..start].matches('\n').count() + 1).expect("small");
        let column = u32::try_from(text[line_start..start].chars().count() + 1).expect("small");
        let source = sources.add(name, text);
        Token {
            text: word.to_owned(),
            span: Span {
                source,
                start,
                end: start + word.len(),
                line,
                column,
            },
            quote: Quote::None,
            row: line,
            imports: None,
            snippet: None,
            written: None,
        }
    }

    #[test]
    fn rendering_shows_place_line_hint_and_imports() {
        let mut sources = Sources::new();
        let import = token_of(
            &mut sources,
            "Caddyfile",
            "(app) {\n}\n\timport app",
            "import",
        );
        let text = "example.com {\n\trevers_proxy web:8000\n}\n";
        let mut token = token_of(&mut sources, "sites/app", text, "revers_proxy");
        token.imports = Some(sources.add_import(Import {
            at: import.span,
            snippet: Some("app".into()),
            parent: None,
            defined_by: None,
        }));
        let diagnostic = Diagnostic::error_at(&token, "unknown directive `revers_proxy`")
            .with_suggestion("revers_proxy", ["redir", "reverse_proxy"]);
        insta::assert_snapshot!(render(&[diagnostic], &sources), @"
        sites/app:2:2: unknown directive `revers_proxy`
          |
        2 |     revers_proxy web:8000
          |     ^^^^^^^^^^^^
          |
          = hint: did you mean `reverse_proxy`?
          = note: snippet `app` is imported at Caddyfile:3:2
        ");
    }

    #[test]
    fn rendering_without_a_place_is_the_message() {
        let diagnostics = [Diagnostic::error("no configuration")];
        insta::assert_snapshot!(render(&diagnostics, &Sources::new()), @"no configuration");
    }

    #[test]
    fn findings_in_a_snippet_are_shown_once() {
        let mut sources = Sources::new();
        let mut findings = Vec::new();
        for _ in 0..3 {
            let mut token = token_of(&mut sources, "Caddyfile", "respnd hi\nimport a", "respnd");
            let import = token_of(&mut sources, "Caddyfile", "respnd hi\nimport a", "import");
            token.imports = Some(sources.add_import(Import {
                at: import.span,
                snippet: None,
                parent: None,
                defined_by: None,
            }));
            findings.push(Diagnostic::error_at(
                &token,
                "unrecognized directive `respnd`",
            ));
        }
        insta::assert_snapshot!(render(&findings, &sources), @"
        Caddyfile:1:1: unrecognized directive `respnd`
          |
        1 | respnd hi
          | ^^^^^^
          |
          = note: imported at Caddyfile:2:1
          = note: the same at 2 more imports
        ");
    }

    #[test]
    fn values_of_environment_variables_are_not_shown() {
        let mut sources = Sources::new();
        let mut token = token_of(&mut sources, "Caddyfile", "respond {$SECRET}", "{$SECRET}");
        token.text = "hunter2".to_owned();
        token.written = Some("{$SECRET}".into());
        let diagnostic = Diagnostic::error_at(&token, "bad status value `hunter2`");
        assert_eq!(diagnostic.message, "bad status value `{$SECRET}`");
    }

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let known = ["reverse_proxy", "redir", "respond", "root"];
        assert_eq!(suggest("revers_proxy", known), Some("reverse_proxy"));
        assert_eq!(suggest("reidr", known), Some("redir"));
        assert_eq!(suggest("rot", known), Some("root"));
        assert_eq!(suggest("tls", known), None);
    }
}
