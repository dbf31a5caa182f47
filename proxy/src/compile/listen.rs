//! Listening addresses as Caddy writes them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use downstream::ListenAddress;

use super::Scope;

/// Reads one entry of a server's `listen`: `:443`, `127.0.0.1:8080`, `tcp/[::1]:8000-8009`. What
/// cannot be listened on is an error of the document.
pub fn parse(text: &str, scope: &mut Scope) -> Vec<ListenAddress> {
    let text = scope.constant(text);
    match read(&text) {
        Ok(addresses) => addresses,
        Err(problem) => {
            scope.error_with_hint(
                format!("cannot listen on `{text}`: {problem}"),
                "write `:PORT`, `ADDRESS:PORT` or a range of ports such as `:8000-8009`",
            );
            Vec::new()
        }
    }
}

fn read(text: &str) -> Result<Vec<ListenAddress>, &'static str> {
    let text = match text.split_once('/') {
        None => text,
        Some(("tcp" | "tcp4" | "tcp6", rest)) => rest,
        Some(_) => return Err("only TCP is supported"),
    };
    let (host, ports) = text.rsplit_once(':').ok_or("there is no port")?;
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let port = |text: &str| {
        text.parse::<u16>()
            .map_err(|_| "the port is no number up to 65535")
    };
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err("the range of ports ends before it begins");
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let ip: Option<IpAddr> = match host {
        "" | "::" => None,
        "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        host => Some(host.parse().map_err(|_| "the host is no IP address")?),
    };
    let addresses = (first..=last).map(|port| match ip {
        None => ListenAddress::Any(port),
        Some(ip) => ListenAddress::Exact(SocketAddr::new(ip, port)),
    });
    Ok(addresses.collect())
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn addresses_are_read() {
        for (text, expected) in [
            (":443", Ok(":443")),
            ("tcp/127.0.0.1:80", Ok("127.0.0.1:80")),
            ("[::1]:8000-8001", Ok("[::1]:8000 [::1]:8001")),
            ("localhost:80", Ok("127.0.0.1:80")),
            ("unix//run/a.sock", Err("only TCP is supported")),
            ("example.com:80", Err("the host is no IP address")),
            (":a", Err("the port is no number up to 65535")),
            ("a", Err("there is no port")),
        ] {
            let shown = read(text).map(|addresses| {
                addresses
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" ")
            });
            assert_eq!(shown.as_deref().map_err(|error| *error), expected, "{text}");
        }
    }
}
