//! DNS-01: who writes the records, with the names and options of Caddy's modules.
//! Caddy: `caddy-dns/cloudflare`, `caddy-dns/rfc2136`; `exec` and `webhook` are ours.

use serde_json::{Value as Json, json};

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::directive::{duration, one_value};
use crate::document::{DnsChallenge, Duration};
use crate::token::Token;

/// The providers that the proxy can use.
const PROVIDERS: [&str; 4] = ["cloudflare", "exec", "rfc2136", "webhook"];

/// Reads a DNS provider from its name on. One that the proxy cannot use is said in `diagnostics`.
///
/// # Errors
///
/// Its options are wrong.
pub(crate) fn parse_dns_provider(
    cursor: &mut Cursor<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Json, Diagnostic> {
    match cursor.value() {
        "cloudflare" => parse_cloudflare(cursor),
        "exec" => {
            cursor.expect_end_of_args()?;
            cursor.expect_no_block()?;
            Ok(json!({ "name": "exec" }))
        }
        "rfc2136" => parse_rfc2136(cursor),
        "webhook" => parse_webhook(cursor),
        name => {
            diagnostics.extend(unknown_provider(cursor, name));
            let mut provider = json!({ "name": name });
            if let [argument] = cursor.remaining_args().as_slice() {
                provider["argument"] = argument.text.clone().into();
            }
            Ok(provider)
        }
    }
}

/// Reads an option of the DNS challenge.
///
/// # Errors
///
/// Its arguments are wrong.
pub(super) fn parse_dns_option(
    token: &Token,
    cursor: &mut Cursor<'_>,
    dns: &mut DnsChallenge,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<(), Diagnostic> {
    match token.text.as_str() {
        "dns" => {
            if cursor.next_arg().is_some() {
                let mut provider = cursor.from_next_segment();
                provider.next_token();
                dns.provider = Some(parse_dns_provider(&mut provider, diagnostics)?);
            }
        }
        "resolvers" => {
            dns.resolvers = cursor.remaining_values();
            if dns.resolvers.is_empty() {
                return Err(cursor.argument_error());
            }
        }
        "propagation_delay" => dns.propagation_delay = duration(cursor)?,
        "propagation_timeout" => {
            let is_off = cursor
                .clone()
                .next_arg()
                .is_some_and(|token| token.text == "-1");
            dns.propagation_timeout = if is_off {
                cursor.next_arg();
                Duration::from_nanoseconds(-1)
            } else {
                duration(cursor)?
            };
        }
        "dns_ttl" => dns.ttl = duration(cursor)?,
        _ => dns.override_domain = one_value(cursor)?,
    }
    cursor.expect_end_of_args()
}

/// ```text
/// cloudflare [<api token>] {
///     api_token  <token>
///     zone_token <token>
/// }
/// ```
fn parse_cloudflare(cursor: &mut Cursor<'_>) -> Result<Json, Diagnostic> {
    let name = cursor.clone();
    let mut provider = json!({ "name": "cloudflare" });
    if let Some(token) = cursor.next_arg() {
        provider["api_token"] = token.text.clone().into();
        cursor.expect_end_of_args()?;
    }
    parse_fields(cursor, &mut provider, &["api_token", "zone_token"])?;
    if is_missing(&provider, "api_token") {
        return Err(name
            .error_here("the DNS provider cloudflare needs an API token")
            .with_help(
                "add one that may edit the zone: `dns cloudflare {env.CLOUDFLARE_API_TOKEN}`",
            ));
    }
    Ok(provider)
}

/// ```text
/// rfc2136 {
///     server   <host:port>
///     key_name <name>
///     key_alg  <algorithm>
///     key      <base64>
/// }
/// ```
fn parse_rfc2136(cursor: &mut Cursor<'_>) -> Result<Json, Diagnostic> {
    let name = cursor.clone();
    cursor.expect_end_of_args()?;
    let mut provider = json!({ "name": "rfc2136" });
    let known = ["key", "key_alg", "key_name", "server"];
    parse_fields(cursor, &mut provider, &known)?;
    if is_missing(&provider, "server") {
        return Err(name
            .error_here("the DNS provider rfc2136 needs a server")
            .with_help("name the zone's primary name server: `server 192.0.2.53:53`"));
    }
    Ok(provider)
}

/// ```text
/// webhook <url> {
///     token <bearer token>
/// }
/// ```
fn parse_webhook(cursor: &mut Cursor<'_>) -> Result<Json, Diagnostic> {
    let url = cursor.expect_arg()?.text.clone();
    cursor.expect_end_of_args()?;
    let mut provider = json!({ "name": "webhook", "url": url });
    parse_fields(cursor, &mut provider, &["token"])?;
    Ok(provider)
}

/// Reads a block of fields with one value each.
fn parse_fields(
    cursor: &mut Cursor<'_>,
    provider: &mut Json,
    known: &[&str],
) -> Result<(), Diagnostic> {
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        let field = token.text.as_str();
        if !known.contains(&field) {
            let provider = format!("dns {}", provider["name"].as_str().unwrap_or_default());
            return Err(cursor.unknown_subdirective(&provider, known.iter().copied()));
        }
        if provider.get(field).is_some() {
            let message = format!("`{field}` is already set");
            return Err(Diagnostic::error_at(token, message));
        }
        provider[field] = one_value(cursor)?.into();
    }
    Ok(())
}

fn is_missing(provider: &Json, field: &str) -> bool {
    provider[field].as_str().is_none_or(str::is_empty)
}

fn unknown_provider(cursor: &Cursor<'_>, name: &str) -> Option<Diagnostic> {
    let message = format!("the DNS provider `{name}` is not supported");
    let help = format!(
        "use one of {}: `dns exec` has cert-manager's `--dns-exec` program write the records, \
         for any provider",
        PROVIDERS.map(|name| format!("`{name}`")).join(", ")
    );
    let token = cursor.token()?;
    Some(Diagnostic::unsupported_at(token, message).with_help(help))
}
