//! `cache`: keeps responses of the app for others. Not of Caddy.

use super::{Context, duration, size};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Cache, Duration, Handler};
use crate::token::Token;

const SUBDIRECTIVES: [&str; 5] = [
    "default_ttl",
    "max_body",
    "max_size",
    "stale_if_error",
    "stale_while_revalidate",
];

/// ```text
/// cache [<matcher>] {
///     max_size               <size>
///     max_body               <size>
///     stale_while_revalidate <duration>
///     stale_if_error         <duration>
///     default_ttl            <duration>
/// }
/// ```
pub(super) fn parse(cursor: &mut Cursor<'_>, _: &mut Context<'_>) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    if let Some(extra) = cursor.next_arg() {
        let message = format!("unexpected argument `{}`", extra.text);
        return Err(Diagnostic::error_at(extra, message)
            .with_help("write options into a block: `cache { max_size 64MiB }`"));
    }
    let mut cache = Cache::default();
    let nesting = cursor.nesting();
    let mut limit = None;
    while let Some(token) = cursor.next_block(nesting) {
        if matches!(token.text.as_str(), "max_size" | "max_body") {
            limit = Some(token);
        }
        match token.text.as_str() {
            "max_size" => cache.max_size = bytes(token, cursor)?,
            "max_body" => cache.max_body = bytes(token, cursor)?,
            "stale_while_revalidate" => cache.stale_while_revalidate = seconds(token, cursor)?,
            "stale_if_error" => cache.stale_if_error = seconds(token, cursor)?,
            "default_ttl" => cache.default_ttl = seconds(token, cursor)?,
            _ => return Err(cursor.unknown_subdirective("cache", SUBDIRECTIVES)),
        }
        if let Some(extra) = cursor.next_arg() {
            let message = format!("unexpected argument `{}`", extra.text);
            return Err(Diagnostic::error_at(extra, message));
        }
    }
    if let Some(limit) = limit
        && cache.max_size != 0
        && cache.max_body > cache.max_size / 4
    {
        let message = "`max_body` is more than a quarter of `max_size`";
        return Err(
            Diagnostic::error_at(limit, message).with_help("raise `max_size`, or lower `max_body`")
        );
    }
    Ok(Handler::Cache(cache))
}

fn bytes(name: &Token, cursor: &mut Cursor<'_>) -> Result<i64, Diagnostic> {
    let bytes = size(cursor)?;
    if bytes > 0 {
        return Ok(bytes);
    }
    let message = format!("`{}` is nothing", name.text);
    Err(Diagnostic::error_at(name, message).with_help("remove `cache` to keep nothing"))
}

fn seconds(name: &Token, cursor: &mut Cursor<'_>) -> Result<Duration, Diagnostic> {
    let duration = duration(cursor)?;
    let nanoseconds = duration.as_nanoseconds();
    if nanoseconds >= 0 && nanoseconds % 1_000_000_000 == 0 {
        return Ok(duration);
    }
    let message = format!("`{}` is no whole number of seconds", name.text);
    Err(Diagnostic::error_at(name, message).with_help("write for example `10s` or `5m`"))
}
