//! `rate_limit`: answers 429 to clients that ask too often.
//!
//! Not of stock Caddy: the block is that of `mholt/caddy-ratelimit`, the single line with a rate
//! that of `RussellLuo/caddy-ext`.

use super::{Context, duration, integer};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Duration, Handler, RateLimit, RateLimitZone};
use crate::matcher;
use crate::token::Token;

const SUBDIRECTIVES: [&str; 6] = [
    "distributed",
    "jitter",
    "log_key",
    "storage",
    "sweep_interval",
    "zone",
];

/// ```text
/// rate_limit [<matcher>] {
///     zone <name> {
///         match { <matchers> }
///         key    <text>
///         window <duration>
///         events <count>
///     }
///     jitter         <fraction>
///     sweep_interval <duration>
///     log_key
/// }
/// rate_limit [<matcher>] <key> <count>r/s|r/m
/// ```
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let mut limit = RateLimit::default();
    if let Some(key) = cursor.next_arg() {
        let zone = parse_rate(key, cursor)?;
        limit.rate_limits.insert("static".to_owned(), zone);
        return Ok(Handler::RateLimit(limit));
    }
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "zone" => {
                let name = cursor.expect_arg()?;
                let zone = parse_zone(name, cursor, context)?;
                if limit.rate_limits.insert(name.text.clone(), zone).is_some() {
                    let message = format!("zone `{}` is defined twice", name.text);
                    return Err(Diagnostic::error_at(name, message));
                }
            }
            "jitter" => {
                let value = cursor.expect_arg()?;
                limit.jitter = value.text.parse().map_err(|_| {
                    Diagnostic::error_at(value, format!("`{}` is no fraction", value.text))
                        .with_help("write a number from 0 to 1")
                })?;
            }
            "log_key" => limit.log_key = true,
            "sweep_interval" => limit.sweep_interval = duration(cursor)?,
            "distributed" | "storage" => {
                let message = format!("`rate_limit` has no `{}` here", token.text);
                return Err(Diagnostic::error_at(token, message)
                    .with_help("remove it: each proxy counts for itself"));
            }
            _ => return Err(cursor.unknown_subdirective("rate_limit", SUBDIRECTIVES)),
        }
    }
    if limit.rate_limits.is_empty() {
        return Err(cursor
            .error_here("`rate_limit` has no zone")
            .with_help("write `zone NAME { key {remote_host} window 1m events 100 }`"));
    }
    Ok(Handler::RateLimit(limit))
}

fn parse_zone(
    name: &Token,
    cursor: &mut Cursor<'_>,
    context: &mut Context<'_>,
) -> Result<RateLimitZone, Diagnostic> {
    let mut zone = RateLimitZone::default();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "match" => {
                let set = matcher::parse_nested(
                    &mut match_block(cursor),
                    &mut context.state.diagnostics,
                )?;
                zone.r#match.push(set);
            }
            "key" => zone.key = cursor.expect_arg()?.text.clone(),
            "window" => zone.window = duration(cursor)?,
            "events" => zone.max_events = integer(cursor)?,
            _ => {
                let known = ["events", "key", "match", "window"];
                return Err(cursor.unknown_subdirective("zone", known));
            }
        }
    }
    if zone.window.as_nanoseconds() <= 0 || zone.max_events < 0 {
        let message = format!("zone `{}` needs a window and a number of events", name.text);
        return Err(Diagnostic::error_at(name, message)
            .with_help("write for example `window 1m` and `events 100`"));
    }
    Ok(zone)
}

/// The tokens of `match { ... }` with the word itself taken already.
fn match_block<'t>(cursor: &mut Cursor<'t>) -> Cursor<'t> {
    let mut inner = cursor.from_next_segment();
    inner.next_token();
    inner
}

fn parse_rate(key: &Token, cursor: &mut Cursor<'_>) -> Result<RateLimitZone, Diagnostic> {
    let rate = cursor.expect_arg()?;
    let parsed = rate.text.split_once("r/").and_then(|(count, unit)| {
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            _ => return None,
        };
        Some((
            count.parse().ok().filter(|count: &i64| *count > 0)?,
            seconds,
        ))
    });
    let Some((max_events, seconds)) = parsed else {
        return Err(
            Diagnostic::error_at(rate, format!("`{}` is no rate", rate.text))
                .with_help("write for example `10r/s` or `100r/m`"),
        );
    };
    // Bounds and status of the other module: both are fixed here.
    if let Some(extra) = cursor.next_arg() {
        let message = format!("unexpected argument `{}`", extra.text);
        return Err(Diagnostic::error_at(extra, message).with_help("write a key and a rate only"));
    }
    Ok(RateLimitZone {
        key: key.text.clone(),
        window: Duration::from_seconds(seconds),
        max_events,
        ..RateLimitZone::default()
    })
}
