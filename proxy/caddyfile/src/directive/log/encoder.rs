//! How a log's entries look.

use serde_json::{Map, Value as Json, json};

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::directive::argument::scalar;
use crate::directive::one_value;
use crate::document::{
    FilterEncoder, LogEncoder, SingleFieldEncoder, TemplateEncoder, TextEncoder,
};
use crate::token::Token;

const FILTERS: &[&str] = &[
    "cookie",
    "delete",
    "hash",
    "ip_mask",
    "multi_regexp",
    "query",
    "regexp",
    "rename",
    "replace",
];

/// Reads an encoder from its name on.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<LogEncoder, Diagnostic> {
    cursor.next_token();
    match cursor.value() {
        "console" => parse_text(cursor).map(LogEncoder::Console),
        "json" => parse_text(cursor).map(LogEncoder::Json),
        "filter" => parse_filter(cursor).map(LogEncoder::Filter),
        "append" => parse_append(cursor).map(LogEncoder::Append),
        "formatted" => parse_template(cursor).map(LogEncoder::Formatted),
        "transform" => parse_template(cursor).map(LogEncoder::Transform),
        "single_field" => Ok(LogEncoder::SingleField(SingleFieldEncoder {
            field: one_value(cursor)?,
        })),
        name => {
            let known = [
                "append",
                "console",
                "filter",
                "formatted",
                "json",
                "single_field",
                "transform",
            ];
            let diagnostic = cursor.error_here(format!("unknown log format `{name}`"));
            Err(diagnostic.with_suggestion(name, known))
        }
    }
}

fn parse_text(cursor: &mut Cursor<'_>) -> Result<TextEncoder, Diagnostic> {
    cursor.expect_end_of_args()?;
    let mut text = TextEncoder::default();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        let name = token.text.as_str();
        if name == "time_local" {
            cursor.expect_end_of_args()?;
            text.time_local = true;
            continue;
        }
        let keys = [
            ("message_key", &mut text.message_key),
            ("level_key", &mut text.level_key),
            ("time_key", &mut text.time_key),
            ("name_key", &mut text.name_key),
            ("caller_key", &mut text.caller_key),
            ("stacktrace_key", &mut text.stacktrace_key),
            ("line_ending", &mut text.line_ending),
        ];
        if let Some((_, key)) = keys.into_iter().find(|(known, _)| *known == name) {
            *key = Some(one_value(cursor)?);
            continue;
        }
        match name {
            "time_format" => text.time_format = one_value(cursor)?,
            "duration_format" => text.duration_format = one_value(cursor)?,
            "level_format" => text.level_format = one_value(cursor)?,
            _ => {
                let known = [
                    "caller_key",
                    "duration_format",
                    "level_format",
                    "level_key",
                    "line_ending",
                    "message_key",
                    "name_key",
                    "stacktrace_key",
                    "time_format",
                    "time_key",
                    "time_local",
                ];
                return Err(cursor.unknown_subdirective("format", known));
            }
        }
    }
    Ok(text)
}

fn parse_template(cursor: &mut Cursor<'_>) -> Result<TemplateEncoder, Diagnostic> {
    let mut encoder = TemplateEncoder::default();
    if let Some(template) = cursor.next_arg() {
        encoder.template.clone_from(&template.text);
        cursor.expect_end_of_args()?;
    }
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "duration_format" => encoder.duration_format = one_value(cursor)?,
            "level_format" => encoder.level_format = one_value(cursor)?,
            "line_ending" => encoder.line_ending = Some(one_value(cursor)?),
            "placeholder" => encoder.placeholder = one_value(cursor)?,
            "time_format" => encoder.time_format = one_value(cursor)?,
            "time_local" => encoder.time_local = true,
            "unescape_strings" => encoder.unescape_strings = true,
            _ => {
                let known = [
                    "duration_format",
                    "level_format",
                    "line_ending",
                    "placeholder",
                    "time_format",
                    "time_local",
                    "unescape_strings",
                ];
                return Err(cursor.unknown_subdirective("format", known));
            }
        }
    }
    Ok(encoder)
}

fn parse_append(cursor: &mut Cursor<'_>) -> Result<FilterEncoder, Diagnostic> {
    let mut encoder = FilterEncoder::default();
    if let Some(key) = cursor.next_arg() {
        let value = cursor.expect_arg()?;
        encoder.fields.insert(key.text.clone(), scalar(value));
        cursor.expect_end_of_args()?;
    }
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "wrap" => encoder.wrap = Some(Box::new(parse_wrapped(cursor)?)),
            "fields" => {
                let inner = cursor.nesting();
                while let Some(key) = cursor.next_block(inner) {
                    let value = cursor.expect_arg()?;
                    encoder.fields.insert(key.text.clone(), scalar(value));
                }
            }
            key => {
                let value = cursor.expect_arg()?;
                encoder.fields.insert(key.to_owned(), scalar(value));
            }
        }
    }
    Ok(encoder)
}

fn parse_filter(cursor: &mut Cursor<'_>) -> Result<FilterEncoder, Diagnostic> {
    cursor.expect_end_of_args()?;
    let mut encoder = FilterEncoder::default();
    let mut patterns: Vec<(String, Json)> = Vec::new();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "wrap" => encoder.wrap = Some(Box::new(parse_wrapped(cursor)?)),
            "fields" => {
                let inner = cursor.nesting();
                while let Some(field) = cursor.next_block(inner) {
                    parse_field(field, cursor, &mut encoder, &mut patterns)?;
                }
            }
            _ => parse_field(token, cursor, &mut encoder, &mut patterns)?,
        }
    }
    // Caddy: several regular expressions on one field become one filter with all of them.
    for (field, pattern) in &patterns {
        let same: Vec<&Json> = patterns
            .iter()
            .filter(|(other, _)| other == field)
            .map(|(_, one)| one)
            .collect();
        let filter = if same.len() > 1 {
            json!({ "filter": "multi_regexp", "operations": same })
        } else {
            let mut filter = pattern.clone();
            filter["filter"] = "regexp".into();
            filter
        };
        encoder.fields.insert(field.clone(), filter);
    }
    Ok(encoder)
}

fn parse_wrapped(cursor: &mut Cursor<'_>) -> Result<LogEncoder, Diagnostic> {
    cursor.expect_arg()?;
    parse(&mut cursor.from_next_segment())
}

fn parse_field(
    field: &Token,
    cursor: &mut Cursor<'_>,
    encoder: &mut FilterEncoder,
    patterns: &mut Vec<(String, Json)>,
) -> Result<(), Diagnostic> {
    let name = cursor.expect_arg()?;
    let mut filter = Map::new();
    match name.text.as_str() {
        "delete" | "hash" => {}
        "rename" => {
            filter.insert("name".to_owned(), cursor.expect_arg()?.text.clone().into());
        }
        "replace" => {
            filter.insert("value".to_owned(), cursor.expect_arg()?.text.clone().into());
        }
        "regexp" => {
            let pattern = cursor.expect_arg()?.text.clone();
            let value = cursor
                .next_arg()
                .map(|token| token.text.clone())
                .unwrap_or_default();
            let mut operation = Map::from_iter([("regexp".to_owned(), pattern.into())]);
            if !value.is_empty() {
                operation.insert("value".to_owned(), value.into());
            }
            patterns.push((field.text.clone(), Json::Object(operation)));
            return Ok(());
        }
        "multi_regexp" => {
            let inner = cursor.nesting();
            while let Some(token) = cursor.next_block(inner) {
                if token.text != "regexp" {
                    return Err(cursor.unknown_subdirective("multi_regexp", ["regexp"]));
                }
                let [pattern, value] = cursor.expect_args()?;
                let operation = json!({ "regexp": pattern.text, "value": value.text });
                match filter.get_mut("operations") {
                    Some(Json::Array(operations)) => operations.push(operation),
                    _ => {
                        filter.insert("operations".to_owned(), json!([operation]));
                    }
                }
            }
        }
        "ip_mask" => parse_ip_mask(cursor, &mut filter)?,
        "cookie" => {
            filter.insert("actions".to_owned(), parse_actions(cursor, "name")?);
        }
        "query" => {
            filter.insert("actions".to_owned(), parse_actions(cursor, "parameter")?);
        }
        other => {
            let message = format!("unknown log filter `{other}`");
            let known = FILTERS.iter().copied();
            return Err(Diagnostic::error_at(name, message).with_suggestion(other, known));
        }
    }
    filter.insert("filter".to_owned(), name.text.clone().into());
    encoder
        .fields
        .insert(field.text.clone(), Json::Object(filter));
    Ok(())
}

fn parse_ip_mask(
    cursor: &mut Cursor<'_>,
    filter: &mut Map<String, Json>,
) -> Result<(), Diagnostic> {
    let keys = ["ipv4_cidr", "ipv6_cidr"];
    for (key, token) in keys.into_iter().zip(cursor.remaining_args()) {
        filter.insert(key.to_owned(), prefix_length(token)?.into());
    }
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        let key = match token.text.as_str() {
            "ipv4" => "ipv4_cidr",
            "ipv6" => "ipv6_cidr",
            _ => return Err(cursor.unknown_subdirective("ip_mask", ["ipv4", "ipv6"])),
        };
        filter.insert(key.to_owned(), prefix_length(cursor.expect_arg()?)?.into());
    }
    Ok(())
}

fn prefix_length(token: &Token) -> Result<i64, Diagnostic> {
    token.text.parse().map_err(|_| {
        let message = format!("`{}` is no length of a network prefix", token.text);
        Diagnostic::error_at(token, message)
    })
}

fn parse_actions(cursor: &mut Cursor<'_>, name_key: &str) -> Result<Json, Diagnostic> {
    let mut actions = Vec::new();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        let mut action = Map::new();
        let kind = token.text.as_str();
        if !matches!(kind, "delete" | "hash" | "replace") {
            let known = ["delete", "hash", "replace"];
            return Err(cursor.unknown_subdirective("log filter", known));
        }
        action.insert("type".to_owned(), kind.into());
        action.insert(
            name_key.to_owned(),
            cursor.expect_arg()?.text.clone().into(),
        );
        if kind == "replace" {
            action.insert("value".to_owned(), cursor.expect_arg()?.text.clone().into());
        }
        actions.push(Json::Object(action));
    }
    Ok(Json::Array(actions))
}
