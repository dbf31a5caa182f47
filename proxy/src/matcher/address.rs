//! The `remote_ip` and `client_ip` matchers, and sets of addresses in general.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::cloudflare;
use crate::compile::Scope;
use crate::exchange::Exchange;
use crate::placeholder::{Template, Unknown};

/// A set of addresses.
#[derive(Debug, Default)]
pub struct Ranges {
    networks: Box<[IpNet]>,
    templates: Box<[Template]>,
    has_cloudflare: bool,
}

/// What `private_ranges` stands for.
const PRIVATE: [&str; 6] = [
    "192.168.0.0/16",
    "172.16.0.0/12",
    "10.0.0.0/8",
    "127.0.0.1/8",
    "fd00::/8",
    "::1",
];

impl Ranges {
    /// Compiles addresses and ranges such as `10.0.0.0/8`, which may be placeholders.
    pub fn compile(ranges: &[String], scope: &mut Scope) -> Self {
        let mut networks = Vec::new();
        let mut templates = Vec::new();
        for range in ranges {
            if range == "private_ranges" {
                networks.extend(PRIVATE.iter().filter_map(|range| parse(range)));
                continue;
            }
            let template = scope.template(range, Unknown::Empty);
            match template.as_literal().map(parse) {
                None => templates.push(template),
                Some(Some(network)) => networks.push(network),
                Some(None) => scope.error_with_hint(
                    format!("`{range}` is no IP address or range"),
                    "write an address such as 192.0.2.1, or a range such as 192.0.2.0/24",
                ),
            }
        }
        Self {
            networks: networks.into(),
            templates: templates.into(),
            has_cloudflare: false,
        }
    }

    /// The addresses of Cloudflare, as they are at the time.
    pub fn cloudflare() -> Self {
        cloudflare::note_use();
        Self {
            has_cloudflare: true,
            ..Self::default()
        }
    }

    /// Whether the set has no addresses.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.templates.is_empty() && !self.has_cloudflare
    }

    /// Whether `ip` is in one of the fixed ranges.
    pub fn contain_fixed(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&ip))
            || (self.has_cloudflare && cloudflare::contains(ip))
    }

    /// Whether `ip` is in the set.
    pub fn contain(&self, ip: IpAddr, exchange: &Exchange) -> bool {
        self.contain_fixed(ip)
            || self.templates.iter().any(|template| {
                // A placeholder may hold several ranges.
                let text = template.expand(exchange);
                text.split([',', ' '])
                    .filter_map(parse)
                    .any(|network| network.contains(&ip))
            })
    }
}

/// Reads an address, with its zone left aside, or a range.
fn parse(text: &str) -> Option<IpNet> {
    let text = text.trim();
    match text.split_once('/') {
        Some(_) => text.parse().ok(),
        None => {
            let address = text.split_once('%').map_or(text, |(address, _)| address);
            address.parse::<IpAddr>().ok().map(IpNet::from)
        }
    }
}
