//! Definitions of named matchers.
//!
//! `@name path /a*`, `@name { .. }` with a matcher in each line, and `@name` with a quoted CEL
//! expression become the sets of matchers of Caddy's document. The same matcher twice in a set is
//! one with the values of both, where Caddy has it so.
//! Caddy: `parseMatcherDefinitions` in `httpcaddyfile/httptype.go`, `caddyhttp/matchers.go`.

mod address;
mod expression;
mod file;
mod regexp;
mod values;

use indexmap::IndexMap;

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{MatcherSet, TlsMatcher};
use crate::token::Token;

/// The matchers there are.
const NAMES: &[&str] = &[
    "client_ip",
    "expression",
    "file",
    "header",
    "header_regexp",
    "host",
    "method",
    "not",
    "path",
    "path_regexp",
    "protocol",
    "query",
    "remote_ip",
    "tls",
    "vars",
    "vars_regexp",
];

/// Parses the definition of a named matcher, from its `@name` on: the name, with the `@`, and what
/// it stands for.
///
/// What Caddy only refuses when it loads the document is added to `findings`, as unsupported.
///
/// # Errors
/// A matcher that does not exist, or one with wrong arguments.
pub fn parse_definition(
    mut cursor: Cursor<'_>,
    findings: &mut Vec<Diagnostic>,
) -> Result<(String, MatcherSet), Diagnostic> {
    let Some(name) = cursor.next_token() else {
        return Err(cursor.error_here("expected the name of a matcher"));
    };
    let name = name.text.clone();
    // Regular expressions and CEL expressions are called as the matcher is, unless they have a
    // name of their own.
    let context = name.strip_prefix('@').unwrap_or(&name);
    let set = Definition {
        context,
        is_nested: false,
        findings,
    }
    .parse_set(&mut cursor)?;
    Ok((name, set))
}

/// Parses the matchers behind the current token, in its line and its block, as a set of no name.
pub(crate) fn parse_nested(
    cursor: &mut Cursor<'_>,
    findings: &mut Vec<Diagnostic>,
) -> Result<MatcherSet, Diagnostic> {
    Definition {
        context: "",
        is_nested: true,
        findings,
    }
    .parse_set(cursor)
}

/// The definition that matchers are in.
struct Definition<'d> {
    /// The name of the matcher without its `@`; empty inside `not`, as in Caddy.
    context: &'d str,
    /// Whether this is inside `not`.
    is_nested: bool,
    findings: &'d mut Vec<Diagnostic>,
}

impl Definition<'_> {
    /// Parses the matchers in the rest of the line and in the block behind it.
    ///
    /// A quoted word is an expression: instead of all others in a definition, beside them in a
    /// `not`.
    fn parse_set(&mut self, cursor: &mut Cursor<'_>) -> Result<MatcherSet, Diagnostic> {
        let mut matchers: IndexMap<&str, Vec<&Token>> = IndexMap::new();
        let mut set = MatcherSet::default();
        let nesting = cursor.nesting();
        while let Some(name) = cursor.next_arg().or_else(|| cursor.next_block(nesting)) {
            let is_expression = name.is_quoted() && (self.is_nested || cursor.nesting() == nesting);
            if !is_expression {
                matchers
                    .entry(&name.text)
                    .or_default()
                    .extend(cursor.next_segment());
                continue;
            }
            if set.expression.is_some() {
                return Err(
                    Diagnostic::error_at(name, "only one expression can be here")
                        .with_help("join expressions by `&&` or `||`"),
                );
            }
            set.expression = Some(expression::of(&name.text, self.context));
            if !self.is_nested {
                return Ok(set);
            }
        }
        for (name, tokens) in matchers {
            self.parse_matcher(name, &mut Cursor::new(tokens), &mut set)?;
        }
        Ok(set)
    }

    /// Parses all uses of the matcher `name` in a set, each from its name on.
    fn parse_matcher(
        &mut self,
        name: &str,
        cursor: &mut Cursor<'_>,
        set: &mut MatcherSet,
    ) -> Result<(), Diagnostic> {
        let context = self.context;
        match name {
            "client_ip" => set.client_ip = Some(address::parse(cursor, self.findings)?),
            "expression" => set.expression = Some(expression::parse(cursor, context)?),
            "file" => set.file = Some(file::parse(cursor)?),
            "header" => set.header = Some(values::header(cursor)?),
            "header_regexp" => {
                set.header_regexp = Some(regexp::header(cursor, context, self.findings)?)
            }
            "host" => set.host = Some(list(cursor, name)?),
            "method" => set.method = Some(list(cursor, name)?),
            "not" => set.not = Some(self.parse_not(cursor)?),
            "path" => set.path = Some(list(cursor, name)?),
            "path_regexp" => set.path_regexp = Some(regexp::path(cursor, context, self.findings)?),
            "protocol" => set.protocol = Some(protocol(cursor)?),
            "query" => set.query = Some(values::query(cursor)?),
            "remote_ip" => set.remote_ip = Some(address::parse(cursor, self.findings)?),
            "tls" => set.tls = Some(tls(cursor)?),
            "vars" => set.vars = Some(values::vars(cursor)?),
            "vars_regexp" => set.vars_regexp = Some(regexp::vars(cursor, context, self.findings)?),
            _ => {
                cursor.next_token();
                let diagnostic = cursor.error_here(format!("unknown matcher `{name}`"));
                return Err(diagnostic.with_suggestion(name, NAMES.iter().copied()));
            }
        }
        Ok(())
    }

    fn parse_not(&mut self, cursor: &mut Cursor<'_>) -> Result<Vec<MatcherSet>, Diagnostic> {
        let mut inner = Definition {
            context: "",
            is_nested: true,
            findings: &mut *self.findings,
        };
        let mut sets = Vec::new();
        while cursor.next_token().is_some() {
            sets.push(inner.parse_set(cursor)?);
        }
        Ok(sets)
    }
}

/// `host`, `method` and `path`: any number of values.
fn list(cursor: &mut Cursor<'_>, name: &str) -> Result<Vec<String>, Diagnostic> {
    let mut values = Vec::new();
    while cursor.next_token().is_some() {
        values.extend(cursor.remaining_values());
        expect_no_lines(cursor, name)?;
    }
    Ok(values)
}

fn protocol(cursor: &mut Cursor<'_>) -> Result<String, Diagnostic> {
    let mut protocol = String::new();
    while cursor.next_token().is_some() {
        let Some(argument) = cursor.next_arg() else {
            return Err(cursor.error_here("expected exactly one protocol"));
        };
        protocol.clone_from(&argument.text);
        expect_no_lines(cursor, "protocol")?;
    }
    Ok(protocol)
}

fn tls(cursor: &mut Cursor<'_>) -> Result<TlsMatcher, Diagnostic> {
    let mut matcher = TlsMatcher::default();
    while cursor.next_token().is_some() {
        if let Some(argument) = cursor.next_arg() {
            if argument.text != "early_data" {
                let message = format!("unrecognized option `{}`", argument.text);
                return Err(Diagnostic::error_at(argument, message)
                    .with_suggestion(&argument.text, ["early_data"]));
            }
            matcher.handshake_complete = Some(false);
            cursor.expect_end_of_args()?;
        }
        expect_no_lines(cursor, "tls")?;
    }
    Ok(matcher)
}

/// Checks that no block with lines in it follows; an empty one is skipped.
fn expect_no_lines(cursor: &mut Cursor<'_>, matcher: &str) -> Result<(), Diagnostic> {
    match cursor.next_block(0) {
        Some(token) => {
            let message = format!("malformed {matcher} matcher: blocks are not supported");
            Err(Diagnostic::error_at(token, message))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
