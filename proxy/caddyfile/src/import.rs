//! What an `import` does to the tokens it brings in, and which imports may follow each other.
//!
//! Caddy: `doImport` in `caddyfile/parse.go`, `importargs.go`, `importgraph.go`.

use std::collections::{HashMap, HashSet};

use crate::diagnostic::Diagnostic;
use crate::token::Token;

/// What all imports of a file together may bring. A few lines of imports within imports, or of
/// arguments within arguments, can grow without bound; ten thousand sites that import a hundred
/// lines each stay below this.
#[derive(Debug)]
pub(crate) struct Budget {
    tokens: usize,
    /// Bytes of the tokens' texts.
    text: usize,
}

/// The imports bring more than they may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl Default for Budget {
    fn default() -> Self {
        Self {
            tokens: 4_000_000,
            text: 1 << 26,
        }
    }
}

impl Budget {
    /// What an import costs itself, in tokens.
    const IMPORT: usize = 32;

    fn spend_import(&mut self) -> Result<(), TooLarge> {
        self.tokens = self.tokens.checked_sub(Self::IMPORT).ok_or(TooLarge)?;
        Ok(())
    }

    fn spend(&mut self, token: &Token) -> Result<(), TooLarge> {
        self.tokens = self.tokens.checked_sub(1).ok_or(TooLarge)?;
        self.text = self.text.checked_sub(token.text.len()).ok_or(TooLarge)?;
        Ok(())
    }
}

/// What an `import` statement hands to the tokens it imports.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    /// `{args[0]}`, `{args[1]}` ...
    pub(crate) arguments: Vec<String>,
    /// `{block}`: the tokens of the block behind the statement, without its braces.
    pub(crate) block: Vec<Token>,
    /// `{blocks.NAME}`: of each line or block in that block, what follows its first word.
    pub(crate) blocks: HashMap<String, Vec<Token>>,
}

impl Handed {
    /// Puts what was handed over in the place of its placeholders in `imported`.
    ///
    /// Placeholders inside the definition of a snippet stay, since they are for those who import
    /// that; `nesting` is 0 where a snippet may be defined. Warnings are added to `warnings`.
    ///
    /// # Errors
    /// The result is larger than `budget`.
    pub(crate) fn fill_in(
        &self,
        imported: Vec<Token>,
        mut nesting: usize,
        budget: &mut Budget,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<Vec<Token>, TooLarge> {
        budget.spend_import()?;
        let mut filled: Vec<Token> = Vec::with_capacity(imported.len());
        let mut place_in_line = 0;
        let mut may_be_snippet = false;
        let mut is_snippet = false;
        for token in imported {
            if !is_snippet && nesting == 0 {
                let starts_line = filled
                    .last()
                    .is_none_or(|last| last.is_followed_by_line_break(&token));
                place_in_line = if starts_line { 0 } else { place_in_line + 1 };
                if starts_line && token.text.len() >= 3 {
                    may_be_snippet = token.text.starts_with('(') && token.text.ends_with(')');
                }
            }
            if token.opens_block() {
                nesting += 1;
                if place_in_line == 1 && may_be_snippet && nesting == 1 {
                    is_snippet = true;
                    may_be_snippet = false;
                }
            } else if token.closes_block() {
                nesting = nesting.saturating_sub(1);
                if nesting == 0 {
                    is_snippet = false;
                }
            }
            let start = filled.len();
            if is_snippet {
                filled.push(token);
            } else if let Some(block) = self.block_of(&token.text) {
                filled.extend_from_slice(block);
            } else {
                self.fill_in_arguments(token, &mut filled, budget, warnings)?;
            }
            filled[start..]
                .iter()
                .try_for_each(|token| budget.spend(token))?;
        }
        Ok(filled)
    }

    /// The tokens that `{block}` or `{blocks.NAME}` stands for, none if nothing was handed over.
    fn block_of(&self, text: &str) -> Option<&[Token]> {
        if text == "{block}" {
            return Some(&self.block);
        }
        let name = text.strip_prefix("{blocks.")?.strip_suffix('}')?;
        Some(self.blocks.get(name).map_or(&[], Vec::as_slice))
    }

    fn fill_in_arguments(
        &self,
        mut token: Token,
        filled: &mut Vec<Token>,
        budget: &Budget,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<(), TooLarge> {
        match self.variadic(&token.text) {
            Ok(Some(arguments)) => {
                filled.extend(arguments.iter().map(|text| {
                    let text = text.clone();
                    Token {
                        text,
                        ..token.clone()
                    }
                }));
                return Ok(());
            }
            Ok(None) => {}
            Err(problem) => {
                warnings.push(Diagnostic::warning_at(&token, problem));
                filled.push(token);
                return Ok(());
            }
        }
        if token.text.contains(['{', '}']) {
            let mut problems = Vec::new();
            let text = replace(&token.text, budget.text, |key| {
                self.argument(key).unwrap_or_else(|problem| {
                    problems.push(problem);
                    None
                })
            })?;
            warnings.extend(
                problems
                    .into_iter()
                    .map(|text| Diagnostic::warning_at(&token, text)),
            );
            token.text = text;
        }
        filled.push(token);
        Ok(())
    }

    /// The arguments of `{args[START:END]}`, which must be a token of its own.
    fn variadic(&self, text: &str) -> Result<Option<&[String]>, String> {
        let inside = text
            .strip_prefix("{args[")
            .and_then(|rest| rest.strip_suffix("]}"));
        let Some((start, end)) = inside.and_then(|range| range.split_once(':')) else {
            return Ok(None);
        };
        if start.contains('}') || end.contains('{') {
            return Ok(None);
        }
        let index = |text: &str, default: usize| match text {
            "" => Ok(default),
            text => text
                .parse()
                .map_err(|_| format!("`{text}` in `{text}` is no index")),
        };
        let count = self.arguments.len();
        let range = index(start, 0)?..index(end, count)?;
        match self.arguments.get(range) {
            Some(arguments) => Ok(Some(arguments)),
            None => Err(format!("`{text}` is out of bounds: {}", counted(count))),
        }
    }

    /// The argument that the placeholder `{key}` names.
    fn argument(&self, key: &str) -> Result<Option<&str>, String> {
        let index = match key.strip_prefix("args.") {
            Some(index) => Some(index).filter(|index| !index.is_empty()),
            None => key
                .strip_prefix("args[")
                .and_then(|rest| rest.strip_suffix(']')),
        };
        let Some(index) = index else { return Ok(None) };
        if index.contains(':') {
            return Err(format!("`{{{key}}}` must be a word of its own"));
        }
        let Ok(index) = index.parse::<usize>() else {
            return Err(format!("`{index}` in `{{{key}}}` is no index"));
        };
        let count = self.arguments.len();
        match self.arguments.get(index) {
            Some(argument) => Ok(Some(argument)),
            None => Err(format!("`{{{key}}}` is out of bounds: {}", counted(count))),
        }
    }
}

fn counted(count: usize) -> String {
    match count {
        0 => "the import has no arguments".to_owned(),
        1 => "the import has 1 argument".to_owned(),
        count => format!("the import has {count} arguments"),
    }
}

/// Replaces each `{key}` in `text` that `find` knows; unknown ones stay, and `\{` and `\}` lose
/// their backslash. The result is at most about `limit` bytes. Caddy: `Replacer.ReplaceKnown`.
fn replace<'v>(
    text: &str,
    limit: usize,
    mut find: impl FnMut(&str) -> Option<&'v str>,
) -> Result<String, TooLarge> {
    let bytes = text.as_bytes();
    let is_escaped = |at: usize| at > 0 && bytes[at - 1] == b'\\';
    let mut replaced = String::with_capacity(text.len());
    let mut written = 0;
    let mut at = 0;
    while at < bytes.len() {
        let is_brace = matches!(bytes[at], b'{' | b'}');
        if is_brace && is_escaped(at) && at > written {
            replaced.push_str(&text[written..at - 1]);
            written = at;
        } else if bytes[at] == b'{' && !is_escaped(at) {
            let closing = |from: usize| text[from..].find('}').map(|found| from + found);
            let mut end = closing(at);
            while let Some(found) = end.filter(|end| is_escaped(*end) && *end < bytes.len() - 1) {
                end = closing(found + 1);
            }
            if let Some(end) = end
                && let Some(value) = find(&text[at + 1..end])
            {
                replaced.push_str(&text[written..at]);
                replaced.push_str(value);
                if replaced.len() > limit {
                    return Err(TooLarge);
                }
                written = end + 1;
                at = end;
            }
        }
        at += 1;
    }
    replaced.push_str(&text[written..]);
    Ok(replaced)
}

/// Which files and snippets import which; a cycle would never end.
#[derive(Debug, Default)]
pub(crate) struct ImportGraph {
    imported_by: HashMap<String, HashSet<String>>,
}

impl ImportGraph {
    /// Notes that `importer` imports `imported`, or refuses it because that closes a cycle.
    pub(crate) fn add(&mut self, importer: &str, imported: &str) -> Result<(), String> {
        if importer == imported || self.reaches(imported, importer) {
            return Err(format!(
                "a cycle of imports exists between `{importer}` and `{imported}`"
            ));
        }
        self.imported_by
            .entry(importer.to_owned())
            .or_default()
            .insert(imported.to_owned());
        Ok(())
    }

    fn reaches(&self, from: &str, to: &str) -> bool {
        let mut seen = HashSet::new();
        let mut open = vec![from];
        while let Some(node) = open.pop() {
            for next in self.imported_by.get(node).into_iter().flatten() {
                if next == to {
                    return true;
                }
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed(arguments: &[&str]) -> Handed {
        let arguments = arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect();
        Handed {
            arguments,
            ..Handed::default()
        }
    }

    #[test]
    fn known_placeholders_are_replaced_and_escapes_dropped() {
        let find = |key: &str| (key == "a").then_some("b");
        let replace = |text| replace(text, 9, find).unwrap();
        assert_eq!(replace("{a}{x}{a"), "b{x}{a");
        assert_eq!(replace("{x{a}}"), "{xb}");
        assert_eq!(replace("\\{a\\} {a}"), "{a} b");
    }

    #[test]
    fn arguments_are_found_by_index() {
        let handed = handed(&["zero", "one"]);
        assert_eq!(handed.argument("args[1]"), Ok(Some("one")));
        assert_eq!(handed.argument("args.0"), Ok(Some("zero")));
        assert_eq!(handed.argument("host"), Ok(None));
        assert!(handed.argument("args[2]").is_err());
        assert!(handed.argument("args[-1]").is_err());
        assert!(handed.argument("args[0:1]").is_err());
    }

    #[test]
    fn ranges_of_arguments_need_a_word_of_their_own() {
        let handed = handed(&["zero", "one", "two"]);
        let all = ["zero", "one", "two"].map(str::to_owned);
        assert_eq!(handed.variadic("{args[:]}"), Ok(Some(all.as_slice())));
        assert_eq!(handed.variadic("{args[1:2]}"), Ok(Some(&all[1..2])));
        assert_eq!(handed.variadic("{args[0]}:{args[1]}"), Ok(None));
        assert!(handed.variadic("{args[2:1]}").is_err());
        assert!(handed.variadic("{args[:4]}").is_err());
    }

    #[test]
    fn a_cycle_is_refused() {
        let mut graph = ImportGraph::default();
        assert_eq!(graph.add("a", "b"), Ok(()));
        assert_eq!(graph.add("b", "c"), Ok(()));
        assert_eq!(graph.add("a", "c"), Ok(()));
        assert!(graph.add("c", "a").is_err());
        assert!(graph.add("b", "b").is_err());
    }
}
