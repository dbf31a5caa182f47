//! Options on certificates.

use serde_json::{Map, Value as Json, json};

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::directive::{State, parse_dns_provider};
use crate::document::{ExternalAccount, OnDemand};
use crate::token::Token;

/// ```text
/// acme_eab {
///     key_id  <id>
///     mac_key <key>
/// }
/// ```
pub(super) fn parse_external_account(
    cursor: &mut Cursor<'_>,
) -> Result<ExternalAccount, Diagnostic> {
    cursor.expect_end_of_args()?;
    let mut account = ExternalAccount::default();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "key_id" => account.key_id = cursor.expect_arg()?.text.clone(),
            "mac_key" => account.mac_key = cursor.expect_arg()?.text.clone(),
            _ => return Err(cursor.unknown_subdirective("acme_eab", ["key_id", "mac_key"])),
        }
    }
    Ok(account)
}

/// `auto_https off|disable_redirects|disable_certs|ignore_loaded_certs`
pub(super) fn parse_auto_https(cursor: &mut Cursor<'_>) -> Result<Vec<String>, Diagnostic> {
    let known = [
        "disable_certs",
        "disable_redirects",
        "ignore_loaded_certs",
        "off",
    ];
    let words = cursor.remaining_args();
    if words.is_empty() {
        return Err(cursor.argument_error());
    }
    if let Some(unknown) = words
        .iter()
        .find(|word| !known.contains(&word.text.as_str()))
    {
        let message = "auto_https must be one of `off`, `disable_redirects`, `disable_certs`, or \
                       `ignore_loaded_certs`";
        return Err(Diagnostic::error_at(unknown, message).with_suggestion(&unknown.text, known));
    }
    Ok(words.into_iter().map(|word| word.text.clone()).collect())
}

/// ```text
/// on_demand_tls {
///     ask        <url>
///     permission <module> ...
/// }
/// ```
pub(super) fn parse_on_demand(cursor: &mut Cursor<'_>) -> Result<OnDemand, Diagnostic> {
    cursor.expect_end_of_args()?;
    let mut on_demand = OnDemand::default();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        let endpoint = match token.text.as_str() {
            "ask" => cursor.expect_arg()?,
            "permission" => {
                let module = cursor.expect_arg()?;
                if module.text != "http" {
                    let message = format!("unknown permission module `{}`", module.text);
                    return Err(Diagnostic::error_at(module, message)
                        .with_suggestion(&module.text, ["http"]));
                }
                cursor.expect_arg()?
            }
            old @ ("interval" | "burst") => {
                let message = format!("the on_demand_tls `{old}` option is no longer supported");
                return Err(cursor.error_here(message).with_help("remove it"));
            }
            _ => return Err(cursor.unknown_subdirective("on_demand_tls", ["ask", "permission"])),
        };
        if on_demand.permission.is_some() {
            let message = "on-demand TLS permission module (or `ask`) already specified";
            return Err(cursor.error_here(message));
        }
        on_demand.permission = Some(json!({ "module": "http", "endpoint": endpoint.text }));
    }
    if on_demand.permission.is_none() {
        let message = "expected at least one config parameter for on_demand_tls";
        return Err(cursor.error_here(message).with_help("add `ask <url>`"));
    }
    Ok(on_demand)
}

/// ```text
/// ech <public names...> {
///     dns <provider> ...
/// }
/// ```
pub(super) fn parse_ech(
    token: &Token,
    cursor: &mut Cursor<'_>,
    state: &mut State,
) -> Result<Json, Diagnostic> {
    let message = "encrypted ClientHello is not supported yet";
    state
        .diagnostics
        .push(Diagnostic::unsupported_at(token, message));
    let names = cursor.remaining_values();
    if names.is_empty() {
        return Err(cursor.argument_error());
    }
    let configs: Vec<Json> = names
        .into_iter()
        .map(|name| json!({ "public_name": name }))
        .collect();
    let mut ech = Map::from_iter([("configs".to_owned(), Json::Array(configs))]);
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        if token.text != "dns" {
            return Err(cursor.unknown_subdirective("ech", ["dns"]));
        }
        let mut publisher = Map::from_iter([("module".to_owned(), Json::from("dns"))]);
        if cursor.next_arg().is_some() {
            let mut provider = cursor.from_next_segment();
            provider.next_token();
            let provider = parse_dns_provider(&mut provider, &mut state.diagnostics)?;
            publisher.insert("provider".to_owned(), provider);
        }
        ech.insert(
            "publication".to_owned(),
            json!([{ "publishers": { "dns": publisher } }]),
        );
    }
    Ok(Json::Object(ech))
}
