//! Routes that send plain HTTP to HTTPS.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use caddyfile::document::{Handler, MatcherSet, Route, Server, ServerLogs, StaticResponse};

use super::{Address, Ports};

/// The name that Caddy gives to the server of the redirects that fit nowhere else.
const SERVER: &str = "remaining_auto_https_redirects";

/// The redirects that servers ask for, until they are put in place.
#[derive(Debug)]
pub(super) struct Redirects {
    ports: Ports,
    /// By host, where it is served; a catch-all has no host.
    targets: BTreeMap<Option<String>, Vec<Address>>,
    logs: Option<ServerLogs>,
}

impl Redirects {
    pub(super) fn new(ports: Ports) -> Self {
        Self {
            ports,
            targets: BTreeMap::new(),
            logs: None,
        }
    }

    /// Asks for redirects to `address` for `hosts`, or for every host when there are none.
    pub(super) fn add(
        &mut self,
        address: Address,
        hosts: &BTreeSet<String>,
        logs: Option<&ServerLogs>,
    ) {
        if let Some(logs) = logs {
            self.logs = Some(logs.clone());
        }
        if hosts.is_empty() {
            self.targets.entry(None).or_default().push(address);
            return;
        }
        for host in hosts {
            // A name that is served at several ports is redirected to the first, or to HTTPS's.
            let targets = self.targets.entry(Some(host.clone())).or_default();
            if targets.is_empty() || address.port == self.ports.https {
                targets.push(address.clone());
            }
        }
    }

    /// Puts the redirects into the servers that listen where they belong, and into a server of
    /// their own otherwise.
    pub(super) fn insert(self, servers: &mut BTreeMap<String, Server>, has_names: bool) {
        let mut hosts_by_target: BTreeMap<String, (Address, Vec<Option<String>>)> = BTreeMap::new();
        for (host, targets) in self.targets {
            for target in targets {
                let (_, hosts) = hosts_by_target
                    .entry(target.with_port(target.port))
                    .or_insert_with(|| (target, Vec::new()));
                hosts.push(host.clone());
            }
        }
        let mut routes_by_listener: BTreeMap<String, Vec<Route>> = BTreeMap::new();
        for (target, hosts) in hosts_by_target.into_values() {
            let hosts: Vec<String> = hosts.into_iter().flatten().collect();
            routes_by_listener
                .entry(target.with_port(self.ports.http))
                .or_default()
                .push(redirect(target.port, self.ports, hosts));
        }
        let mut remaining = Server {
            logs: self.logs,
            ..Server::default()
        };
        for (listener, mut routes) in routes_by_listener {
            routes.sort_by(by_specificity);
            match servers
                .values_mut()
                .find(|server| listens_at(server, &listener))
            {
                Some(server) => {
                    // Before the user's own routes for every host, after those for certain ones.
                    let index = server
                        .routes
                        .iter()
                        .rposition(|route| route.r#match.iter().any(|set| set.host.is_some()))
                        .map_or(0, |last| last + 1);
                    if has_names {
                        server.routes.splice(index..index, routes);
                    }
                    server
                        .routes
                        .push(redirect(self.ports.https, self.ports, Vec::new()));
                }
                None => {
                    remaining.listen.push(listener);
                    remaining.routes.extend(routes);
                }
            }
        }
        if !remaining.listen.is_empty() {
            remaining
                .routes
                .push(redirect(self.ports.https, self.ports, Vec::new()));
            servers.insert(SERVER.to_owned(), remaining);
        }
    }
}

fn listens_at(server: &Server, listener: &str) -> bool {
    let wanted = Address::parse(listener);
    server
        .listen
        .iter()
        .any(|own| Address::parse(own) == wanted)
}

/// Redirects `hosts`, or every host when there are none, to HTTPS at `port`.
///
/// The port is left out where clients come by the standard one: where it is 443, and where it is the
/// configured HTTPS port, which something outside maps 443 to.
fn redirect(port: u16, ports: Ports, hosts: Vec<String>) -> Route {
    let location = if port == ports.http || port == ports.https || port == 443 {
        "https://{http.request.host}{http.request.uri}".to_owned()
    } else {
        format!("https://{{http.request.host}}:{port}{{http.request.uri}}")
    };
    Route {
        r#match: vec![MatcherSet {
            protocol: Some("http".to_owned()),
            host: (!hosts.is_empty()).then_some(hosts),
            ..MatcherSet::default()
        }],
        handle: vec![Handler::StaticResponse(StaticResponse {
            status_code: "308".into(),
            headers: BTreeMap::from([("Location".to_owned(), vec![location])]),
            close: true,
            ..StaticResponse::default()
        })],
        ..Route::default()
    }
}

/// Exact hosts, then wildcards, then every host; longer names first.
fn by_specificity(a: &Route, b: &Route) -> Ordering {
    let key = |route: &Route| {
        let host = route
            .r#match
            .first()
            .and_then(|set| set.host.as_ref()?.first().cloned());
        let host = host.unwrap_or_default();
        (
            host.is_empty(),
            host.contains('*'),
            std::cmp::Reverse(host.len()),
            host,
        )
    };
    key(a).cmp(&key(b))
}
