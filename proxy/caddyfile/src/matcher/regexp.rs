//! `path_regexp`, `header_regexp` and `vars_regexp`.

use std::collections::BTreeMap;

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::RegexpMatcher;
use crate::matcher::expect_no_lines;
use crate::regexp;
use crate::token::Token;

/// `path_regexp [NAME] PATTERN`. Caddy: `MatchRegexp`.
pub(super) fn path(
    cursor: &mut Cursor<'_>,
    context: &str,
    findings: &mut Vec<Diagnostic>,
) -> Result<RegexpMatcher, Diagnostic> {
    let mut found = None;
    while cursor.next_token().is_some() {
        if found.is_some() {
            let message = "regular expression can only be used once per named matcher";
            return Err(cursor.error_here(message));
        }
        let arguments = cursor.remaining_args();
        let (name, pattern) = match arguments.as_slice() {
            [pattern] => ("", pattern),
            [name, pattern] => (name.text.as_str(), pattern),
            _ => return Err(cursor.argument_error()),
        };
        found = Some(of(name, pattern, context, findings));
        expect_no_lines(cursor, "path_regexp")?;
    }
    found.ok_or_else(|| cursor.argument_error())
}

/// `header_regexp [NAME] FIELD PATTERN`. Caddy: `MatchHeaderRE`.
pub(super) fn header(
    cursor: &mut Cursor<'_>,
    context: &str,
    findings: &mut Vec<Diagnostic>,
) -> Result<BTreeMap<String, RegexpMatcher>, Diagnostic> {
    let mut matchers = BTreeMap::new();
    while cursor.next_token().is_some() {
        let (field, matcher) = keyed(cursor, context, findings)?;
        if matchers.contains_key(&field) {
            let message = format!(
                "header_regexp matcher can only be used once per named matcher, per header field: \
                 {field}"
            );
            return Err(cursor.error_here(message));
        }
        matchers.insert(field, matcher);
        expect_no_lines(cursor, "header_regexp")?;
    }
    Ok(matchers)
}

/// `vars_regexp [NAME] VARIABLE PATTERN`. Caddy: `MatchVarsRE`.
pub(super) fn vars(
    cursor: &mut Cursor<'_>,
    context: &str,
    findings: &mut Vec<Diagnostic>,
) -> Result<BTreeMap<String, RegexpMatcher>, Diagnostic> {
    let mut matchers = BTreeMap::new();
    while cursor.next_token().is_some() {
        let (variable, matcher) = keyed(cursor, context, findings)?;
        matchers.insert(variable, matcher);
        expect_no_lines(cursor, "vars_regexp")?;
    }
    Ok(matchers)
}

fn keyed(
    cursor: &mut Cursor<'_>,
    context: &str,
    findings: &mut Vec<Diagnostic>,
) -> Result<(String, RegexpMatcher), Diagnostic> {
    let first = &cursor.expect_arg()?.text;
    let second = cursor.expect_arg()?;
    Ok(match cursor.next_arg() {
        Some(third) => (second.text.clone(), of(first, third, context, findings)),
        None => (first.clone(), of("", second, context, findings)),
    })
}

fn of(name: &str, pattern: &Token, context: &str, findings: &mut Vec<Diagnostic>) -> RegexpMatcher {
    if let Err(error) = regexp::compile(&pattern.text) {
        let message = format!("`{}` is no regular expression", pattern.text);
        // The last line of the error says what is wrong, those before draw where.
        let error = error.to_string();
        let reason = error
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        findings.push(Diagnostic::unsupported_at(pattern, message).with_help(reason));
    }
    let name = if name.is_empty() { context } else { name };
    RegexpMatcher {
        name: name.to_owned(),
        pattern: pattern.text.clone(),
    }
}
