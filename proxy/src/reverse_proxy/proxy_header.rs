//! Telling an upstream who the client is before the connection says anything else (HAProxy's
//! PROXY protocol).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use caddyfile::document::HttpTransport;

/// What begins each header of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, a connection that is forwarded.
const FORWARDED: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// The version of the header that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProxyHeader {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl ProxyHeader {
    /// What the transport asks for; the outer `None` is no version.
    pub(super) fn of(transport: &HttpTransport) -> Option<Option<Self>> {
        match transport.proxy_protocol.as_str() {
            "" => Some(None),
            "v1" => Some(Some(Self::V1)),
            "v2" => Some(Some(Self::V2)),
            _ => None,
        }
    }

    /// The header of a connection from `client` that reached the proxy at `local`.
    pub(super) fn encode(self, client: SocketAddr, local: SocketAddr) -> Vec<u8> {
        let (client_ip, local_ip) = same_family(client.ip(), local.ip());
        match self {
            Self::V1 => {
                let family = if client_ip.is_ipv4() { "TCP4" } else { "TCP6" };
                let (from, to) = (client.port(), local.port());
                format!("PROXY {family} {client_ip} {local_ip} {from} {to}\r\n").into_bytes()
            }
            Self::V2 => {
                let mut addresses = Vec::with_capacity(36);
                for ip in [client_ip, local_ip] {
                    match ip {
                        IpAddr::V4(ip) => addresses.extend_from_slice(&ip.octets()),
                        IpAddr::V6(ip) => addresses.extend_from_slice(&ip.octets()),
                    }
                }
                for port in [client.port(), local.port()] {
                    addresses.extend_from_slice(&port.to_be_bytes());
                }
                let family = match client_ip {
                    IpAddr::V4(_) => TCP_OVER_IPV4,
                    IpAddr::V6(_) => TCP_OVER_IPV6,
                };
                let mut header = SIGNATURE.to_vec();
                header.extend_from_slice(&[FORWARDED, family, 0]);
                // 12 or 36 bytes.
                header.push(u8::try_from(addresses.len()).unwrap_or(u8::MAX));
                header.extend_from_slice(&addresses);
                header
            }
        }
    }
}

/// Both addresses as IPv4, or else both as IPv6, since a header has one family.
fn same_family(one: IpAddr, other: IpAddr) -> (IpAddr, IpAddr) {
    match (one.to_canonical(), other.to_canonical()) {
        (one @ IpAddr::V4(_), other @ IpAddr::V4(_)) => (one, other),
        (one, other) => (mapped(one).into(), mapped(other).into()),
    }
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(header: ProxyHeader, client: &str, local: &str) -> Vec<u8> {
        header.encode(client.parse().unwrap(), local.parse().unwrap())
    }

    #[test]
    fn version_1_is_a_line() {
        for (client, local, line) in [
            (
                "192.0.2.1:5",
                "198.51.100.1:443",
                "PROXY TCP4 192.0.2.1 198.51.100.1 5 443\r\n",
            ),
            (
                "[2001:db8::1]:5",
                "[2001:db8::2]:443",
                "PROXY TCP6 2001:db8::1 2001:db8::2 5 443\r\n",
            ),
            (
                "[::ffff:192.0.2.1]:5",
                "198.51.100.1:443",
                "PROXY TCP4 192.0.2.1 198.51.100.1 5 443\r\n",
            ),
            (
                "[2001:db8::1]:5",
                "198.51.100.1:443",
                "PROXY TCP6 2001:db8::1 ::ffff:198.51.100.1 5 443\r\n",
            ),
        ] {
            let encoded = encode(ProxyHeader::V1, client, local);
            assert_eq!(String::from_utf8(encoded).unwrap(), line);
        }
    }

    #[test]
    fn version_2_is_binary() {
        let encoded = encode(ProxyHeader::V2, "192.0.2.1:258", "198.51.100.1:443");
        let mut expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        expected.extend_from_slice(&[192, 0, 2, 1, 198, 51, 100, 1, 1, 2, 1, 187]);
        assert_eq!(encoded, expected);
        let encoded = encode(ProxyHeader::V2, "[2001:db8::1]:1", "[2001:db8::2]:2");
        assert_eq!(encoded[13..16], [0x21, 0, 36]);
        assert_eq!(encoded.len(), 16 + 36);
    }
}
