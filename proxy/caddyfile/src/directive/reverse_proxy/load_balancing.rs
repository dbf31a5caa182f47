//! Choice among upstreams, and retries.

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::directive::{duration, integer};
use crate::document::{
    CookieHash, Empty, FallbackPolicy, HeaderHash, QueryHash, RandomChoose, ReverseProxy,
    SelectionPolicy, WeightedRoundRobin,
};
use crate::matcher;
use crate::token::Token;

const POLICIES: &[&str] = &[
    "client_ip_hash",
    "cookie",
    "first",
    "header",
    "ip_hash",
    "least_conn",
    "query",
    "random",
    "random_choose",
    "round_robin",
    "uri_hash",
    "weighted_round_robin",
];

/// Reads one subdirective; `false` if it is none of load balancing.
pub(super) fn parse(
    token: &Token,
    cursor: &mut Cursor<'_>,
    proxy: &mut ReverseProxy,
    findings: &mut Vec<Diagnostic>,
) -> Result<bool, Diagnostic> {
    let name = token.text.as_str();
    if !name.starts_with("lb_") {
        return Ok(false);
    }
    let balancing = proxy.load_balancing.get_or_insert_default();
    match name {
        "lb_policy" => {
            if balancing.selection_policy.is_some() {
                let message = "load balancing selection policy already specified";
                return Err(cursor.error_here(message));
            }
            cursor.expect_arg()?;
            let policy = parse_policy(&mut cursor.from_next_segment())?;
            balancing.selection_policy = Some(policy);
        }
        "lb_retries" => balancing.retries = integer(cursor)?,
        "lb_try_duration" => balancing.try_duration = duration(cursor)?,
        "lb_try_interval" => balancing.try_interval = duration(cursor)?,
        "lb_retry_match" => {
            balancing
                .retry_match
                .push(matcher::parse_nested(cursor, findings)?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Reads a policy from its name on.
fn parse_policy(cursor: &mut Cursor<'_>) -> Result<SelectionPolicy, Diagnostic> {
    cursor.next_token();
    let name = cursor.value();
    match name {
        "cookie" => return parse_cookie(cursor),
        "header" => {
            let field = cursor.expect_arg()?.text.clone();
            cursor.expect_end_of_args()?;
            let fallback = parse_fallback(cursor, name)?;
            return Ok(SelectionPolicy::Header(HeaderHash { field, fallback }));
        }
        "query" => {
            let key = cursor.expect_arg()?.text.clone();
            cursor.expect_end_of_args()?;
            let fallback = parse_fallback(cursor, name)?;
            return Ok(SelectionPolicy::Query(QueryHash { key, fallback }));
        }
        "random_choose" => {
            let choose = integer(cursor)?;
            return Ok(SelectionPolicy::RandomChoose(RandomChoose { choose }));
        }
        "weighted_round_robin" => return parse_weights(cursor),
        _ => {}
    }
    cursor.expect_end_of_args()?;
    Ok(match name {
        "client_ip_hash" => SelectionPolicy::ClientIpHash(Empty {}),
        "first" => SelectionPolicy::First(Empty {}),
        "ip_hash" => SelectionPolicy::IpHash(Empty {}),
        "least_conn" => SelectionPolicy::LeastConn(Empty {}),
        "random" => SelectionPolicy::Random(Empty {}),
        "round_robin" => SelectionPolicy::RoundRobin(Empty {}),
        "uri_hash" => SelectionPolicy::UriHash(Empty {}),
        _ => {
            let diagnostic = cursor.error_here(format!("unknown load balancing policy `{name}`"));
            return Err(diagnostic.with_suggestion(name, POLICIES.iter().copied()));
        }
    })
}

/// `cookie [<name> [<secret>]] { fallback <policy>; max_age <duration> }`
fn parse_cookie(cursor: &mut Cursor<'_>) -> Result<SelectionPolicy, Diagnostic> {
    let arguments = cursor.remaining_args();
    if let Some(extra) = arguments.get(2) {
        return Err(Diagnostic::error_at(extra, "unexpected argument"));
    }
    let value = |index: usize| arguments.get(index).map(|token| token.text.clone());
    let mut cookie = CookieHash {
        name: value(0).unwrap_or_default(),
        secret: value(1).unwrap_or_default(),
        ..CookieHash::default()
    };
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "fallback" => cookie.fallback = parse_fallback_policy(cursor)?,
            "max_age" => cookie.max_age = duration(cursor)?,
            _ => return Err(cursor.unknown_subdirective("cookie", ["fallback", "max_age"])),
        }
    }
    Ok(SelectionPolicy::Cookie(cookie))
}

fn parse_weights(cursor: &mut Cursor<'_>) -> Result<SelectionPolicy, Diagnostic> {
    let arguments = cursor.remaining_args();
    if arguments.is_empty() {
        return Err(cursor.argument_error());
    }
    let weights = arguments
        .into_iter()
        .map(|token| {
            token
                .text
                .parse()
                .ok()
                .filter(|weight| *weight >= 0)
                .ok_or_else(|| {
                    let message = format!("invalid weight value `{}`", token.text);
                    Diagnostic::error_at(token, message).with_help("write whole numbers from 0 on")
                })
        })
        .collect::<Result<Vec<i64>, _>>()?;
    Ok(SelectionPolicy::WeightedRoundRobin(WeightedRoundRobin {
        weights,
    }))
}

/// The block of a policy that knows only `fallback`.
fn parse_fallback(cursor: &mut Cursor<'_>, policy: &str) -> Result<FallbackPolicy, Diagnostic> {
    let mut fallback = None;
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        if token.text != "fallback" {
            return Err(cursor.unknown_subdirective(policy, ["fallback"]));
        }
        if fallback.is_some() {
            return Err(cursor.error_here("fallback selection policy already specified"));
        }
        fallback = parse_fallback_policy(cursor)?;
    }
    Ok(fallback)
}

fn parse_fallback_policy(cursor: &mut Cursor<'_>) -> Result<FallbackPolicy, Diagnostic> {
    cursor.expect_arg()?;
    parse_policy(&mut cursor.from_next_segment()).map(|policy| Some(Box::new(policy)))
}
