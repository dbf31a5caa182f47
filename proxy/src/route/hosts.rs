//! Finds a server's next route by the request's host, so that ten thousand sites cost as much as
//! ten.

use std::collections::HashMap;
use std::sync::Arc;

use caddyfile::document;

use crate::matcher::host::lower_case;
use crate::matcher::host::{Wildcard, to_ascii};

/// Which of a server's routes may be for a host, and where they begin.
#[derive(Debug)]
pub(super) struct HostTable {
    routes: Arc<Index>,
}

/// Routes by host; each list is in the order of the routes.
#[derive(Debug, Default)]
pub(super) struct Index {
    exact: HashMap<Box<str>, Vec<u32>>,
    /// By what follows the wildcard label.
    wildcard: HashMap<Box<str>, Vec<u32>>,
    /// Routes that are not found by host alone.
    any: Vec<u32>,
    /// Where each route begins; the last entry is the end of all.
    begins: Vec<usize>,
}

impl HostTable {
    pub(super) fn new(routes: Arc<Index>) -> Self {
        Self { routes }
    }

    /// Where the next route for `host` begins, at or after route `from`.
    pub(super) fn next(&self, host: &str, from: u32) -> usize {
        let host = &*lower_case(host);
        let index = &*self.routes;
        let suffix = host.split_once('.').map(|(_, suffix)| suffix);
        let lists = [
            index.exact.get(host),
            suffix.and_then(|suffix| index.wildcard.get(suffix)),
            Some(&index.any),
        ];
        let next = lists
            .into_iter()
            .flatten()
            .filter_map(|list| first_from(list, from))
            .min();
        let route = next.map_or(index.begins.len() - 1, |route| route as usize);
        index.begins[route]
    }
}

impl Index {
    /// Sorts routes by the hosts of their matchers.
    pub(super) fn new(routes: &[document::Route], begins: Vec<usize>) -> Self {
        let mut index = Self {
            begins,
            ..Self::default()
        };
        for (number, route) in (0..).zip(routes) {
            index.add(number, route);
        }
        index
    }

    fn add(&mut self, number: u32, route: &document::Route) {
        let places: Option<Vec<Place>> =
            hosts(route).and_then(|hosts| hosts.into_iter().map(place).collect());
        let Some(places) = places else {
            self.any.push(number);
            return;
        };
        for place in places {
            let list = match place {
                Place::Exact(host) => self.exact.entry(host).or_default(),
                Place::Wildcard(suffix) => self.wildcard.entry(suffix).or_default(),
            };
            if list.last() != Some(&number) {
                list.push(number);
            }
        }
    }
}

enum Place {
    Exact(Box<str>),
    Wildcard(Box<str>),
}

/// The hosts that a route is for; `None` if it may be for others too.
pub(super) fn hosts(route: &document::Route) -> Option<Vec<&str>> {
    if route.r#match.is_empty() {
        return None;
    }
    let mut hosts = Vec::new();
    for set in &route.r#match {
        hosts.extend(set.host.as_ref()?.iter().map(String::as_str));
    }
    Some(hosts)
}

/// Where a host is looked up; `None` for placeholders, and for wildcards elsewhere than in front.
fn place(host: &str) -> Option<Place> {
    if host.contains('{') {
        return None;
    }
    if host.contains('*') {
        return Wildcard::new(host)
            .suffix()
            .map(|suffix| Place::Wildcard(suffix.into()));
    }
    Some(Place::Exact(to_ascii(host).into()))
}

/// Whether the table decides about a route's hosts, so that its matchers need not look at the host
/// again.
pub(super) fn is_decided_by_host(route: &document::Route) -> bool {
    let [set] = route.r#match.as_slice() else {
        return false;
    };
    let hosts = set.host.as_deref().unwrap_or_default();
    !hosts.is_empty() && hosts.iter().all(|host| place(host).is_some())
}

fn first_from(list: &[u32], from: u32) -> Option<u32> {
    list.get(list.partition_point(|&route| route < from))
        .copied()
}
