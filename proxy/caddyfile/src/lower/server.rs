//! Servers: sites as routes, with logs, TLS connection policies and automatic HTTPS.
//! Caddy: `serversFromPairings` in `httpcaddyfile/httptype.go`.

mod connection;
mod routes;
mod tls;

use std::collections::{BTreeMap, HashMap};

use super::listener::{Association, uses_port_besides};
use super::site::{Site, SiteView, specificity};
use super::{NamedRoute, site_routes};
use crate::address::{Scheme, SiteAddress};
use crate::diagnostic::Diagnostic;
use crate::directive::State;
use crate::document::{AutomaticHttps, ConnectionPolicy, ErrorRoutes, Server, ServerLogs};
use crate::options::Options;
use crate::order;
use crate::token::Token;

/// The servers by name; sorts the sites of each association by how specific they are.
///
/// `None` if sites contradict each other.
pub(super) fn build(
    associations: &mut [Association],
    sites: &[Site<'_>],
    named_routes: &BTreeMap<String, NamedRoute>,
    options: &Options,
    state: &mut State,
) -> Option<BTreeMap<String, Server>> {
    let mut servers = BTreeMap::new();
    let mut is_valid = true;
    for (index, association) in associations.iter_mut().enumerate() {
        is_valid &= check_ambiguity(association, sites, state);
        order::stable_sort(&mut association.sites, |left, right| {
            is_more_specific(left, right, sites)
        });
        let mut builder = Builder::new(association, sites, options);
        builder.add_named_routes(named_routes, state);
        for view in &association.sites {
            builder.add_site(view, state);
        }
        match builder.finish() {
            Ok(server) => {
                servers.insert(format!("srv{index}"), server);
            }
            Err(diagnostic) => {
                state.diagnostics.push(diagnostic);
                is_valid = false;
            }
        }
    }
    is_valid &= apply_options(&mut servers, options, state);
    is_valid.then_some(servers)
}

/// Two sites with the same address on one listener have no order.
fn check_ambiguity(association: &Association, sites: &[Site<'_>], state: &mut State) -> bool {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for view in &association.sites {
        for key in &view.keys {
            let (token, _) = &sites[view.site].keys[*key];
            if *seen.entry(&token.text).or_insert(view.site) != view.site {
                let message = format!("ambiguous site definition: {}", token.text);
                let help = "the same address is the address of another site; merge the two";
                let diagnostic = Diagnostic::error_at(token, message).with_help(help);
                state.diagnostics.push(diagnostic);
                return false;
            }
        }
    }
    true
}

fn is_more_specific(left: &SiteView, right: &SiteView, sites: &[Site<'_>]) -> bool {
    let facts = |view: &SiteView| {
        let addresses = view.addresses(sites);
        let host = addresses
            .clone()
            .map(|address| specificity(&address.host))
            .max();
        let mut path = "";
        for address in view.addresses(sites) {
            if specificity(&address.path) > specificity(path) {
                path = &address.path;
            }
        }
        let has_wildcard = addresses
            .clone()
            .any(|address| address.host.is_empty() || address.host.contains('*'));
        (host.unwrap_or(0), path.len(), has_wildcard)
    };
    let (left_host, left_path, left_wildcard) = facts(left);
    let (right_host, right_path, right_wildcard) = facts(right);
    // Sites without a host come last, after those with a wildcard.
    if left_host == 0 {
        return false;
    }
    if right_host == 0 {
        return true;
    }
    if left_wildcard != right_wildcard {
        return right_wildcard;
    }
    if left_host == right_host {
        left_path > right_path
    } else {
        left_host > right_host
    }
}

/// A server while its sites are added.
struct Builder<'b, 't> {
    association: &'b Association,
    sites: &'b [Site<'t>],
    options: &'b Options,
    server: Server,
    has_catch_all_policy: bool,
    qualifies_for_tls: bool,
    automatic_https_adds_policy: bool,
}

impl<'b, 't> Builder<'b, 't> {
    fn new(association: &'b Association, sites: &'b [Site<'t>], options: &'b Options) -> Self {
        let protocols: Vec<Option<Vec<String>>> = association
            .protocols
            .iter()
            .map(|protocols| {
                let is_default = protocols.iter().all(String::is_empty);
                (!is_default).then(|| protocols.clone())
            })
            .collect();
        let has_own = protocols.iter().any(Option::is_some);
        let has_logs = association
            .sites
            .iter()
            .any(|view| !sites[view.site].logs.is_empty());
        let automatic_https = automatic_https(options);
        Self {
            association,
            sites,
            options,
            automatic_https_adds_policy: !automatic_https
                .as_ref()
                .is_some_and(|automatic| automatic.disable),
            server: Server {
                listen: association.addresses.clone(),
                listen_protocols: has_own.then_some(protocols),
                automatic_https,
                logs: has_logs.then(ServerLogs::default),
                ..Server::default()
            },
            has_catch_all_policy: false,
            qualifies_for_tls: false,
        }
    }

    /// Adds the named routes that sites invoke, and those that these invoke.
    fn add_named_routes(&mut self, known: &BTreeMap<String, NamedRoute>, state: &mut State) {
        let views = &self.association.sites;
        let mut pending: Vec<(&String, &Token)> = views
            .iter()
            .flat_map(|view| &self.sites[view.site].invoked)
            .collect();
        while let Some((name, token)) = pending.pop() {
            if self.server.named_routes.contains_key(name) {
                continue;
            }
            let Some(NamedRoute { route, invoked }) = known.get(name) else {
                let message = format!("cannot invoke named route `{name}`, which was not defined");
                let diagnostic = Diagnostic::error_at(token, message)
                    .with_suggestion(name, known.keys().map(String::as_str));
                state.diagnostics.push(diagnostic);
                continue;
            };
            self.server.named_routes.insert(name.clone(), route.clone());
            pending.extend(invoked);
        }
    }

    fn add_site(&mut self, view: &SiteView, state: &mut State) {
        let site = &self.sites[view.site];
        let hosts = view.hosts(self.sites);
        self.add_connection_policies(site, &hosts);
        for address in view.addresses(self.sites) {
            self.consider_address(site, address);
        }

        let matchers = routes::matchers(view, self.sites);
        let is_only = self.association.sites.len() == 1;
        let own = site_routes(site, self.options, state);
        routes::append(&mut self.server.routes, own, &matchers, is_only);
        if !site.error_routes.is_empty() {
            let mut own = site.error_routes.clone();
            // Caddy: routes for certain statuses come before those for all.
            order::stable_sort(&mut own, |left, right| {
                !left.r#match.is_empty() || right.r#match.is_empty()
            });
            let errors = self.server.errors.get_or_insert_with(ErrorRoutes::default);
            routes::append(&mut errors.routes, own, &matchers, is_only);
        }
        self.add_logs(view, &hosts);
    }

    /// What an address means for automatic HTTPS of the whole server.
    fn consider_address(&mut self, site: &Site<'_>, address: &SiteAddress) {
        let http_port = self.options.http_port();
        let is_http = address.scheme == Some(Scheme::Http);
        if is_http && !address.host.is_empty() && uses_port_besides(&self.server.listen, http_port)
        {
            let automatic = self.server.automatic_https.get_or_insert_default();
            if !automatic.skip.contains(&address.host) {
                automatic.skip.push(address.host.clone());
            }
        }
        let is_automated = !address.host.is_empty()
            && self
                .server
                .automatic_https
                .as_ref()
                .is_none_or(|automatic| !automatic.skip.contains(&address.host));
        let has_tls = !site.tls.is_empty() || is_automated;
        if address.scheme == Some(Scheme::Https)
            || (!is_http && address.port != Some(http_port) && has_tls)
        {
            self.qualifies_for_tls = true;
        }
        self.automatic_https_adds_policy &= address.port == Some(self.options.https_port())
            || (address.port != Some(http_port) && !address.host.is_empty());
    }

    fn add_logs(&mut self, view: &SiteView, hosts: &[String]) {
        let Some(server_logs) = &mut self.server.logs else {
            return;
        };
        let log_hosts = view.log_hosts(self.sites);
        let logs = &self.sites[view.site].logs;
        for log in logs.iter().filter(|log| !log.no_hostname) {
            if !log.hostnames.is_empty() {
                for host in &log.hostnames {
                    let names = server_logs.logger_names.entry(host.clone()).or_default();
                    names.push(log.name.clone());
                }
            } else if view.has_catch_all(self.sites) {
                server_logs.default_logger_name.clone_from(&log.name);
            } else {
                for host in &log_hosts {
                    let names = server_logs
                        .logger_names
                        .entry(without_port(host))
                        .or_default();
                    names.push(log.name.clone());
                }
            }
        }
        if logs.is_empty() {
            // Others are logged here, this site is not.
            server_logs.skip_unmapped_hosts |= hosts.is_empty();
            server_logs.skip_hosts.extend(log_hosts);
        }
    }

    fn finish(mut self) -> Result<Server, Diagnostic> {
        if let Some(logs) = &mut self.server.logs {
            logs.skip_hosts.sort();
        }
        self.check_schemes()?;
        // A client without SNI or with another name must find a policy as well.
        let default_sni = &self.options.default_sni;
        let fallback_sni = &self.options.fallback_sni;
        let policies = &mut self.server.tls_connection_policies;
        if self.qualifies_for_tls
            && !self.has_catch_all_policy
            && (!policies.is_empty()
                || !self.automatic_https_adds_policy
                || !default_sni.is_empty()
                || !fallback_sni.is_empty())
        {
            policies.push(ConnectionPolicy {
                default_sni: default_sni.clone(),
                fallback_sni: fallback_sni.clone(),
                ..ConnectionPolicy::default()
            });
        }
        self.exempt_from_wildcard_client_authentication();
        let policies = &mut self.server.tls_connection_policies;
        connection::consolidate(policies)?;
        self.server.routes = order::consolidate(self.server.routes);
        Ok(self.server)
    }
}

fn automatic_https(options: &Options) -> Option<AutomaticHttps> {
    let automatic = AutomaticHttps {
        disable: options.auto_https_has("off"),
        disable_redirects: options.auto_https_has("disable_redirects"),
        disable_certificates: options.auto_https_has("disable_certs"),
        ignore_loaded_certificates: options.auto_https_has("ignore_loaded_certs"),
        ..AutomaticHttps::default()
    };
    (automatic != AutomaticHttps::default()).then_some(automatic)
}

fn without_port(host: &str) -> String {
    let bare = match host.rsplit_once(':') {
        Some((bare, _)) if !bare.contains(':') || bare.ends_with(']') => bare,
        _ => host,
    };
    bare.trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned()
}

fn apply_options(
    servers: &mut BTreeMap<String, Server>,
    options: &Options,
    state: &mut State,
) -> bool {
    let mut names: Vec<&str> = Vec::new();
    for server in options
        .servers
        .iter()
        .filter(|server| !server.name.is_empty())
    {
        if names.contains(&server.name.as_str()) {
            let message = format!("cannot use duplicate server name `{}`", server.name);
            state.diagnostics.push(server.error(message));
            return false;
        }
        names.push(&server.name);
    }
    let mut renamed = Vec::new();
    for (name, server) in servers.iter_mut() {
        let found = options.servers.iter().find(|options| {
            options.listener.is_empty() || server.listen.contains(&options.listener)
        });
        if let Some(options) = found {
            options.apply(server);
            if !options.name.is_empty() {
                renamed.push((name.clone(), options.name.clone()));
            }
        }
    }
    for (old, new) in renamed {
        if let Some(server) = servers.remove(&old) {
            servers.insert(new, server);
        }
    }
    true
}
