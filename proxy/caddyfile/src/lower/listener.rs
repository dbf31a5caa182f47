//! Which addresses are listened on, and which sites are served there.
//! Caddy: `httpcaddyfile/addresses.go`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::site::{Site, SiteView};
use crate::address::Scheme;
use crate::diagnostic::Diagnostic;
use crate::directive::{Bind, State};
use crate::options::Options;

/// Sites that share listeners: what becomes a server.
#[derive(Debug)]
pub(super) struct Association {
    /// Network addresses, sorted.
    pub(super) addresses: Vec<String>,
    /// Protocols by position in `addresses`; an empty one is the default.
    pub(super) protocols: Vec<Vec<String>>,
    /// The sites, at first in the order of the file.
    pub(super) sites: Vec<SiteView>,
}

impl Association {
    /// Whether anything is listened on besides `port`.
    pub(super) fn uses_port_besides(&self, port: u16) -> bool {
        uses_port_besides(&self.addresses, port)
    }
}

/// Whether an address of `addresses` has a port other than `port`.
pub(super) fn uses_port_besides(addresses: &[String], port: u16) -> bool {
    // Caddy: sockets without a port count as port 0.
    addresses.iter().any(|address| {
        let own = address
            .rsplit_once(':')
            .and_then(|(_, own)| own.parse::<u16>().ok());
        own.unwrap_or(0) != port
    })
}

/// Groups sites by the addresses that they are served on.
///
/// `None` if an address has no meaning.
pub(super) fn associate(
    sites: &[Site<'_>],
    options: &Options,
    state: &mut State,
) -> Option<Vec<Association>> {
    // Address, then protocol, then sites.
    let mut listeners: BTreeMap<String, BTreeMap<String, Vec<SiteView>>> = BTreeMap::new();
    let mut is_valid = true;
    for (index, site) in sites.iter().enumerate() {
        let mut own: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
        for key in 0..site.keys.len() {
            match listeners_of(site, key, options) {
                Ok(found) => {
                    for listener in found {
                        own.entry(listener).or_default().push(key);
                    }
                }
                Err(diagnostic) => {
                    state.diagnostics.push(diagnostic);
                    is_valid = false;
                }
            }
        }
        for ((address, protocol), keys) in own {
            let protocols = listeners.entry(address).or_default();
            protocols
                .entry(protocol)
                .or_default()
                .push(SiteView { site: index, keys });
        }
    }
    is_valid.then(|| consolidate(listeners))
}

/// Merges listeners that serve exactly the same.
fn consolidate(listeners: BTreeMap<String, BTreeMap<String, Vec<SiteView>>>) -> Vec<Association> {
    // By what they serve: the addresses, each with its protocols.
    let mut alike: HashMap<&[SiteView], BTreeMap<&str, Vec<&str>>> = HashMap::new();
    for (address, protocols) in &listeners {
        for (protocol, sites) in protocols {
            let addresses = alike.entry(sites).or_default();
            addresses.entry(address).or_default().push(protocol);
        }
    }
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let mut associations = Vec::new();
    let mut merged: HashSet<(&str, &str)> = HashSet::new();
    for (address, protocols) in &listeners {
        let is_left = |protocol: &&String| !merged.contains(&(address.as_str(), protocol.as_str()));
        let left: Vec<&String> = protocols.keys().filter(is_left).collect();
        for protocol in left {
            // Caddy: a protocol that was merged with another one of the same address leaves a
            // server without listeners behind.
            let mut association = Association {
                addresses: Vec::new(),
                protocols: Vec::new(),
                sites: Vec::new(),
            };
            if !merged.contains(&(address.as_str(), protocol.as_str())) {
                let sites = &protocols[protocol];
                association.sites.clone_from(sites);
                for (other, protocols) in &alike[&**sites] {
                    association.addresses.push((*other).to_owned());
                    association.protocols.push(owned(protocols));
                    merged.extend(protocols.iter().map(|protocol| (*other, *protocol)));
                }
            }
            associations.push(association);
        }
    }
    associations
}

/// The addresses and protocols that one address of a site is served on.
fn listeners_of(
    site: &Site<'_>,
    key: usize,
    options: &Options,
) -> Result<BTreeSet<(String, String)>, Diagnostic> {
    let (token, address) = &site.keys[key];
    let http_port = options.http_port();
    let https_port = options.https_port();
    let port = match (address.port, address.scheme) {
        (Some(port), _) => port,
        (None, Some(Scheme::Http)) => http_port,
        (None, Some(Scheme::Https) | None) => https_port,
    };
    let violates = match address.scheme {
        Some(Scheme::Http) => port == https_port,
        Some(Scheme::Https) => port == http_port,
        None => false,
    };
    if violates {
        let message = format!("[{address}] scheme and port violate convention");
        return Err(Diagnostic::error_at(token, message).with_help(
            "HTTP has port 80 and HTTPS port 443, or the ports of `http_port` and `https_port`",
        ));
    }

    let everywhere = [Bind {
        addresses: vec![String::new()],
        protocols: Vec::new(),
    }];
    let binds = if !site.binds.is_empty() {
        site.binds.as_slice()
    } else if !options.default_bind.is_empty() {
        options.default_bind.as_slice()
    } else {
        everywhere.as_slice()
    };
    let mut listeners = BTreeSet::new();
    for bind in binds {
        for host in &bind.addresses {
            let address = network_address(host, port)
                .map_err(|message| Diagnostic::error_at(token, message))?;
            if bind.protocols.is_empty() {
                listeners.insert((address.clone(), String::new()));
            }
            for protocol in &bind.protocols {
                listeners.insert((address.clone(), protocol.clone()));
            }
        }
    }
    Ok(listeners)
}

/// A host, perhaps behind a network (`udp/`, `unix/`), with a port, as Caddy writes it.
fn network_address(host: &str, port: u16) -> Result<String, String> {
    let (network, host) = match host.split_once('/') {
        Some((network, rest)) => (network.trim().to_ascii_lowercase(), rest),
        None => (String::new(), host),
    };
    if network.starts_with("unix") || network.starts_with("fd") {
        return Ok(format!("{network}/{host}"));
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.contains(['[', ']']) {
        return Err(format!("invalid listen address `{host}`"));
    }
    let joined = if bare.contains(':') {
        format!("[{bare}]:{port}")
    } else {
        format!("{bare}:{port}")
    };
    Ok(match network.as_str() {
        "" | "tcp" => joined,
        other => format!("{other}/{joined}"),
    })
}
