//! A site: a server block with what its directives yielded.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::{Scheme, SiteAddress};
use crate::directive::{Bind, Outcome, SiteLog, SiteTls};
use crate::document::{CertificateAuthority, Route};
use crate::token::Token;

/// A server block.
#[derive(Debug, Default)]
pub(super) struct Site<'t> {
    /// Its addresses, with the tokens they were read from.
    pub(super) keys: Vec<(&'t Token, SiteAddress)>,
    pub(super) authorities: Vec<(String, CertificateAuthority)>,
    pub(super) binds: Vec<Bind>,
    pub(super) error_routes: Vec<Route>,
    /// Named routes that are invoked, with a place for each.
    pub(super) invoked: BTreeMap<String, Token>,
    pub(super) logs: Vec<SiteLog>,
    /// Routes that are neither sorted nor grouped.
    pub(super) routes: Vec<Outcome<'t>>,
    pub(super) tls: Vec<SiteTls>,
}

/// A site as one listener has it: only some of the addresses may be served there.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct SiteView {
    /// Position of the site in the file.
    pub(super) site: usize,
    /// Positions of the addresses in the site.
    pub(super) keys: Vec<usize>,
}

impl SiteView {
    /// The addresses that are served here.
    pub(super) fn addresses<'s>(
        &'s self,
        sites: &'s [Site<'_>],
    ) -> impl Iterator<Item = &'s SiteAddress> + Clone {
        let keys = &sites[self.site].keys;
        self.keys.iter().map(move |key| &keys[*key].1)
    }

    /// The hosts; none where an address has no host and so stands for all.
    pub(super) fn hosts(&self, sites: &[Site<'_>]) -> Vec<String> {
        if self.has_catch_all(sites) {
            return Vec::new();
        }
        unique(self.addresses(sites).map(|address| address.host.clone()))
    }

    /// The hosts for logs: those of all addresses that have one, with unusual ports.
    pub(super) fn log_hosts(&self, sites: &[Site<'_>]) -> Vec<String> {
        let with_host = self
            .addresses(sites)
            .filter(|address| !address.host.is_empty());
        unique(with_host.map(|address| match address.port {
            Some(port) if port != 80 && port != 443 => {
                if address.host.contains(':') {
                    format!("[{}]:{port}", address.host)
                } else {
                    format!("{}:{port}", address.host)
                }
            }
            _ => address.host.clone(),
        }))
    }

    /// The hosts of addresses that are not plain HTTP, sorted.
    pub(super) fn hosts_not_http(&self, sites: &[Site<'_>], http_port: u16) -> Vec<String> {
        let addresses = self.addresses(sites).filter(|address| {
            !address.host.is_empty()
                && address.scheme != Some(Scheme::Http)
                && address.port != Some(http_port)
        });
        unique(addresses.map(|address| address.host.clone()))
    }

    /// Whether an address has no host.
    pub(super) fn has_catch_all(&self, sites: &[Site<'_>]) -> bool {
        self.addresses(sites).any(|address| address.host.is_empty())
    }

    /// Whether every address says `http://`.
    pub(super) fn is_all_http(&self, sites: &[Site<'_>]) -> bool {
        self.addresses(sites)
            .all(|address| address.scheme == Some(Scheme::Http))
    }
}

/// How specific a host or path is: its length without wildcards and placeholders.
pub(super) fn specificity(text: &str) -> usize {
    let wildcards = text.matches('*').count();
    let mut length = text.len() - wildcards;
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let Some(end) = rest[start..].find('}').map(|end| start + end + 1) else {
            break;
        };
        length = length.saturating_sub(end - start);
        rest = &rest[end..];
    }
    length
}

fn unique(hosts: impl Iterator<Item = String>) -> Vec<String> {
    hosts.collect::<BTreeSet<String>>().into_iter().collect()
}
