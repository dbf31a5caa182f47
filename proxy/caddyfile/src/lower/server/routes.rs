//! A site's routes within its server.

use crate::document::{Handler, MatcherSet, Route, Subroute};
use crate::lower::site::{Site, SiteView};

/// The matchers of a site's addresses: hosts, and paths where an address has one.
pub(super) fn matchers(view: &SiteView, sites: &[Site<'_>]) -> Vec<MatcherSet> {
    let mut pairs: Vec<(Vec<String>, String)> = Vec::new();
    let mut matches_all_hosts = false;
    for address in view.addresses(sites) {
        let index = pairs
            .iter()
            .position(|(_, path)| *path == address.path)
            .unwrap_or_else(|| {
                pairs.push((Vec::new(), address.path.clone()));
                pairs.len() - 1
            });
        let hosts = &mut pairs[index].0;
        if address.host.is_empty() && !matches_all_hosts {
            hosts.clear();
            matches_all_hosts = true;
        }
        if !matches_all_hosts && !hosts.contains(&address.host) {
            hosts.push(address.host.clone());
        }
    }
    pairs
        .into_iter()
        .map(|(hosts, path)| MatcherSet {
            host: (!hosts.is_empty()).then_some(hosts),
            path: (!path.is_empty()).then(|| vec![path]),
            ..MatcherSet::default()
        })
        .filter(|set| *set != MatcherSet::default())
        .collect()
}

/// Appends a site's routes, in a subroute for its matchers where that is needed.
pub(super) fn append(
    routes: &mut Vec<Route>,
    own: Vec<Route>,
    matchers: &[MatcherSet],
    is_only_site: bool,
) {
    if matchers.is_empty() && own.is_empty() {
        return;
    }
    // Caddy: a host matcher at the top level would count as a name to get a certificate for.
    let has_host_matcher = own
        .iter()
        .flat_map(|route| &route.r#match)
        .any(|set| set.host.is_some());
    if matchers.is_empty() && is_only_site && !has_host_matcher {
        routes.extend(own);
        return;
    }
    let handle = if own.is_empty() {
        Vec::new()
    } else {
        vec![Handler::Subroute(Subroute {
            routes: own,
            errors: None,
        })]
    };
    routes.push(Route {
        r#match: matchers.to_vec(),
        handle,
        terminal: true,
        ..Route::default()
    });
}
