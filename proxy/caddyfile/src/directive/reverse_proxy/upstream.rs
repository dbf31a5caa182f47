//! Upstream addresses.

use crate::diagnostic::Diagnostic;
use crate::document::Upstream;
use crate::token::Token;

/// Upstreams of one port range at most, so that a typing error does not fill the memory.
const MAX_PORT_RANGE: u16 = 10_000;

/// The scheme that all upstreams of a proxy share; empty is none.
#[derive(Debug, Default)]
pub(super) struct Scheme(String);

impl Scheme {
    /// Adds the upstreams that `token` names: one, or as many as its port range has ports.
    pub(super) fn add_upstream(
        &mut self,
        token: &Token,
        upstreams: &mut Vec<Upstream>,
    ) -> Result<(), Diagnostic> {
        let error = |message: String| {
            let message = format!("parsing upstream `{}`: {message}", token.text);
            Diagnostic::error_at(token, message)
        };
        let address = Address::parse(&token.text).map_err(error)?;
        match address.scheme.as_str() {
            "" | "http" | "https" | "h2c" => {}
            "ws" | "wss" => {
                let help = "WebSockets need nothing special: use http:// or https://";
                let message = format!(
                    "the scheme {}:// is only supported in browsers; use {}:// instead",
                    address.scheme,
                    if address.scheme == "ws" {
                        "http"
                    } else {
                        "https"
                    },
                );
                return Err(error(message).with_help(help));
            }
            other => return Err(error(format!("unsupported URL scheme {other}://"))),
        }
        if !self.0.is_empty() && address.scheme != self.0 {
            let message = format!(
                "for now, all proxy upstreams must use the same scheme (transport protocol); \
                 expecting '{}://' but got '{}://'",
                self.0, address.scheme
            );
            return Err(error(message));
        }
        self.0.clone_from(&address.scheme);

        for dial in address.dials().map_err(error)? {
            upstreams.push(Upstream {
                dial,
                max_requests: 0,
            });
        }
        Ok(())
    }

    /// The scheme's name.
    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, Default)]
struct Address {
    /// Such as `unix`; empty is TCP.
    network: String,
    scheme: String,
    host: String,
    port: String,
}

impl Address {
    fn parse(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            return Self::parse_url(text);
        }
        let mut address = Self::parse_network(text);
        let takes_port = !address.host.contains('{')
            && !address.network.starts_with("unix")
            && !address.network.starts_with("fd");
        if address.port.is_empty() && takes_port {
            address.port = "80".to_owned();
        }
        if address.network == "unix+h2c" {
            address.network = "unix".to_owned();
            address.scheme = "h2c".to_owned();
        }
        Ok(address)
    }

    fn parse_url(text: &str) -> Result<Self, String> {
        if text.contains('{') {
            return Err(
                "due to parsing difficulties, placeholders are not allowed when an \
                        upstream address contains a scheme"
                    .to_owned(),
            );
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        if rest.contains(['/', '?', '#']) {
            return Err(
                "for now, URLs for proxy upstreams only support scheme, host, and port \
                        components"
                    .to_owned(),
            );
        }
        let (host, port) = split_host_port(rest).unwrap_or((rest, ""));
        let conflict = match (scheme, port) {
            ("http" | "h2c", "443") => Some("the HTTPS port"),
            ("https", "80") => Some("the HTTP port"),
            _ => None,
        };
        if let Some(what) = conflict {
            return Err(format!(
                "upstream address has conflicting scheme ({scheme}://) and port (:{port}, {what})"
            ));
        }
        let port = match (port, scheme) {
            ("", "" | "http" | "h2c") => "80",
            ("", "https") => "443",
            _ => port,
        };
        Ok(Self {
            network: String::new(),
            scheme: scheme.to_ascii_lowercase(),
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: port.to_owned(),
        })
    }

    fn parse_network(text: &str) -> Self {
        let (network, rest) = match text.split_once('/') {
            Some((network, rest)) => (network.trim().to_ascii_lowercase(), rest),
            None => (String::new(), text),
        };
        if network.starts_with("unix") || network.starts_with("fd") {
            return Self {
                network,
                host: rest.to_owned(),
                ..Self::default()
            };
        }
        match split_host_port(rest) {
            Some((host, port)) => Self {
                network,
                host: host.to_owned(),
                port: port.to_owned(),
                scheme: String::new(),
            },
            None if network.is_empty() || !rest.is_empty() => {
                let host = rest
                    .trim_start_matches('[')
                    .trim_end_matches(']')
                    .to_owned();
                Self {
                    network,
                    host,
                    ..Self::default()
                }
            }
            None => Self {
                host: text.to_owned(),
                ..Self::default()
            },
        }
    }

    fn dials(&self) -> Result<Vec<String>, String> {
        let is_socket = self.network.starts_with("unix") || self.network.starts_with("fd");
        let is_placeholder = self.port.contains('{') && self.port.contains('}');
        let Some((first, last)) = self.port.split_once('-') else {
            if !self.port.is_empty() && !is_placeholder && !is_socket {
                self.port
                    .parse::<u16>()
                    .map_err(|_| format!("invalid port `{}`", self.port))?;
            }
            return Ok(vec![self.dial(&self.port)]);
        };
        if is_placeholder || is_socket {
            return Ok(vec![self.dial(&self.port)]);
        }
        let port = |text: &str| -> Result<u16, String> {
            text.parse().map_err(|_| format!("invalid port `{text}`"))
        };
        let (first, last) = (port(first)?, port(last)?);
        if last < first {
            return Err("end port must not be less than start port".to_owned());
        }
        if last - first > MAX_PORT_RANGE {
            return Err(format!("port range has more than {MAX_PORT_RANGE} ports"));
        }
        let without_network = Self {
            network: String::new(),
            host: self.host.clone(),
            ..Self::default()
        };
        Ok((first..=last)
            .map(|port| without_network.dial(&port.to_string()))
            .collect())
    }

    fn dial(&self, port: &str) -> String {
        let host_port = if port.is_empty() && (self.host.contains('{') || !self.network.is_empty())
        {
            self.host.clone()
        } else if self.host.contains(':') {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        };
        if self.network.is_empty() {
            host_port
        } else {
            format!("{}/{host_port}", self.network)
        }
    }
}

/// Host and port around the last colon; brackets of IPv6 addresses are removed.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    if let Some(inner) = text.strip_prefix('[') {
        let (host, rest) = inner.split_once(']')?;
        return Some((host, rest.strip_prefix(':')?));
    }
    // A colon inside a placeholder with a default is none of a port.
    let (host, port) = match text.rfind('}') {
        Some(end) if !text[end..].contains(':') => {
            let start = text.rfind('{')?;
            let colon = text[..start].rfind(':')?;
            (&text[..colon], &text[colon + 1..])
        }
        _ => text.rsplit_once(':')?,
    };
    (!host.contains(':') || host.contains('{')).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dials(text: &str) -> Result<Vec<String>, String> {
        Address::parse(text)?.dials()
    }

    #[test]
    fn ports_come_from_address_scheme_or_default() {
        let one = |dial: &str| Ok(vec![dial.to_owned()]);
        assert_eq!(dials("web"), one("web:80"));
        assert_eq!(dials("web:8000"), one("web:8000"));
        assert_eq!(dials(":8000"), one(":8000"));
        assert_eq!(dials("http://web"), one("web:80"));
        assert_eq!(dials("https://web"), one("web:443"));
        assert_eq!(dials("[::1]:80"), one("[::1]:80"));
        assert_eq!(dials("https://[::1]"), one("[::1]:443"));
        assert_eq!(dials("unix//run/app.sock"), one("unix//run/app.sock"));
        assert_eq!(dials("{env.HOST}:80"), one("{env.HOST}:80"));
        assert_eq!(dials("{http.vars.upstream}"), one("{http.vars.upstream}"));
        assert_eq!(dials("web:{http.vars.port}"), one("web:{http.vars.port}"));
    }

    #[test]
    fn port_ranges_are_upstreams_each() {
        let expected = ["web:8001", "web:8002"].map(str::to_owned).to_vec();
        assert_eq!(dials("web:8001-8002"), Ok(expected.clone()));
        assert_eq!(dials("http://web:8001-8002"), Ok(expected));
        assert!(dials("web:2-1").is_err());
    }

    #[test]
    fn paths_and_odd_ports_are_refused() {
        assert!(dials("http://web/path").is_err());
        assert!(dials("http://web:443").is_err());
        assert!(dials("http://{host}").is_err());
        assert!(dials("web:http").is_err());
    }
}
