//! Who the client is behind trusted proxies.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};

use crate::exchange::split_host_port;
use crate::matcher::address::Ranges;

/// How a server finds the client's address.
#[derive(Debug, Default)]
pub struct ClientAddress {
    /// Proxies whose forwarding fields are believed.
    pub trusted: Ranges,
    /// Fields that give the address, in the order they are asked; empty is `X-Forwarded-For`.
    pub fields: Box<[HeaderName]>,
    /// Whether addresses are read from the right and trusted ones passed over, so that a client
    /// cannot put one of its own in front.
    pub is_strict: bool,
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

impl ClientAddress {
    /// The client's address, and whether the connection comes from a trusted proxy.
    pub fn find(&self, peer: IpAddr, headers: &HeaderMap) -> (IpAddr, bool) {
        if self.trusted.is_empty() || !self.trusted.contain_fixed(peer) {
            return (peer, false);
        }
        let default = [FORWARDED_FOR];
        let fields = if self.fields.is_empty() {
            &default
        } else {
            &*self.fields
        };
        let found = fields.iter().find_map(|field| {
            let values = headers
                .get_all(field)
                .iter()
                .filter_map(|value| value.to_str().ok());
            let mut addresses = values.flat_map(|value| value.split(','));
            if self.is_strict {
                self.rightmost(&addresses.collect::<Vec<_>>())
            } else {
                addresses.find_map(parse)
            }
        });
        (found.unwrap_or(peer), true)
    }

    /// The rightmost address that no trusted proxy has. Where one cannot be read, what is left of
    /// it is not to be believed either.
    fn rightmost(&self, addresses: &[&str]) -> Option<IpAddr> {
        for address in addresses.iter().rev() {
            let address = parse(address)?;
            if !self.trusted.contain_fixed(address) {
                return Some(address);
            }
        }
        None
    }
}

/// Reads an address, which may have a port and a zone.
fn parse(text: &str) -> Option<IpAddr> {
    let (host, _) = split_host_port(text.trim());
    let host = host.split_once('%').map_or(host, |(host, _)| host);
    host.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use http::HeaderMap;

    use super::{ClientAddress, FORWARDED_FOR};
    use crate::compile::{CompileContext, Scope};
    use crate::matcher::address::Ranges;

    fn find(is_strict: bool, peer: &str, forwarded: &[&str]) -> (IpAddr, bool) {
        let mut scope = Scope::new("", CompileContext::default());
        let trusted = Ranges::compile(&["10.0.0.0/8".to_owned()], &mut scope);
        let address = ClientAddress {
            trusted,
            is_strict,
            ..ClientAddress::default()
        };
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        address.find(peer.parse().unwrap(), &headers)
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        for (is_strict, peer, forwarded, expected, is_trusted) in [
            (
                false,
                "192.0.2.1",
                &["198.51.100.1"][..],
                "192.0.2.1",
                false,
            ),
            (
                false,
                "10.0.0.1",
                &["198.51.100.1, 10.0.0.2"],
                "198.51.100.1",
                true,
            ),
            (
                false,
                "10.0.0.1",
                &["x, 198.51.100.1"],
                "198.51.100.1",
                true,
            ),
            (false, "10.0.0.1", &[], "10.0.0.1", true),
            (
                true,
                "10.0.0.1",
                &["1.1.1.1, 198.51.100.1, 10.0.0.2"],
                "198.51.100.1",
                true,
            ),
            (
                true,
                "10.0.0.1",
                &["1.1.1.1", "198.51.100.1:80"],
                "198.51.100.1",
                true,
            ),
            (true, "10.0.0.1", &["1.1.1.1, x"], "10.0.0.1", true),
            (true, "10.0.0.1", &["10.0.0.9"], "10.0.0.1", true),
            (
                false,
                "10.0.0.1",
                &["[2001:db8::1]:80"],
                "2001:db8::1",
                true,
            ),
        ] {
            let expected = (expected.parse().unwrap(), is_trusted);
            assert_eq!(find(is_strict, peer, forwarded), expected, "{forwarded:?}");
        }
    }
}
