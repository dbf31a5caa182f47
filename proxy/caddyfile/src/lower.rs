//! Makes Caddy's JSON document of a parsed Caddyfile.
//!
//! The steps are those of Caddy (`httpcaddyfile/httptype.go`), since the order in which they run
//! shows in the document:
//!
//! 1. global options, then named routes, then each site's directives;
//! 2. addresses are grouped into servers by what they listen on ([`listener`]);
//! 3. each server's sites become routes, logs and TLS connection policies ([`server`]);
//! 4. certificates ([`automation`]), authorities and logs ([`logging`]) follow from all of them.

mod automation;
mod listener;
mod logging;
mod server;
mod site;

use std::collections::{BTreeMap, BTreeSet};

use self::listener::Association;
use self::site::Site;
use crate::diagnostic::Diagnostic;
use crate::directive::{self, Context, State, Value};
use crate::document::{
    Admin, AdminConfigSettings, Apps, CertificateAuthority, Document, Handler, HttpApp,
    HttpMetrics, Origins, PkiApp, Route, Server, Subroute,
};
use crate::options::Options;
use crate::order;
use crate::parser::{Parsed, Segment, ServerBlock};
use crate::shorthand;
use crate::token::{Sources, Token};

/// Blocks within blocks that are read.
const MAX_NESTING: usize = 64;

/// The document of a parsed Caddyfile, and what is wrong with it.
///
/// There is no document where an error leaves no meaning; with an error elsewhere the document is
/// what the rest means, and must not be run.
pub(crate) fn lower(parsed: Parsed) -> (Option<Document>, Vec<Diagnostic>, Sources) {
    let Parsed {
        blocks,
        diagnostics,
        sources,
    } = parsed;
    let mut state = State::default();
    state.diagnostics = diagnostics;
    let document = document(blocks, &sources, &mut state);
    (document, state.diagnostics, sources)
}

fn document(
    mut blocks: Vec<ServerBlock>,
    sources: &Sources,
    state: &mut State,
) -> Option<Document> {
    let has_options = blocks.first().is_some_and(|block| block.keys.is_empty());
    let global = if has_options {
        Some(blocks.remove(0))
    } else {
        None
    };
    let segments = global.iter().flat_map(|block| &block.segments);
    let options = Options::parse(segments.map(|segment| segment.tokens.as_slice()), state);

    for block in &mut blocks {
        block
            .segments
            .retain(|segment| check_nesting(segment, state));
        for segment in &mut block.segments {
            shorthand::expand_tokens(&mut segment.tokens);
        }
    }
    let (named, blocks): (Vec<_>, Vec<_>) =
        blocks.into_iter().partition(|block| block.is_named_route);
    let named_routes = parse_named_routes(&named, &options, sources, state);
    let mut sites = Vec::new();
    for block in &blocks {
        sites.extend(parse_site(block, &options, sources, state));
    }

    let mut associations = listener::associate(&sites, &options, state)?;
    let mut servers = server::build(&mut associations, &sites, &named_routes, &options, state)?;
    let metrics = hoist_metrics(&mut servers, options.metrics.clone());
    let http = HttpApp {
        http_port: options.http_port.unwrap_or(0),
        https_port: options.https_port.unwrap_or(0),
        grace_period: options.grace_period,
        shutdown_delay: options.shutdown_delay,
        servers,
        metrics,
    };
    let apps = Apps {
        http: (!http.servers.is_empty()).then_some(http),
        pki: pki(&associations, &sites, &options),
        tls: automation::build(&associations, &sites, &options, state),
        other: BTreeMap::new(),
    };
    Some(Document {
        admin: admin(&options),
        logging: logging::build(&associations, &sites, &options),
        storage: options.storage.clone(),
        apps,
    })
}

/// Refuses blocks that are nested so deep that reading them could exhaust the stack.
fn check_nesting(segment: &Segment, state: &mut State) -> bool {
    let mut depth = 0_usize;
    for token in &segment.tokens {
        if token.opens_block() {
            depth += 1;
        } else if token.closes_block() {
            depth = depth.saturating_sub(1);
        }
        if depth > MAX_NESTING {
            let message = format!("blocks are nested more than {MAX_NESTING} deep");
            state.diagnostics.push(Diagnostic::error_at(token, message));
            return false;
        }
    }
    true
}

fn parse_named_routes(
    blocks: &[ServerBlock],
    options: &Options,
    sources: &Sources,
    state: &mut State,
) -> BTreeMap<String, NamedRoute> {
    // Caddy: groups of named routes are counted apart from those of sites.
    let mut own = State::default();
    let mut routes = BTreeMap::new();
    for block in blocks {
        let (Some(name), Some(segment)) = (block.keys.first(), block.segments.first()) else {
            continue;
        };
        let files = file_names(&block.segments, sources);
        let mut context = Context {
            options,
            state: &mut own,
            matchers: BTreeMap::new(),
            files: &files,
        };
        let mut cursor = segment.cursor();
        cursor.next_token();
        let mut inner = match directive::parse_subroute(&mut cursor, &mut context) {
            Ok(routes) => routes,
            Err(diagnostic) => {
                own.diagnostics.push(diagnostic);
                continue;
            }
        };
        let mut origins = Origins::default();
        let handle = match inner.as_mut_slice() {
            [only] if only.r#match.is_empty() => {
                origins = std::mem::take(&mut only.origins);
                only.handle.drain(..).take(1).collect()
            }
            _ => vec![Handler::Subroute(Subroute {
                routes: inner,
                errors: None,
            })],
        };
        let route = Route {
            handle,
            origins,
            ..Route::default()
        };
        let invoked = std::mem::take(&mut own.invoked);
        routes.insert(name.text.clone(), NamedRoute { route, invoked });
    }
    state.diagnostics.append(&mut own.diagnostics);
    routes
}

/// A route that `invoke` names.
#[derive(Debug)]
struct NamedRoute {
    route: Route,
    /// Named routes that it invokes itself.
    invoked: BTreeMap<String, Token>,
}

fn parse_site<'t>(
    block: &'t ServerBlock,
    options: &Options,
    sources: &Sources,
    state: &mut State,
) -> Option<Site<'t>> {
    if block.keys.is_empty() {
        let token = block
            .segments
            .first()
            .and_then(|segment| segment.tokens.first());
        let message = "server block without any key is global configuration, and if used, it \
                       must be first";
        let diagnostic = Diagnostic::error(message);
        state.diagnostics.push(match token {
            Some(token) => diagnostic.at(token),
            None => diagnostic,
        });
        return None;
    }
    let mut keys = Vec::new();
    for key in &block.keys {
        match crate::address::SiteAddress::parse(key) {
            Ok(address) => keys.push((key, address)),
            Err(diagnostic) => state.diagnostics.push(diagnostic),
        }
    }

    let files = file_names(&block.segments, sources);
    let segments = block
        .segments
        .iter()
        .map(|segment| segment.tokens.iter().collect::<Vec<&Token>>());
    state.invoked.clear();
    let segments: Vec<_> = segments.collect();
    let mut context = Context {
        options,
        state,
        matchers: BTreeMap::new(),
        files: &files,
    };
    directive::check_site(&segments, &mut context);
    let outcomes = directive::parse_directives(segments, &mut context);
    if !block.has_braces {
        hint_at_braces(context.state);
    }

    let mut site = Site {
        keys,
        ..Site::default()
    };
    site.invoked = std::mem::take(&mut state.invoked);
    for outcome in outcomes {
        match outcome.value {
            Value::Authority(id, authority) => site.authorities.push((id, *authority)),
            Value::Bind(bind) => site.binds.push(bind),
            Value::ErrorRoute(route) => site.error_routes.push(route),
            Value::Log(log) => site.logs.push(*log),
            Value::Tls(tls) => site.tls.push(*tls),
            Value::Route(_) | Value::Routes(_) => site.routes.push(outcome),
        }
    }
    Some(site)
}

/// A second site in a file without braces looks like a directive.
fn hint_at_braces(state: &mut State) {
    for diagnostic in &mut state.diagnostics {
        if diagnostic.message.starts_with("unrecognized directive") && diagnostic.help.is_none() {
            diagnostic.help = Some(
                "did you mean to define a second site? If so, put braces around the directives \
                 of each site"
                    .to_owned(),
            );
        }
    }
}

/// The files that tokens of `segments` come from, sorted.
fn file_names(segments: &[Segment], sources: &Sources) -> Vec<String> {
    let tokens = segments.iter().flat_map(|segment| &segment.tokens);
    let names: BTreeSet<&str> = tokens
        .map(|token| sources.name(token.span.source))
        .collect();
    names.into_iter().map(str::to_owned).collect()
}

/// Counters are the app's, although they used to be a setting of servers.
fn hoist_metrics(
    servers: &mut BTreeMap<String, Server>,
    mut metrics: Option<HttpMetrics>,
) -> Option<HttpMetrics> {
    for server in servers.values_mut() {
        if let Some(own) = server.metrics.take() {
            let all = metrics.get_or_insert_default();
            all.per_host |= own.per_host;
            all.observe_catchall_hosts |= own.observe_catchall_hosts;
        }
    }
    metrics
}

fn admin(options: &Options) -> Option<Admin> {
    let mut admin = options.admin.clone();
    if options.persist_config_off {
        let settings = AdminConfigSettings {
            persist: Some(false),
            ..Default::default()
        };
        admin.get_or_insert_default().config = Some(settings);
    }
    admin
}

fn pki(associations: &[Association], sites: &[Site<'_>], options: &Options) -> Option<PkiApp> {
    let mut authorities = options.pki.clone();
    for view in associations
        .iter()
        .flat_map(|association| &association.sites)
    {
        for (id, authority) in &sites[view.site].authorities {
            authorities
                .entry(id.clone())
                .or_insert_with(|| authority.clone());
        }
    }
    if options.skip_install_trust {
        if authorities.is_empty() {
            authorities.insert("local".to_owned(), CertificateAuthority::default());
        }
        for authority in authorities.values_mut() {
            authority.install_trust = Some(false);
        }
    }
    (!authorities.is_empty()).then_some(PkiApp {
        certificate_authorities: authorities,
    })
}

/// Makes one list of a site's routes, in the order in which they are tried.
fn site_routes(site: &Site<'_>, options: &Options, state: &mut State) -> Vec<Route> {
    let mut context = Context {
        options,
        state,
        matchers: BTreeMap::new(),
        files: &[],
    };
    order::routes(
        site.routes.clone(),
        order::Sorting::ByPriority,
        &mut context,
    )
}
