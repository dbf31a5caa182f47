//! The `import` statement: snippets and files in its place.

use std::sync::Arc;

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::import::{Handed, TooLarge};
use crate::lexer::lex;
use crate::parser::Parser;
use crate::token::{Import, SourceId, Token};

/// What an import statement names, with each file or snippet as the import graph knows it.
struct Imported {
    tokens: Vec<Token>,
    nodes: Vec<String>,
    snippet: Option<Arc<str>>,
}

impl Parser<'_> {
    /// Replaces the import statement at the current token by what it imports; the next token is
    /// the first that is imported, or the one after the statement.
    ///
    /// `nesting` is 0 where snippets may be defined. An import that fails is reported and imports
    /// nothing.
    pub(super) fn import(&mut self, nesting: usize) -> Result<(), Diagnostic> {
        let mut cursor = Cursor::new(self.tokens.statement());
        let Some(statement) = cursor.next_token() else {
            return Ok(());
        };
        let pattern = cursor.expect_arg()?.clone();
        let statement = statement.clone();
        let handed = handed_over(&mut cursor)?;
        let length = cursor.position();
        let tokens = match self.imported(&pattern, &statement) {
            Ok(imported) => {
                let tokens = self.mark_as_imported(imported, &statement);
                handed
                    .fill_in(tokens, nesting, &mut self.budget, &mut self.diagnostics)
                    .map_err(|TooLarge| {
                        let message = "the imports of this file grow too large";
                        Diagnostic::error_at(&pattern, message)
                    })?
            }
            Err(diagnostic) => {
                self.diagnostics.push(diagnostic);
                Vec::new()
            }
        };
        self.tokens.replace(length, tokens);
        Ok(())
    }

    fn imported(&mut self, pattern: &Token, statement: &Token) -> Result<Imported, Diagnostic> {
        if pattern.text.is_empty() {
            return Err(Diagnostic::error_at(
                pattern,
                "import requires a non-empty file path",
            ));
        }
        let imported = match self.snippets.get(&pattern.text) {
            Some(tokens) => {
                let node = tokens.first().map(|token| self.node(token));
                Imported {
                    tokens: tokens.clone(),
                    nodes: node.into_iter().collect(),
                    snippet: Some(pattern.text.as_str().into()),
                }
            }
            None => self.imported_files(pattern, statement)?,
        };
        let importer = self.node(statement);
        for node in &imported.nodes {
            self.imports
                .add(&importer, node)
                .map_err(|message| Diagnostic::error_at(statement, message))?;
        }
        Ok(imported)
    }

    fn imported_files(
        &mut self,
        pattern: &Token,
        statement: &Token,
    ) -> Result<Imported, Diagnostic> {
        let name = &pattern.text;
        let count = |wildcard: char| name.matches(wildcard).count();
        if count('*') > 1 || count('?') > 1 || (name.contains('[') && name.contains(']')) {
            let message = format!(
                "glob pattern may only contain one wildcard (`*`), but has others: `{name}`"
            );
            return Err(Diagnostic::error_at(pattern, message));
        }
        let importer = self.sources.name(statement.span.source);
        let mut files = self.loader.glob(importer, name).map_err(|error| {
            Diagnostic::error_at(pattern, format!("cannot look for `{name}`: {error}"))
        })?;
        if files.is_empty() {
            if !name.contains(['*', '?', '[', ']']) {
                let message = format!("file to import not found: `{name}`");
                return Err(self.with_snippets(Diagnostic::error_at(pattern, message), name));
            }
            let message = format!("no files match the import pattern `{name}`");
            self.diagnostics
                .push(Diagnostic::warning_at(pattern, message));
        }
        let file_name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
        if file_name(name).starts_with('*') {
            files.retain(|file| !file_name(file).starts_with('.'));
        }
        let mut tokens = Vec::new();
        for file in &files {
            tokens.extend(self.read(file, pattern, statement)?);
        }
        Ok(Imported {
            tokens,
            nodes: files,
            snippet: None,
        })
    }

    fn with_snippets(&self, diagnostic: Diagnostic, name: &str) -> Diagnostic {
        diagnostic.with_suggestion(name, self.snippets.keys().map(String::as_str))
    }

    fn read(
        &mut self,
        file: &str,
        pattern: &Token,
        statement: &Token,
    ) -> Result<Vec<Token>, Diagnostic> {
        let text = self.loader.read(file).map_err(|error| {
            Diagnostic::error_at(pattern, format!("cannot import `{file}`: {error}"))
        })?;
        if text.trim().is_empty() {
            let message = format!("the imported file `{file}` is empty");
            self.diagnostics
                .push(Diagnostic::warning_at(pattern, message));
        }
        let source: SourceId = self.sources.add(file, &text);
        let import = Import {
            at: statement.span,
            snippet: None,
            parent: statement.imports,
            defined_by: None,
        };
        let imports = Some(self.sources.add_import(import));
        let lexed = lex(&text, source, self.environment);
        let (tokens, warnings) = lexed.map_err(|error| Diagnostic { imports, ..error })?;
        let warnings = warnings
            .into_iter()
            .map(|warning| Diagnostic { imports, ..warning });
        self.diagnostics.extend(warnings);
        Ok(tokens)
    }

    fn mark_as_imported(&mut self, imported: Imported, statement: &Token) -> Vec<Token> {
        let Imported {
            mut tokens,
            snippet,
            ..
        } = imported;
        // Tokens that came the same way stand together.
        let mut last = None;
        for token in &mut tokens {
            let defined_by = token.imports;
            let id = match last {
                Some((known, id)) if known == defined_by => id,
                _ => self.sources.add_import(Import {
                    at: statement.span,
                    snippet: snippet.clone(),
                    parent: statement.imports,
                    defined_by,
                }),
            };
            last = Some((defined_by, id));
            token.imports = Some(id);
        }
        tokens
    }

    /// The name of what `token` is written in: its file, or the snippet in that file.
    fn node(&self, token: &Token) -> String {
        let file = self.sources.name(token.span.source);
        match &token.snippet {
            Some(snippet) => format!("{file}:{snippet}"),
            None => file.to_owned(),
        }
    }
}

/// Takes the arguments and the block of an import statement.
fn handed_over(cursor: &mut Cursor<'_>) -> Result<Handed, Diagnostic> {
    let arguments = cursor.remaining_values();
    let mut block = Vec::new();
    while let Some(token) = cursor.next_block(0) {
        block.push(token);
    }
    let mut handed = Handed {
        arguments,
        ..Handed::default()
    };
    handed.block = block.iter().map(|token| (*token).clone()).collect();
    let mut lines = Cursor::new(block);
    while let Some(key) = lines.next_token() {
        if key.opens_block() {
            return Err(Diagnostic::error_at(
                key,
                "anonymous blocks are not supported",
            ));
        }
        let mut tokens = lines.remaining_args();
        while let Some(token) = lines.next_block(0) {
            tokens.push(token);
        }
        handed
            .blocks
            .insert(key.text.clone(), tokens.into_iter().cloned().collect());
    }
    Ok(handed)
}
