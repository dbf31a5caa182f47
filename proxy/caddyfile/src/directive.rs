//! Directives: what each one makes of its tokens.
//!
//! A directive yields [`Value`]s. Most are routes, which are sorted by [`order`](crate::order) and
//! put into the site's subroute; the others (listen addresses, logs, TLS) concern the server as a
//! whole. A mistake ends its directive only, so that one run finds them all.
//! Caddy: `httpcaddyfile/directives.go`, `builtins.go`, and each module's `UnmarshalCaddyfile`.

mod abort;
mod acme_server;
mod argument;
mod basic_auth;
mod bind;
mod cache;
mod copy_response;
mod copy_response_headers;
mod encode;
mod error;
mod field;
mod file_server;
mod forward_auth;
mod fs;
mod handle;
mod handle_errors;
mod handle_path;
mod header;
mod intercept;
mod invoke;
mod lint;
mod log;
mod log_append;
mod log_name;
mod log_skip;
mod map;
mod method;
mod metrics;
mod php_fastcgi;
mod push;
mod rate_limit;
mod redir;
mod request_body;
mod request_header;
mod respond;
mod response;
mod reverse_proxy;
mod rewrite;
mod root;
mod route;
mod support;
mod templates;
mod tls;
mod tracing;
mod try_files;
mod uri;
mod vars;

pub(crate) use self::argument::{duration, integer, one_value, size};
pub(crate) use self::bind::{Bind, parse_bind};
pub(crate) use self::lint::check_site;
pub(crate) use self::log::{SiteLog, parse_log};
pub(crate) use self::support::is_supported;
pub(crate) use self::tls::{
    SiteTls, default_issuers, parse_dns_provider, parse_issuer, parse_preferred_chains, ratio,
};

use std::collections::BTreeMap;

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{CertificateAuthority, Handler, MatcherSet, Route};
use crate::matcher;
use crate::options::Options;
use crate::order::{self, Sorting};
use crate::token::Token;

/// What a directive means for its site.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Listen addresses.
    Bind(Bind),
    /// A certificate authority to set up, by identifier.
    Authority(String, Box<CertificateAuthority>),
    /// A route for errors.
    ErrorRoute(Route),
    /// An access log.
    Log(Box<SiteLog>),
    /// One route.
    Route(Route),
    /// Routes that stay together in this order.
    Routes(Vec<Route>),
    /// Certificates and connection settings.
    Tls(Box<SiteTls>),
}

/// A [`Value`] with the directive that it is of.
#[derive(Clone, Debug)]
pub(crate) struct Outcome<'t> {
    /// Name of the directive for sorting: `handle_path` counts as `handle`.
    pub(crate) directive: &'static str,
    /// The directive's name in the text.
    pub(crate) token: &'t Token,
    /// The value.
    pub(crate) value: Value,
}

/// What directives share over the whole file.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Everything that was found wrong so far.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// By certificate file, the label it is loaded with.
    pub(crate) certificate_labels: BTreeMap<String, String>,
    /// Access logs without a name so far.
    pub(crate) unnamed_logs: usize,
    /// Named routes that the current site invokes, with the place of the last `invoke`.
    pub(crate) invoked: BTreeMap<String, Token>,
    groups: usize,
}

impl State {
    /// A name for a group of routes that exclude each other.
    pub(crate) fn next_group(&mut self) -> String {
        let name = format!("group{}", self.groups);
        self.groups += 1;
        name
    }
}

/// Where a directive stands.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// The global options.
    pub(crate) options: &'a Options,
    /// Shared over the whole file.
    pub(crate) state: &'a mut State,
    /// Named matchers that can be used here, by name with the `@`.
    pub(crate) matchers: BTreeMap<String, MatcherSet>,
    /// Names of the files that the site's text comes from, sorted.
    pub(crate) files: &'a [String],
}

impl Context<'_> {
    /// A place inside this one: named matchers defined there are not seen outside.
    pub(crate) fn inner(&mut self) -> Context<'_> {
        Context {
            options: self.options,
            state: &mut *self.state,
            matchers: self.matchers.clone(),
            files: self.files,
        }
    }

    /// Keeps a diagnostic and goes on.
    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        self.state.diagnostics.push(diagnostic);
    }

    /// Says that `feature` at `token` cannot be run yet, if that is so.
    ///
    /// `feature` is a directive, or a directive and its subdirective.
    pub(crate) fn use_feature(&mut self, token: &Token, feature: &str) {
        if let Some(diagnostic) = support::finding(token, feature) {
            self.report(diagnostic);
        }
    }
}

type Values = Result<Vec<Value>, Diagnostic>;

/// How a directive is read.
enum Parse {
    /// An optional matcher, then a handler's own syntax.
    Handler(fn(&mut Cursor<'_>, &mut Context<'_>) -> Result<Handler, Diagnostic>),
    /// A syntax of its own.
    Values(fn(&mut Cursor<'_>, &mut Context<'_>) -> Values),
}

const DIRECTIVES: &[(&str, Parse)] = &[
    ("abort", Parse::Handler(abort::parse)),
    ("acme_server", Parse::Values(acme_server::parse)),
    ("basic_auth", Parse::Handler(basic_auth::parse)),
    ("basicauth", Parse::Handler(basic_auth::parse)),
    ("bind", Parse::Values(bind::parse)),
    ("cache", Parse::Handler(cache::parse)),
    ("copy_response", Parse::Handler(copy_response::parse)),
    (
        "copy_response_headers",
        Parse::Handler(copy_response_headers::parse),
    ),
    ("encode", Parse::Handler(encode::parse)),
    ("error", Parse::Handler(error::parse)),
    ("file_server", Parse::Handler(file_server::parse)),
    ("forward_auth", Parse::Values(forward_auth::parse)),
    ("fs", Parse::Handler(fs::parse)),
    ("handle", Parse::Handler(handle::parse)),
    ("handle_errors", Parse::Values(handle_errors::parse)),
    ("handle_path", Parse::Values(handle_path::parse)),
    ("header", Parse::Values(header::parse)),
    ("intercept", Parse::Handler(intercept::parse)),
    ("invoke", Parse::Handler(invoke::parse)),
    ("log", Parse::Values(log::parse)),
    ("log_append", Parse::Handler(log_append::parse)),
    ("log_name", Parse::Handler(log_name::parse)),
    ("log_skip", Parse::Handler(log_skip::parse)),
    ("map", Parse::Handler(map::parse)),
    ("method", Parse::Handler(method::parse)),
    ("metrics", Parse::Handler(metrics::parse)),
    ("php_fastcgi", Parse::Values(php_fastcgi::parse)),
    ("push", Parse::Handler(push::parse)),
    ("rate_limit", Parse::Handler(rate_limit::parse)),
    ("redir", Parse::Handler(redir::parse)),
    ("request_body", Parse::Handler(request_body::parse)),
    ("request_header", Parse::Values(request_header::parse)),
    ("respond", Parse::Handler(respond::parse)),
    ("reverse_proxy", Parse::Handler(reverse_proxy::parse)),
    ("rewrite", Parse::Values(rewrite::parse)),
    ("root", Parse::Values(root::parse)),
    ("route", Parse::Handler(route::parse)),
    ("skip_log", Parse::Handler(log_skip::parse)),
    ("templates", Parse::Handler(templates::parse)),
    ("tls", Parse::Values(tls::parse)),
    ("tracing", Parse::Handler(tracing::parse)),
    ("try_files", Parse::Values(try_files::parse)),
    ("uri", Parse::Handler(uri::parse)),
    ("vars", Parse::Handler(vars::parse)),
];

/// The names of all directives, sorted.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    DIRECTIVES.iter().map(|(name, _)| *name)
}

/// Reads the directives of a site or of a block, each as its own list of tokens.
///
/// Named matchers among them can be used by all of them, wherever they stand.
pub(crate) fn parse_directives<'t>(
    segments: Vec<Vec<&'t Token>>,
    context: &mut Context<'_>,
) -> Vec<Outcome<'t>> {
    let (definitions, directives): (Vec<_>, Vec<_>) = segments.into_iter().partition(|segment| {
        segment
            .first()
            .is_some_and(|name| name.text.starts_with('@'))
    });
    lint::check(&definitions, &directives, context);
    for definition in definitions {
        match matcher::parse_definition(
            Cursor::new(definition.iter().copied()),
            &mut context.state.diagnostics,
        ) {
            Ok((name, mut set)) => {
                set.written = definition[0].into();
                if context.matchers.contains_key(&name) {
                    let message = format!("matcher is defined more than once: {name}");
                    context.report(Diagnostic::error_at(definition[0], message));
                }
                context.matchers.insert(name, set);
            }
            Err(diagnostic) => context.report(diagnostic),
        }
    }

    let mut outcomes = Vec::new();
    for segment in directives {
        match parse_directive(&segment, context) {
            Ok(values) => outcomes.extend(values),
            Err(diagnostic) => context.report(diagnostic),
        }
    }
    outcomes
}

/// Reads the block that follows as directives, which will run in the order of `sorting`; the cursor
/// is at the token before it.
///
/// # Errors
///
/// There is an argument before the block.
pub(crate) fn parse_block<'t>(
    cursor: &mut Cursor<'t>,
    sorting: Sorting,
    context: &mut Context<'_>,
) -> Result<Vec<Outcome<'t>>, Diagnostic> {
    if let Some(extra) = cursor.next_arg() {
        let message = format!("unexpected argument `{}`", extra.text);
        return Err(Diagnostic::error_at(extra, message));
    }
    let mut segments = Vec::new();
    let nesting = cursor.nesting();
    while cursor.next_block(nesting).is_some() {
        segments.push(cursor.next_segment());
    }
    if sorting == Sorting::None {
        lint::check_order(&segments, context);
    }
    Ok(parse_directives(segments, &mut context.inner()))
}

/// Reads the block that follows as routes in the order of the directives' priority.
///
/// # Errors
///
/// As [`parse_block`].
pub(crate) fn parse_subroute(
    cursor: &mut Cursor<'_>,
    context: &mut Context<'_>,
) -> Result<Vec<Route>, Diagnostic> {
    let sorting = Sorting::ByPriority;
    let outcomes = parse_block(cursor, sorting, context)?;
    Ok(order::routes(outcomes, sorting, context))
}

/// Takes the matcher that may stand as first argument; the cursor ends before the directive's name.
///
/// # Errors
///
/// It names a matcher that is not defined.
pub(crate) fn take_matcher(
    cursor: &mut Cursor<'_>,
    context: &Context<'_>,
) -> Result<Option<MatcherSet>, Diagnostic> {
    cursor.reset();
    cursor.next_token();
    let Some(token) = cursor.next_arg() else {
        cursor.reset();
        return Ok(None);
    };
    let set = if token.text == "*" {
        None
    } else if token.text.starts_with('/') {
        Some(MatcherSet {
            written: token.into(),
            path: Some(vec![token.text.clone()]),
            ..MatcherSet::default()
        })
    } else if token.text.starts_with('@') {
        let defined = context.matchers.get(&token.text).ok_or_else(|| {
            let known = context.matchers.keys().map(String::as_str);
            Diagnostic::error_at(token, format!("unrecognized matcher name: {}", token.text))
                .with_suggestion(&token.text, known)
        })?;
        Some(defined.clone())
    } else {
        cursor.reset();
        return Ok(None);
    };
    cursor.delete();
    cursor.reset();
    Ok(set)
}

/// A route of one handler.
pub(crate) fn route_of(matcher: Option<MatcherSet>, handler: Handler) -> Route {
    Route {
        r#match: matcher.into_iter().collect(),
        handle: vec![handler],
        ..Route::default()
    }
}

fn parse_directive<'t>(
    segment: &[&'t Token],
    context: &mut Context<'_>,
) -> Result<Vec<Outcome<'t>>, Diagnostic> {
    let Some(token) = segment.first().copied() else {
        return Ok(Vec::new());
    };
    let Some((name, parse)) = DIRECTIVES.iter().find(|(name, _)| *name == token.text) else {
        return Err(unknown_directive(token));
    };
    context.use_feature(token, name);

    let mut cursor = Cursor::new(segment.iter().copied());
    let mut values = match parse {
        Parse::Handler(parse) => {
            let matcher = take_matcher(&mut cursor, context)?;
            vec![Value::Route(route_of(
                matcher,
                parse(&mut cursor, context)?,
            ))]
        }
        Parse::Values(parse) => {
            cursor.next_token();
            parse(&mut cursor, context)?
        }
    };
    for value in &mut values {
        note_origin(value, token);
    }
    // Caddy: `handle_path` is sorted and grouped together with `handle`.
    let directive = if *name == "handle_path" {
        "handle"
    } else {
        *name
    };
    Ok(values
        .into_iter()
        .map(|value| Outcome {
            directive,
            token,
            value,
        })
        .collect())
}

/// Remembers the directive as the origin of the routes that it yielded.
fn note_origin(value: &mut Value, token: &Token) {
    let note = |route: &mut Route| route.origins.fill(route.handle.len(), token.into());
    match value {
        Value::Route(route) | Value::ErrorRoute(route) => note(route),
        Value::Routes(routes) => routes.iter_mut().for_each(note),
        Value::Log(log) => {
            if let Some(log) = &mut log.log {
                log.written = token.into();
            }
        }
        Value::Authority(..) | Value::Bind(_) | Value::Tls(_) => {}
    }
}

fn unknown_directive(token: &Token) -> Diagnostic {
    let name = &token.text;
    if name == "php_server" {
        let message = "unrecognized directive: php_server";
        let help = "it is of FrankenPHP; use `php_fastcgi` with a PHP-FPM container";
        return Diagnostic::error_at(token, message).with_help(help);
    }
    let diagnostic = Diagnostic::error_at(token, format!("unrecognized directive: {name}"));
    if token.opens_block() || token.closes_block() {
        return diagnostic.with_help("check that every brace has its other half");
    }
    diagnostic.with_suggestion(name, names())
}
