//! Dial addresses, as Caddy writes network addresses: `HOST:PORT`, `tcp/HOST:PORT`, `unix/PATH`.

use upstream::Address;

/// Why an address cannot be dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// More than one port, which only listeners may have.
    #[error("`{0}` has a range of ports, but a connection goes to one")]
    PortRange(String),
    /// No port, or one that is no number from 1 to 65535.
    #[error("`{0}` has no port from 1 to 65535")]
    Port(String),
    /// A network that HTTP is not spoken over.
    #[error("`{0}` is on a network that is not supported: use `tcp/` or `unix/`")]
    Network(String),
    /// A Unix socket without a path.
    #[error("`{0}` has no path")]
    Path(String),
}

/// Reads a dial address without placeholders.
///
/// # Errors
/// When it cannot be dialled.
pub(crate) fn parse(text: &str) -> Result<Address, AddressError> {
    let (network, rest) = match text.split_once('/') {
        Some((network, rest)) if !network.contains([':', '[']) => (network, rest),
        _ => ("tcp", text),
    };
    match network {
        "tcp" | "tcp4" | "tcp6" => host_and_port(text, rest),
        "unix" => match socket_path(rest) {
            "" => Err(AddressError::Path(text.to_owned())),
            path => Ok(Address::Unix(path.into())),
        },
        _ => Err(AddressError::Network(text.to_owned())),
    }
}

/// A Unix socket's path may be followed by permissions, which concern listeners alone.
fn socket_path(rest: &str) -> &str {
    match rest.rsplit_once('|') {
        Some((path, mode)) if mode.bytes().all(|byte| byte.is_ascii_digit()) => path,
        _ => rest,
    }
}

fn host_and_port(text: &str, rest: &str) -> Result<Address, AddressError> {
    let no_port = || AddressError::Port(text.to_owned());
    let (host, port) = rest.rsplit_once(':').ok_or_else(no_port)?;
    if port.contains('-') {
        return Err(AddressError::PortRange(text.to_owned()));
    }
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']').ok_or_else(no_port)?,
        // Several colons without brackets are an IPv6 address without a port.
        None if host.contains(':') => return Err(no_port()),
        None => host,
    };
    // Go: an empty host is this machine.
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    let port = port
        .parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(no_port)?;
    Ok(Address::Host {
        host: host.into(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dial_addresses_are_read_as_caddy_does() {
        for (text, shown) in [
            ("web:8000", "web:8000"),
            ("tcp/web:8000", "web:8000"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            (":9000", "127.0.0.1:9000"),
            ("unix//run/app.sock", "unix//run/app.sock"),
            ("unix//run/app.sock|0200", "unix//run/app.sock"),
            ("unix/@name", "unix/@name"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_dialled_is_refused() {
        let cases = [
            ("web", AddressError::Port("web".into())),
            ("web:http", AddressError::Port("web:http".into())),
            ("web:0", AddressError::Port("web:0".into())),
            ("::1:80", AddressError::Port("::1:80".into())),
            ("web:80-82", AddressError::PortRange("web:80-82".into())),
            ("udp/web:80", AddressError::Network("udp/web:80".into())),
            ("unix/", AddressError::Path("unix/".into())),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
