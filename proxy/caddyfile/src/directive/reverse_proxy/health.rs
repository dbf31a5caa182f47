//! Active and passive health checks.

use std::collections::BTreeMap;

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::directive::argument::status;
use crate::directive::{duration, integer};
use crate::document::{ActiveHealthChecks, PassiveHealthChecks, ReverseProxy};
use crate::token::Token;

/// Reads one subdirective; `false` if it is none of health checks.
pub(super) fn parse(
    token: &Token,
    cursor: &mut Cursor<'_>,
    proxy: &mut ReverseProxy,
) -> Result<bool, Diagnostic> {
    let name = token.text.as_str();
    if name.starts_with("health_") {
        let active = proxy
            .health_checks
            .get_or_insert_default()
            .active
            .get_or_insert_default();
        return parse_active(name, cursor, active);
    }
    if matches!(name, "fail_duration" | "max_fails") || name.starts_with("unhealthy_") {
        let passive = proxy
            .health_checks
            .get_or_insert_default()
            .passive
            .get_or_insert_default();
        return parse_passive(name, cursor, passive);
    }
    Ok(false)
}

fn parse_active(
    name: &str,
    cursor: &mut Cursor<'_>,
    active: &mut ActiveHealthChecks,
) -> Result<bool, Diagnostic> {
    match name {
        "health_uri" => active.uri = cursor.expect_arg()?.text.clone(),
        "health_path" => active.path = cursor.expect_arg()?.text.clone(),
        "health_upstream" => {
            let upstream = cursor.expect_arg()?;
            let port = upstream
                .text
                .rsplit_once(':')
                .map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(_))) {
                let message = format!("health_upstream is malformed `{}`", upstream.text);
                return Err(Diagnostic::error_at(upstream, message).with_help("write host:port"));
            }
            active.upstream = upstream.text.clone();
        }
        "health_port" => {
            if !active.upstream.is_empty() {
                let message =
                    "the `health_port` subdirective is ignored if `health_upstream` is used";
                return Err(cursor.error_here(message));
            }
            active.port = integer(cursor)?;
        }
        "health_headers" => active.headers = parse_headers(cursor),
        "health_method" => active.method = cursor.expect_arg()?.text.clone(),
        "health_request_body" => active.body = cursor.expect_arg()?.text.clone(),
        "health_interval" => active.interval = duration(cursor)?,
        "health_timeout" => active.timeout = duration(cursor)?,
        "health_status" => active.expect_status = status(cursor.expect_arg()?)?,
        "health_body" => active.expect_body = cursor.expect_arg()?.text.clone(),
        "health_follow_redirects" => {
            cursor.expect_end_of_args()?;
            active.follow_redirects = true;
        }
        "health_passes" => active.passes = integer(cursor)?,
        "health_fails" => active.fails = integer(cursor)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn parse_headers(cursor: &mut Cursor<'_>) -> BTreeMap<String, Vec<String>> {
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let nesting = cursor.nesting();
    while let Some(field) = cursor.next_block(nesting) {
        let mut values = cursor.remaining_values();
        if values.is_empty() {
            values.push(String::new());
        }
        headers
            .entry(field.text.clone())
            .or_default()
            .extend(values);
    }
    headers
}

fn parse_passive(
    name: &str,
    cursor: &mut Cursor<'_>,
    passive: &mut PassiveHealthChecks,
) -> Result<bool, Diagnostic> {
    match name {
        "fail_duration" => passive.fail_duration = duration(cursor)?,
        "max_fails" => passive.max_fails = integer(cursor)?,
        "unhealthy_request_count" => passive.unhealthy_request_count = integer(cursor)?,
        "unhealthy_latency" => passive.unhealthy_latency = duration(cursor)?,
        "unhealthy_status" => {
            let statuses = cursor.remaining_args();
            if statuses.is_empty() {
                return Err(cursor.argument_error());
            }
            for token in statuses {
                passive.unhealthy_status.push(status(token)?);
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}
