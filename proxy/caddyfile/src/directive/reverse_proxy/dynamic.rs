//! Upstreams that are found for each request.

use serde_json::{Map, Value as Json, json};

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::directive::duration;

/// Reads a source from its name on: `a`, `srv`, or `multi` with several of them.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Json, Diagnostic> {
    cursor.next_token();
    let source = cursor.value();
    let mut object = match source {
        "a" => parse_addresses(cursor)?,
        "srv" => parse_services(cursor)?,
        "multi" => parse_several(cursor)?,
        _ => {
            let diagnostic = cursor.error_here(format!("unknown upstream source `{source}`"));
            return Err(diagnostic.with_suggestion(source, ["a", "multi", "srv"]));
        }
    };
    object.insert("source".to_owned(), source.into());
    Ok(Json::Object(object))
}

fn parse_addresses(cursor: &mut Cursor<'_>) -> Result<Map<String, Json>, Diagnostic> {
    let mut source = arguments(cursor, &["name", "port"])?;
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            key @ ("name" | "port") => insert_once(cursor, &mut source, key)?,
            "versions" => {
                let mut versions = Map::new();
                for version in cursor.remaining_args() {
                    if !matches!(version.text.as_str(), "ipv4" | "ipv6") {
                        let message = format!("unsupported version: `{}`", version.text);
                        return Err(Diagnostic::error_at(version, message));
                    }
                    versions.insert(version.text.clone(), true.into());
                }
                source.insert("versions".to_owned(), Json::Object(versions));
            }
            key if parse_common(cursor, &mut source, key)? => {}
            _ => {
                let known = [
                    "dial_fallback_delay",
                    "dial_timeout",
                    "name",
                    "port",
                    "refresh",
                    "resolvers",
                    "versions",
                ];
                return Err(cursor.unknown_subdirective("dynamic a", known));
            }
        }
    }
    Ok(source)
}

fn parse_services(cursor: &mut Cursor<'_>) -> Result<Map<String, Json>, Diagnostic> {
    let mut source = arguments(cursor, &["name"])?;
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            key @ ("name" | "proto" | "service") => insert_once(cursor, &mut source, key)?,
            "grace_period" => {
                source.insert("grace_period".to_owned(), json!(duration(cursor)?));
            }
            key if parse_common(cursor, &mut source, key)? => {}
            _ => {
                let known = [
                    "dial_fallback_delay",
                    "dial_timeout",
                    "grace_period",
                    "name",
                    "proto",
                    "refresh",
                    "resolvers",
                    "service",
                ];
                return Err(cursor.unknown_subdirective("dynamic srv", known));
            }
        }
    }
    Ok(source)
}

fn parse_several(cursor: &mut Cursor<'_>) -> Result<Map<String, Json>, Diagnostic> {
    cursor.expect_end_of_args()?;
    let mut sources = Vec::new();
    let nesting = cursor.nesting();
    while cursor.next_block(nesting).is_some() {
        sources.push(parse(&mut cursor.from_next_segment())?);
    }
    Ok(Map::from_iter([(
        "sources".to_owned(),
        Json::Array(sources),
    )]))
}

fn arguments(cursor: &mut Cursor<'_>, keys: &[&str]) -> Result<Map<String, Json>, Diagnostic> {
    let values = cursor.remaining_args();
    if let Some(extra) = values.get(keys.len()) {
        return Err(Diagnostic::error_at(extra, "unexpected argument"));
    }
    let pairs = keys.iter().zip(values);
    Ok(pairs
        .map(|(key, token)| ((*key).to_owned(), token.text.clone().into()))
        .collect())
}

fn insert_once(
    cursor: &mut Cursor<'_>,
    source: &mut Map<String, Json>,
    key: &str,
) -> Result<(), Diagnostic> {
    if source.contains_key(key) {
        return Err(cursor.error_here(format!("{key} has already been specified")));
    }
    source.insert(key.to_owned(), cursor.expect_arg()?.text.clone().into());
    Ok(())
}

/// Reads what both kinds have; `false` if it is none of it.
fn parse_common(
    cursor: &mut Cursor<'_>,
    source: &mut Map<String, Json>,
    key: &str,
) -> Result<bool, Diagnostic> {
    match key {
        "refresh" | "dial_timeout" | "dial_fallback_delay" => {
            source.insert(key.to_owned(), json!(duration(cursor)?));
        }
        "resolvers" => {
            let addresses = cursor.remaining_values();
            if addresses.is_empty() {
                return Err(cursor.error_here("must specify at least one resolver address"));
            }
            source.insert("resolver".to_owned(), json!({ "addresses": addresses }));
        }
        _ => return Ok(false),
    }
    Ok(true)
}
