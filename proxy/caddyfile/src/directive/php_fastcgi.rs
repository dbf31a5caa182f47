//! `php_fastcgi`: what a PHP application needs, in one directive.

use std::collections::BTreeMap;

use super::reverse_proxy::{parse_fastcgi_option, parse_proxy};
use super::{Context, Value, Values, one_value, route_of, take_matcher};
use crate::cursor::Cursor;
use crate::document::{
    FastcgiTransport, FileMatcher, Handler, MatcherSet, ReverseProxy, Rewrite, Route,
    StaticResponse, Subroute, Transport,
};
use crate::token::Token;

/// ```text
/// php_fastcgi [<matcher>] <upstreams...> {
///     root <path>
///     split <extensions...>
///     index <file>|off
///     try_files <files...>
///     env <key> <value>
///     resolve_root_symlink
///     capture_stderr
///     dial_timeout|read_timeout|write_timeout <duration>
///     <subdirectives of reverse_proxy>
/// }
/// ```
pub(super) fn parse(cursor: &mut Cursor<'_>, context: &mut Context<'_>) -> Values {
    let matcher = take_matcher(cursor, context)?;
    cursor.next_token();
    let mut own = cursor.clone();
    let mut shared: Vec<&Token> = own.token().into_iter().collect();
    shared.extend(own.remaining_args());

    let mut php = Php {
        transport: FastcgiTransport::default(),
        index: "index.php".to_owned(),
        try_files: Vec::new(),
    };
    let nesting = own.nesting();
    let mut block: Vec<&Token> = Vec::new();
    while let Some(token) = own.next_block(nesting) {
        match token.text.as_str() {
            "index" => php.index = one_value(&mut own)?,
            "try_files" => {
                php.try_files = own.remaining_values();
                if php.try_files.is_empty() {
                    return Err(own.argument_error());
                }
            }
            name if parse_fastcgi_option(name, &mut own, &mut php.transport)? => {}
            _ => block.extend(own.next_segment()),
        }
    }
    if !block.is_empty() {
        let tokens = cursor.tokens();
        shared.extend(tokens.iter().find(|token| token.opens_block()));
        shared.extend(block);
        shared.extend(tokens.last());
    }
    if php.transport.split_path.is_empty() {
        php.transport.split_path = vec![".php".to_owned()];
    }

    let mut shared = Cursor::new(shared);
    shared.next_token();
    let mut proxy = parse_proxy(&mut shared, ReverseProxy::default(), context)?;
    let mut routes = php.index_routes();
    let scripts = php
        .transport
        .split_path
        .iter()
        .map(|extension| format!("*{extension}"));
    let scripts = MatcherSet {
        path: Some(scripts.collect()),
        ..MatcherSet::default()
    };
    proxy
        .transport
        .get_or_insert(Transport::Fastcgi(php.transport));
    routes.push(route_of(
        Some(scripts),
        Handler::ReverseProxy(Box::new(proxy)),
    ));

    Ok(vec![match matcher {
        None => Value::Routes(routes),
        matcher => {
            let subroute = Handler::Subroute(Subroute {
                routes,
                errors: None,
            });
            Value::Route(route_of(matcher, subroute))
        }
    }])
}

struct Php {
    transport: FastcgiTransport,
    index: String,
    try_files: Vec<String>,
}

impl Php {
    /// Routes that add the slash behind folders and find the script for a path.
    fn index_routes(&self) -> Vec<Route> {
        if self.index == "off" {
            return Vec::new();
        }
        let folder_index = format!("{{http.request.uri.path}}/{}", self.index);
        let (try_files, redirects_folders, policy) = match self.try_files.last() {
            None => {
                let path = "{http.request.uri.path}".to_owned();
                let files = vec![path, folder_index.clone(), self.index.clone()];
                (files, true, "first_exist_fallback")
            }
            Some(last) => (
                self.try_files.clone(),
                self.try_files.contains(&folder_index),
                if last.ends_with(".php") {
                    "first_exist_fallback"
                } else {
                    ""
                },
            ),
        };

        let mut routes = Vec::new();
        if redirects_folders {
            routes.push(redirect_route(folder_index));
        }
        let file = FileMatcher {
            try_files,
            try_policy: policy.to_owned(),
            split_path: self.transport.split_path.clone(),
            ..FileMatcher::default()
        };
        let uri = "{http.matchers.file.relative}".to_owned();
        routes.push(route_of(
            Some(MatcherSet {
                file: Some(file),
                ..MatcherSet::default()
            }),
            Handler::Rewrite(Rewrite {
                uri,
                ..Rewrite::default()
            }),
        ));
        routes
    }
}

fn redirect_route(folder_index: String) -> Route {
    let file = FileMatcher {
        try_files: vec![folder_index],
        ..FileMatcher::default()
    };
    let slash = MatcherSet {
        path: Some(vec!["*/".to_owned()]),
        ..MatcherSet::default()
    };
    let matcher = MatcherSet {
        file: Some(file),
        not: Some(vec![slash]),
        ..MatcherSet::default()
    };
    let location = "{http.request.orig_uri.path}/{http.request.orig_uri.prefixed_query}";
    let redirect = StaticResponse {
        status_code: "308".into(),
        headers: BTreeMap::from([("Location".to_owned(), vec![location.to_owned()])]),
        ..StaticResponse::default()
    };
    route_of(Some(matcher), Handler::StaticResponse(redirect))
}
