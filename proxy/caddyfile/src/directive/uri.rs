//! `uri`: changes parts of the request's URI.

use super::Context;
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{
    Handler, QueryOps, QueryRename, QueryReplacement, RegexReplacement, Rewrite,
    SubstringReplacement,
};
use crate::token::Token;

/// ```text
/// uri [<matcher>] strip_prefix|strip_suffix <target>
/// uri [<matcher>] replace <find> <replacement> [<limit>]
/// uri [<matcher>] path_regexp <pattern> <replacement>
/// uri [<matcher>] query [+|-]<key>[><new key>] [<value>|<pattern> <replacement>]
/// uri [<matcher>] query {
///     [+|-]<key>[><new key>] [<value>|<pattern> <replacement>]
/// }
/// ```
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let before = cursor.clone();
    let arguments = cursor.remaining_args();
    let Some((operation, targets)) = arguments.split_first() else {
        return Err(cursor.argument_error());
    };
    let mut rewrite = Rewrite::default();
    match (operation.text.as_str(), targets) {
        ("strip_prefix", [prefix]) => rewrite.strip_path_prefix = prefix.text.clone(),
        ("strip_suffix", [suffix]) => rewrite.strip_path_suffix = suffix.text.clone(),
        ("replace", [find, replace]) => rewrite.uri_substring.push(substring(find, replace, 0)),
        ("replace", [find, replace, limit]) => {
            let limit = limit.text.parse().map_err(|_| {
                let message = format!("limit must be an integer; invalid: `{}`", limit.text);
                Diagnostic::error_at(limit, message)
            })?;
            rewrite.uri_substring.push(substring(find, replace, limit));
        }
        ("path_regexp", [find, replace]) => rewrite.path_regexp.push(RegexReplacement {
            find: find.text.clone(),
            replace: replace.text.clone(),
        }),
        ("query", targets) => rewrite.query = Some(parse_query(cursor, targets)?),
        ("strip_prefix" | "strip_suffix" | "replace" | "path_regexp", _) => {
            return Err(before.argument_error());
        }
        (other, _) => {
            let known = [
                "path_regexp",
                "query",
                "replace",
                "strip_prefix",
                "strip_suffix",
            ];
            let message = format!("unrecognized URI manipulation `{other}`");
            return Err(Diagnostic::error_at(operation, message).with_suggestion(other, known));
        }
    }
    Ok(Handler::Rewrite(rewrite))
}

fn substring(find: &Token, replace: &Token, limit: i64) -> SubstringReplacement {
    SubstringReplacement {
        find: find.text.clone(),
        replace: replace.text.clone(),
        limit,
    }
}

fn parse_query(cursor: &mut Cursor<'_>, arguments: &[&Token]) -> Result<QueryOps, Diagnostic> {
    let mut ops = QueryOps::default();
    if !arguments.is_empty() {
        apply_query(&mut ops, arguments)?;
    }
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        if !arguments.is_empty() {
            let message = "cannot specify uri query rewrites in both argument and block";
            return Err(cursor.error_here(message));
        }
        let mut line = vec![token];
        line.extend(cursor.remaining_args());
        apply_query(&mut ops, &line)?;
    }
    Ok(ops)
}

fn apply_query(ops: &mut QueryOps, arguments: &[&Token]) -> Result<(), Diagnostic> {
    let Some((token, values)) = arguments.split_first() else {
        return Ok(());
    };
    let key = token.text.as_str();
    let pair = |key: &str, val: &str| QueryRename {
        key: key.to_owned(),
        val: val.to_owned(),
    };
    if key.starts_with('-') && values.is_empty() {
        ops.delete.push(key.trim_start_matches('-').to_owned());
        return Ok(());
    }
    if key.starts_with('+')
        && let [value] = values
    {
        ops.add.push(pair(key.trim_start_matches('+'), &value.text));
        return Ok(());
    }
    if !key.starts_with(['-', '+']) {
        if let Some((from, to)) = key.split_once('>') {
            if values.is_empty() {
                let to = to.split('>').next().unwrap_or_default();
                ops.rename.push(pair(from, to));
                return Ok(());
            }
        } else if let [search, replace] = values {
            ops.replace.push(QueryReplacement {
                key: key.to_owned(),
                search: String::new(),
                search_regexp: search.text.clone(),
                replace: replace.text.clone(),
            });
            return Ok(());
        } else if let [value] = values {
            ops.set.push(pair(key, &value.text));
            return Ok(());
        }
    }
    let help = "write `key value`, `+key value`, `-key`, `key>new` or `key pattern replacement`";
    Err(Diagnostic::error_at(token, "wrong argument count for a query change").with_help(help))
}
