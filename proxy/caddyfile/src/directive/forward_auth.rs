//! `forward_auth`: asks another server whether a request may pass.

use std::collections::BTreeMap;

use super::reverse_proxy::parse_proxy;
use super::{Context, Value, Values, route_of, take_matcher};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{
    Handler, HeaderOps, Headers, MatcherSet, ProxyHeaders, ResponseHandler, ResponseMatcher,
    ReverseProxy, Rewrite, Route,
};
use crate::token::Token;
use crate::value::canonical_field_name;

/// ```text
/// forward_auth [<matcher>] <upstreams...> {
///     uri          <to>
///     copy_headers <fields...> {
///         <fields...>
///     }
///     <subdirectives of reverse_proxy>
/// }
/// ```
pub(super) fn parse(cursor: &mut Cursor<'_>, context: &mut Context<'_>) -> Values {
    let matcher = take_matcher(cursor, context)?;
    cursor.next_token();
    let mut own = cursor.clone();
    let mut shared: Vec<&Token> = own.token().into_iter().collect();
    shared.extend(own.remaining_args());

    // What is our own is taken out, and the rest is read as a `reverse_proxy`.
    let mut uri = None;
    let mut copies = BTreeMap::new();
    let nesting = own.nesting();
    let mut block: Vec<&Token> = Vec::new();
    while let Some(token) = own.next_block(nesting) {
        match token.text.as_str() {
            "uri" => uri = Some(own.expect_arg()?.text.clone()),
            "copy_headers" => parse_copies(&mut own, &mut copies)?,
            _ => block.extend(own.next_segment()),
        }
    }
    let Some(uri) = uri else {
        let message = "the `uri` subdirective is required";
        return Err(cursor.error_here(message));
    };
    shared.extend(braces(cursor).0);
    shared.extend(block);
    shared.extend(braces(cursor).1);

    let proxy = ReverseProxy {
        headers: Some(ProxyHeaders {
            request: Some(HeaderOps {
                set: BTreeMap::from([
                    forwarded("X-Forwarded-Method", "{http.request.method}"),
                    forwarded("X-Forwarded-Uri", "{http.request.uri}"),
                ]),
                ..HeaderOps::default()
            }),
            response: None,
        }),
        rewrite: Some(Rewrite {
            method: "GET".to_owned(),
            uri,
            ..Rewrite::default()
        }),
        ..ReverseProxy::default()
    };
    let mut shared = Cursor::new(shared);
    shared.next_token();
    let mut proxy = parse_proxy(&mut shared, proxy, context)?;
    proxy.handle_response.insert(0, pass_on(copies));
    let handler = Handler::ReverseProxy(Box::new(proxy));
    Ok(vec![Value::Route(route_of(matcher, handler))])
}

fn forwarded(field: &str, value: &str) -> (String, Vec<String>) {
    (field.to_owned(), vec![value.to_owned()])
}

/// The braces of the directive's block, if it has one.
fn braces<'t>(cursor: &Cursor<'t>) -> (Option<&'t Token>, Option<&'t Token>) {
    let opening = cursor
        .tokens()
        .iter()
        .find(|token| token.opens_block())
        .copied();
    let closing = cursor
        .tokens()
        .last()
        .filter(|token| token.closes_block())
        .copied();
    (opening, closing)
}

fn parse_copies(
    cursor: &mut Cursor<'_>,
    copies: &mut BTreeMap<String, String>,
) -> Result<(), Diagnostic> {
    let mut fields = cursor.remaining_args();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        fields.push(token);
        fields.extend(cursor.remaining_args());
    }
    if fields.is_empty() {
        return Err(cursor.argument_error());
    }
    for field in fields {
        let (from, to) = field
            .text
            .split_once('>')
            .unwrap_or((&field.text, &field.text));
        copies.insert(from.to_owned(), to.to_owned());
    }
    Ok(())
}

/// A 2xx lets the request pass, with fields of the response copied to it.
///
/// A field that the response does not have is removed, so that clients cannot make it up.
fn pass_on(copies: BTreeMap<String, String>) -> ResponseHandler {
    let mut routes = vec![route_of(None, Handler::Vars(BTreeMap::new()))];
    for (from, to) in copies {
        let placeholder = format!("{{http.reverse_proxy.header.{from}}}");
        let delete = HeaderOps {
            delete: vec![to.clone()],
            ..HeaderOps::default()
        };
        routes.push(request_headers(None, delete));
        let set = HeaderOps {
            set: BTreeMap::from([forwarded(&canonical_field_name(&to), &placeholder)]),
            ..HeaderOps::default()
        };
        let is_empty = MatcherSet {
            vars: Some(BTreeMap::from([(placeholder, vec![String::new()])])),
            ..MatcherSet::default()
        };
        let is_present = MatcherSet {
            not: Some(vec![is_empty]),
            ..MatcherSet::default()
        };
        routes.push(request_headers(Some(is_present), set));
    }
    ResponseHandler {
        r#match: Some(ResponseMatcher {
            status_code: vec![2],
            ..ResponseMatcher::default()
        }),
        routes,
        ..ResponseHandler::default()
    }
}

fn request_headers(matcher: Option<MatcherSet>, request: HeaderOps) -> Route {
    route_of(
        matcher,
        Handler::Headers(Headers {
            request: Some(request),
            response: None,
        }),
    )
}
