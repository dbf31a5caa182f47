//! Groups the tokens of a Caddyfile into server blocks and directives, with all imports done.
//!
//! What the directives mean is not looked at here. The rules on braces and lines are those of
//! Caddy's parser (`caddyfile/parse.go`); an error that leaves the structure clear (an import that
//! fails, a snippet declared twice) does not end parsing, so that one run shows all of them.

mod addresses;
mod imports;
mod loader;
mod stream;

use std::collections::HashMap;
use std::sync::Arc;

use self::addresses::AddressEnd;
pub use self::loader::{Loader, NoFiles};
use self::stream::Stream;
use crate::cursor::Cursor;
use crate::diagnostic::{Diagnostic, Severity};
use crate::import::{Budget, ImportGraph};
use crate::lexer::lex;
use crate::token::{Sources, Token};

/// Parses the Caddyfile `text`, named `name` in messages.
///
/// `environment` gives the value of a variable, or `None` where it is not set.
pub fn parse(
    name: &str,
    text: &str,
    loader: &dyn Loader,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Parsed {
    let mut sources = Sources::new();
    let source = sources.add(name, text);
    let mut parser = Parser {
        tokens: Stream::default(),
        block: ServerBlock::default(),
        blocks: Vec::new(),
        snippets: HashMap::new(),
        imports: ImportGraph::default(),
        budget: Budget::default(),
        sources,
        diagnostics: Vec::new(),
        loader,
        environment,
    };
    let outcome = lex(text, source, environment).and_then(|(tokens, warnings)| {
        parser.tokens = Stream::new(tokens);
        parser.diagnostics = warnings;
        parser.server_blocks()
    });
    parser.diagnostics.extend(outcome.err());
    let Parser {
        blocks,
        diagnostics,
        sources,
        ..
    } = parser;
    Parsed {
        blocks,
        diagnostics,
        sources,
    }
}

/// A Caddyfile as server blocks.
#[derive(Debug)]
pub struct Parsed {
    /// The blocks in their order. One without keys is for the global options.
    pub blocks: Vec<ServerBlock>,
    /// What is wrong. With a fatal one the blocks are not complete.
    pub diagnostics: Vec<Diagnostic>,
    /// All texts that were read.
    pub sources: Sources,
}

/// Site addresses (or the name of a named route, or nothing) and the directives that follow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerBlock {
    /// The addresses, without the commas between them; of a named route its name without `&(..)`.
    pub keys: Vec<Token>,
    /// The directives. A named route has one segment, its name and its braces with what they hold.
    pub segments: Vec<Segment>,
    /// Whether the block was written with braces; only the only one of a file may go without.
    pub has_braces: bool,
    /// Whether the block is a named route, `&(name) { .. }`.
    pub is_named_route: bool,
}

/// The tokens of one directive: its name, its arguments and its block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segment {
    /// At least one token.
    pub tokens: Vec<Token>,
}

impl Segment {
    /// The directive's name: its first token.
    #[must_use]
    pub fn name(&self) -> &str {
        self.tokens.first().map_or("", |token| &token.text)
    }

    /// A cursor before the name.
    #[must_use]
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor::new(&self.tokens)
    }
}

struct Parser<'e> {
    tokens: Stream,
    block: ServerBlock,
    blocks: Vec<ServerBlock>,
    snippets: HashMap<String, Vec<Token>>,
    imports: ImportGraph,
    budget: Budget,
    sources: Sources,
    diagnostics: Vec<Diagnostic>,
    loader: &'e dyn Loader,
    environment: &'e dyn Fn(&str) -> Option<String>,
}

impl Parser<'_> {
    fn server_blocks(&mut self) -> Result<(), Diagnostic> {
        while self.tokens.advance() {
            self.block = ServerBlock::default();
            let outcome = self.server_block();
            let block = std::mem::take(&mut self.block);
            if !block.keys.is_empty() || !block.segments.is_empty() {
                self.blocks.push(block);
            }
            outcome?;
        }
        Ok(())
    }

    fn server_block(&mut self) -> Result<(), Diagnostic> {
        if let AddressEnd::File = self.addresses()? {
            return Ok(());
        }
        if let [key] = self.block.keys.as_slice() {
            let inside = |prefix| key.text.strip_prefix(prefix)?.strip_suffix(')');
            if let Some(name) = inside("&(") {
                let name = Token {
                    text: name.to_owned(),
                    ..key.clone()
                };
                return self.named_route(name);
            }
            if let Some(name) = inside("(") {
                let (name, key) = (name.to_owned(), key.clone());
                return self.snippet(&name, &key);
            }
        }
        self.block_contents()
    }

    fn named_route(&mut self, name: Token) -> Result<(), Diagnostic> {
        let mut tokens = vec![name.clone()];
        tokens.extend(self.block_tokens(&name, true)?);
        self.block.is_named_route = true;
        self.block.keys = vec![name];
        self.block.segments = vec![Segment { tokens }];
        Ok(())
    }

    fn snippet(&mut self, name: &str, key: &Token) -> Result<(), Diagnostic> {
        self.block.keys.clear();
        let mut tokens = self.block_tokens(key, false)?;
        let defined_in: Arc<str> = name.into();
        for token in &mut tokens {
            token.snippet = Some(Arc::clone(&defined_in));
        }
        if self.snippets.contains_key(name) {
            let message = format!("redeclaration of previously declared snippet `{name}`");
            self.diagnostics.push(Diagnostic::error_at(key, message));
            return Ok(());
        }
        self.snippets.insert(name.to_owned(), tokens);
        Ok(())
    }

    /// The tokens of the block of a snippet or, with its braces and with imports done, of a named
    /// route.
    fn block_tokens(&mut self, key: &Token, is_route: bool) -> Result<Vec<Token>, Diagnostic> {
        let Some(opening) = self
            .tokens
            .current()
            .filter(|token| token.opens_block())
            .cloned()
        else {
            let message = format!("expected `{{` after `{}`", key.text);
            return Err(Diagnostic::error_at(key, message));
        };
        let mut nesting = 1;
        let mut tokens = Vec::new();
        if is_route {
            tokens.push(opening.clone());
        }
        while self.tokens.advance() {
            let Some(token) = self.tokens.current() else {
                break;
            };
            if is_route && token.text == "import" && self.tokens.is_new_line() {
                self.import(1)?;
                continue;
            }
            if token.closes_block() {
                nesting -= 1;
                if nesting == 0 {
                    if is_route {
                        tokens.push(token.clone());
                    }
                    return Ok(tokens);
                }
            }
            if token.opens_block() {
                nesting += 1;
            }
            tokens.push(token.clone());
        }
        Err(unclosed(&opening))
    }

    fn block_contents(&mut self) -> Result<(), Diagnostic> {
        let opening = self
            .tokens
            .current()
            .filter(|token| token.opens_block())
            .cloned();
        if opening.is_none() {
            self.tokens.back();
        }
        let is_closed = self.directives()?;
        let Some(opening) = opening.filter(|_| !is_closed) else {
            return Ok(());
        };
        // Caddy only looks whether the last token is a closing brace, even if it closed another
        // block.
        if !self.tokens.current().is_some_and(Token::closes_block) {
            return Err(unclosed(&opening));
        }
        let unclosed = unclosed(&opening);
        self.diagnostics.push(Diagnostic {
            severity: Severity::Warning,
            ..unclosed
        });
        Ok(())
    }

    /// Takes directives up to the closing brace; false if the file ends first.
    fn directives(&mut self) -> Result<bool, Diagnostic> {
        while self.tokens.advance() {
            let Some(token) = self.tokens.current() else {
                break;
            };
            if token.closes_block() {
                return Ok(true);
            }
            if token.text == "import" {
                self.import(1)?;
                continue;
            }
            self.directive()?;
        }
        Ok(false)
    }

    fn directive(&mut self) -> Result<(), Diagnostic> {
        let mut tokens: Vec<Token> = self.tokens.current().cloned().into_iter().collect();
        let mut open: Vec<Token> = Vec::new();
        while self.tokens.advance() {
            let Some(token) = self.tokens.current().cloned() else {
                break;
            };
            if token.opens_block() {
                if let Some(next) = self.tokens.next_in_line() {
                    let message = "unexpected token after `{` on the same line";
                    return Err(Diagnostic::error_at(next, message)
                        .with_help("put what the block holds on lines of its own"));
                }
                if self.tokens.is_new_line() {
                    let message = "unexpected `{` on a new line";
                    return Err(Diagnostic::error_at(&token, message)
                        .with_help("place the `{` at the end of the previous line"));
                }
                open.push(token.clone());
            } else if token.text == "{}"
                && !token.is_quoted()
                && self.tokens.next_in_line().is_none()
            {
                let message = "unexpected `{}` at the end of the line";
                return Err(Diagnostic::error_at(&token, message)
                    .with_help("leave an empty block out, or put a line break into it"));
            } else if open.is_empty() && self.tokens.is_new_line() {
                self.tokens.back();
                break;
            } else if token.closes_block() {
                if open.pop().is_none() {
                    let message = "unexpected `}` because there is no matching opening brace";
                    let diagnostic = Diagnostic::error_at(&token, message)
                        .with_help("put the `}` that ends a block on a line of its own");
                    return Err(self.with_stuck_brace(diagnostic));
                }
            } else if token.text == "import" && self.tokens.is_new_line() {
                self.import(1)?;
                continue;
            }
            tokens.push(token);
        }
        self.block.segments.push(Segment { tokens });
        open.last().map_or(Ok(()), |opening| Err(unclosed(opening)))
    }

    /// Points to the brace that was meant to open the block that `diagnostic` misses, if there is
    /// one stuck to the word before it.
    fn with_stuck_brace(&self, diagnostic: Diagnostic) -> Diagnostic {
        let before = self.tokens.taken().windows(2).rev();
        let stuck = before
            .map(|pair| (&pair[0], &pair[1]))
            .find(|(token, next)| {
                let word = token.text.strip_suffix('{').unwrap_or_default();
                !word.is_empty() && !token.is_quoted() && token.is_followed_by_line_break(next)
            });
        let Some((token, _)) = stuck else {
            return diagnostic;
        };
        let message = format!(
            "put a space before the brace of `{}` in line {}, so that it opens a block",
            token.text, token.span.line
        );
        diagnostic.with_help(message)
    }
}

fn unclosed(opening: &Token) -> Diagnostic {
    Diagnostic::error_at(opening, "this block is never closed: expecting `}`")
}

#[cfg(test)]
mod tests;
