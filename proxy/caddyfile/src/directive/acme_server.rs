//! `acme_server`: an ACME server in front of an own CA.

use serde_json::{Map, Value as Json, json};

use super::{Context, Value, Values, duration, one_value, route_of, take_matcher};
use crate::cursor::Cursor;
use crate::document::{AcmeServer, Handler};

/// ```text
/// acme_server [<matcher>] {
///     ca         <id>
///     lifetime   <duration>
///     resolvers  <resolvers...>
///     challenges <challenges...>
///     sign_with_root
///     allow|deny {
///         domains   <names...>
///         ip_ranges <ranges...>
///     }
/// }
/// ```
pub(super) fn parse(cursor: &mut Cursor<'_>, context: &mut Context<'_>) -> Values {
    let matcher = take_matcher(cursor, context)?;
    cursor.next_token();
    cursor.expect_end_of_args()?;
    let mut server = AcmeServer::default();
    let mut policy = Map::new();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "ca" => server.ca = one_value(cursor)?,
            "lifetime" => server.lifetime = duration(cursor)?,
            "resolvers" => server.resolvers = at_least_one(cursor)?,
            "challenges" => server.challenges = cursor.remaining_values(),
            "sign_with_root" => {
                cursor.expect_end_of_args()?;
                server.sign_with_root = true;
            }
            "allow" | "deny" => {
                let rules = parse_rules(cursor)?;
                policy.insert(token.text.clone(), rules);
            }
            _ => {
                let known = [
                    "allow",
                    "ca",
                    "challenges",
                    "deny",
                    "lifetime",
                    "resolvers",
                    "sign_with_root",
                ];
                return Err(cursor.unknown_subdirective("acme_server", known));
            }
        }
    }
    if !policy.is_empty() {
        server.policy = Some(Json::Object(policy));
    }

    let authority = server.ca.clone();
    let route = route_of(matcher, Handler::AcmeServer(server));
    let mut values = vec![Value::Route(route)];
    if !authority.is_empty() {
        values.push(Value::Authority(authority, Box::default()));
    }
    Ok(values)
}

fn parse_rules(cursor: &mut Cursor<'_>) -> Result<Json, crate::diagnostic::Diagnostic> {
    let mut rules = Map::new();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        let key = match token.text.as_str() {
            "domains" => "domains",
            "ip_ranges" => "ip_ranges",
            _ => return Err(cursor.unknown_subdirective("allow", ["domains", "ip_ranges"])),
        };
        let values = at_least_one(cursor)?;
        match rules.get_mut(key) {
            Some(Json::Array(known)) => known.extend(values.into_iter().map(Json::from)),
            _ => {
                rules.insert(key.to_owned(), json!(values));
            }
        }
    }
    Ok(Json::Object(rules))
}

fn at_least_one(cursor: &mut Cursor<'_>) -> Result<Vec<String>, crate::diagnostic::Diagnostic> {
    let values = cursor.remaining_values();
    if values.is_empty() {
        Err(cursor.argument_error())
    } else {
        Ok(values)
    }
}
