//! `header`, `query` and `vars`: keys with the values to match.

use std::collections::BTreeMap;

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::matcher::expect_no_lines;
use crate::value::canonical_field_name;

/// `header FIELD VALUE` or `header !FIELD`. Caddy: `MatchHeader`.
pub(super) fn header(
    cursor: &mut Cursor<'_>,
) -> Result<BTreeMap<String, Option<Vec<String>>>, Diagnostic> {
    let mut fields: BTreeMap<String, Option<Vec<String>>> = BTreeMap::new();
    while cursor.next_token().is_some() {
        let Some(field) = cursor.next_arg() else {
            return Err(cursor.error_here("malformed header matcher: expected field"));
        };
        if let Some(field) = field.text.strip_prefix('!') {
            if field.is_empty() {
                let message =
                    "malformed header matcher: must have field name following ! character";
                return Err(cursor.error_here(message));
            }
            fields.insert(field.to_owned(), None);
            if let Some(value) = cursor.next_arg() {
                let message =
                    "malformed header matcher: null matching headers cannot have a field value";
                return Err(Diagnostic::error_at(value, message));
            }
        } else {
            let Some(value) = cursor.next_arg() else {
                let message = "malformed header matcher: expected both field and value";
                return Err(cursor.error_here(message));
            };
            let values = fields.entry(canonical_field_name(&field.text)).or_default();
            values.get_or_insert_default().push(value.text.clone());
            if let Some(extra) = cursor.next_arg() {
                let message = "malformed header matcher: only one value per line";
                return Err(Diagnostic::error_at(extra, message)
                    .with_help("write one line per value, or quote a value with spaces"));
            }
        }
        expect_no_lines(cursor, "header")?;
    }
    Ok(fields)
}

/// `query KEY=VALUE ..`. Caddy: `MatchQuery`.
pub(super) fn query(cursor: &mut Cursor<'_>) -> Result<BTreeMap<String, Vec<String>>, Diagnostic> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while cursor.next_token().is_some() {
        for argument in cursor.remaining_args() {
            if argument.text.is_empty() {
                continue;
            }
            let Some((key, value)) = argument.text.split_once('=') else {
                let message = format!(
                    "malformed query matcher token: {}; must be in param=val format",
                    argument.text
                );
                return Err(Diagnostic::error_at(argument, message));
            };
            keys.entry(key.to_owned())
                .or_default()
                .push(value.to_owned());
        }
        expect_no_lines(cursor, "query")?;
    }
    Ok(keys)
}

/// `vars VARIABLE VALUE ..`. Caddy: `VarsMatcher`.
pub(super) fn vars(cursor: &mut Cursor<'_>) -> Result<BTreeMap<String, Vec<String>>, Diagnostic> {
    let mut variables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while cursor.next_token().is_some() {
        let Some(variable) = cursor.next_arg() else {
            return Err(cursor.error_here("malformed vars matcher: expected field name"));
        };
        let values = cursor.remaining_values();
        if values.is_empty() {
            let message = "malformed vars matcher: expected at least one value to match against";
            return Err(cursor.error_here(message));
        }
        variables
            .entry(variable.text.clone())
            .or_default()
            .extend(values);
        expect_no_lines(cursor, "vars")?;
    }
    Ok(variables)
}
