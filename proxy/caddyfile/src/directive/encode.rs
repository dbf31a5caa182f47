//! `encode`: compresses responses.

use serde_json::{Map, Value as Json, json};

use super::{Context, integer, response};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Encode, Handler};
use crate::token::Token;

/// ```text
/// encode [<matcher>] [<encodings...>] {
///     br   [<level>]
///     gzip [<level>]
///     zstd [<level>]
///     minimum_length <bytes>
///     match {
///         <response matchers>
///     }
/// }
/// ```
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let arguments = cursor.remaining_args();
    let mut encode = Encode::default();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "minimum_length" => {
                encode.minimum_length = integer(cursor)?;
                cursor.expect_end_of_args()?;
            }
            "match" => {
                let (_, matcher) = response::parse_definition(&mut cursor.from_next_segment())?;
                encode.r#match = Some(matcher);
            }
            name => {
                let options = parse_encoding(token, &mut cursor.from_next_segment())?;
                encode.encodings.insert(name.to_owned(), options);
                encode.prefer.push(name.to_owned());
            }
        }
    }

    if arguments.is_empty() && encode.prefer.is_empty() {
        for name in ["zstd", "gzip"] {
            encode.encodings.insert(name.to_owned(), json!({}));
            encode.prefer.push(name.to_owned());
        }
    }
    for token in arguments {
        check_encoding(token)?;
        encode.encodings.insert(token.text.clone(), json!({}));
        encode.prefer.push(token.text.clone());
    }
    Ok(Handler::Encode(encode))
}

fn parse_encoding(name: &Token, cursor: &mut Cursor<'_>) -> Result<Json, Diagnostic> {
    check_encoding(name)?;
    cursor.next_token();
    let mut options = Map::new();
    if let Some(level) = cursor.next_arg() {
        cursor.expect_end_of_args()?;
        parse_level(name, level, &mut options)?;
    }
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match (name.text.as_str(), token.text.as_str()) {
            (_, "level") | ("br", "quality") => {
                let level = cursor.expect_arg()?;
                parse_level(name, level, &mut options)?;
            }
            ("zstd", "disable_checksum") => {
                options.insert("checksum".to_owned(), false.into());
            }
            _ => return Err(cursor.unknown_subdirective("encode", ["disable_checksum", "level"])),
        }
    }
    Ok(Json::Object(options))
}

fn parse_level(
    encoding: &Token,
    level: &Token,
    options: &mut Map<String, Json>,
) -> Result<(), Diagnostic> {
    let most = match encoding.text.as_str() {
        "br" => Some(11),
        "gzip" => Some(9),
        _ => None,
    };
    let value = if let Some(most) = most {
        let level: i64 = level.text.parse().map_err(|_| {
            let message = format!("bad {} level `{}`", encoding.text, level.text);
            Diagnostic::error_at(level, message)
                .with_help(format!("write a number from 1 (fast) to {most} (small)"))
        })?;
        if level == 0 {
            return Ok(());
        }
        Json::from(level)
    } else {
        let known = ["fastest", "default", "better", "best"];
        if !known.contains(&level.text.as_str()) {
            let message = format!("unexpected compression level, use one of {known:?}");
            return Err(Diagnostic::error_at(level, message));
        }
        Json::from(level.text.as_str())
    };
    let key = if encoding.text == "br" {
        "quality"
    } else {
        "level"
    };
    options.insert(key.to_owned(), value);
    Ok(())
}

fn check_encoding(token: &Token) -> Result<(), Diagnostic> {
    match token.text.as_str() {
        // Stock Caddy has no `br`; the module that adds it is written the same way.
        "br" | "gzip" | "zstd" => Ok(()),
        name => Err(
            Diagnostic::error_at(token, format!("unknown encoding `{name}`"))
                .with_suggestion(name, ["br", "gzip", "minimum_length", "match", "zstd"]),
        ),
    }
}
