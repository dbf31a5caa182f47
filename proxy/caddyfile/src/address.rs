//! Site addresses: `example.com`, `http://localhost:8080`, `*.example.com`, `:443`, `[::1]`.
//!
//! Caddy: `ParseAddress` and `Normalize` in `httpcaddyfile/addresses.go`. Names in other scripts
//! stay as written, as in Caddy's document.

use std::fmt;
use std::net::Ipv6Addr;

use crate::diagnostic::Diagnostic;
use crate::token::Token;

/// A site address in normal form: lower case except for placeholders, IPv6 addresses shortened and
/// without brackets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SiteAddress {
    /// What says whether it is about HTTPS, if it was written.
    pub scheme: Option<Scheme>,
    /// Name, wildcard, address or placeholder; empty for any host.
    pub host: String,
    /// The port, if it was written.
    pub port: Option<u16>,
    /// The path with its `/`; empty if there is none. Caddy has it for its deprecated matcher.
    pub path: String,
}

/// The scheme of a [`SiteAddress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http://`
    Http,
    /// `https://`
    Https,
}

impl SiteAddress {
    /// Parses the key of a server block.
    ///
    /// # Errors
    /// The port is no number up to 65535, or the scheme is not HTTP or HTTPS.
    pub fn parse(key: &Token) -> Result<Self, Diagnostic> {
        Self::from_text(&key.text).map_err(|diagnostic| diagnostic.at(key))
    }

    fn from_text(text: &str) -> Result<Self, Diagnostic> {
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        let (host_and_port, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let (host, port) = split_host_port(host_and_port);
        Ok(Self {
            port: parse_port(port)?,
            scheme: scheme.map(parse_scheme).transpose()?,
            host: normal_host(host),
            path: path.to_owned(),
        })
    }

    /// Whether the host is an IP address.
    #[must_use]
    pub fn is_ip(&self) -> bool {
        self.host.parse::<std::net::IpAddr>().is_ok()
    }
}

/// The address as a URL; the scheme is the one that the port suggests if none was written.
impl fmt::Display for SiteAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.is_empty() && self.port.is_none() {
            return Ok(());
        }
        let by_port = if self.port == Some(443) {
            Scheme::Https
        } else {
            Scheme::Http
        };
        let (name, default_port) = match self.scheme.unwrap_or(by_port) {
            Scheme::Http => ("http", 80),
            Scheme::Https => ("https", 443),
        };
        write!(formatter, "{name}://")?;
        match self.port {
            Some(port) if port != default_port && self.host.contains(':') => {
                write!(formatter, "[{}]:{port}", self.host)?;
            }
            Some(port) if port != default_port => write!(formatter, "{}:{port}", self.host)?,
            _ => formatter.write_str(&self.host)?,
        }
        formatter.write_str(&self.path)
    }
}

fn parse_scheme(scheme: &str) -> Result<Scheme, Diagnostic> {
    let message = match scheme.to_lowercase().as_str() {
        "http" => return Ok(Scheme::Http),
        "https" => return Ok(Scheme::Https),
        "ws" => "the scheme ws:// is only supported in browsers; use http:// instead".to_owned(),
        "wss" => "the scheme wss:// is only supported in browsers; use https:// instead".to_owned(),
        scheme => format!("unsupported URL scheme {scheme}://"),
    };
    Err(Diagnostic::error(message))
}

fn parse_port(port: &str) -> Result<Option<u16>, Diagnostic> {
    if port.is_empty() {
        return Ok(None);
    }
    let number: i64 = port.parse().map_err(|_| {
        let diagnostic = Diagnostic::error(format!("invalid port `{port}`"));
        if port.starts_with('{') {
            return diagnostic.with_help(
                "a port cannot be a placeholder; an environment variable is written `{$NAME}`",
            );
        }
        diagnostic
    })?;
    let out_of_range = |_| Diagnostic::error(format!("port {number} is out of range"));
    u16::try_from(number).map(Some).map_err(out_of_range)
}

/// Splits at the colon before the port; colons of an IPv6 address do not count.
fn split_host_port(text: &str) -> (&str, &str) {
    if let Some(bracketed) = text.strip_prefix('[') {
        return match bracketed.split_once(']') {
            Some((host, "")) => (host, ""),
            Some((host, rest)) => match rest.strip_prefix(':') {
                Some(port) if !port.contains(':') => (host, port),
                _ => (text, ""),
            },
            None => (text, ""),
        };
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, port),
        _ => (text, ""),
    }
}

fn normal_host(host: &str) -> String {
    let host = host.trim();
    match host.parse::<Ipv6Addr>() {
        Ok(address) if address.to_ipv4_mapped().is_none() => address.to_string(),
        _ => lower_except_placeholders(host),
    }
}

fn lower_except_placeholders(text: &str) -> String {
    let mut nesting = 0_usize;
    let mut lowered = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '{' => nesting += 1,
            '}' => nesting = nesting.saturating_sub(1),
            _ => {}
        }
        if nesting > 0 {
            lowered.push(character);
        } else {
            lowered.extend(character.to_lowercase());
        }
    }
    lowered
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> (Option<Scheme>, String, Option<u16>, String) {
        let SiteAddress {
            scheme,
            host,
            port,
            path,
        } = SiteAddress::from_text(text).expect("the address is right");
        (scheme, host, port, path)
    }

    fn error(text: &str) -> String {
        SiteAddress::from_text(text)
            .expect_err("the address is wrong")
            .message
    }

    #[test]
    fn addresses_have_scheme_host_port_and_path() {
        let all =
            |scheme, host: &str, port, path: &str| (scheme, host.to_owned(), port, path.to_owned());
        assert_eq!(address("A.com"), all(None, "a.com", None, ""));
        assert_eq!(
            address("http://a.com:8080/X/*"),
            all(Some(Scheme::Http), "a.com", Some(8080), "/X/*")
        );
        assert_eq!(address("HTTPS://"), all(Some(Scheme::Https), "", None, ""));
        assert_eq!(address(":80"), all(None, "", Some(80), ""));
        assert_eq!(address("*.a.com:"), all(None, "*.a.com", None, ""));
    }

    #[test]
    fn ipv6_addresses_need_brackets_only_before_a_port() {
        assert_eq!(address("[2001:DB8::0:1]:80").1, "2001:db8::1");
        assert_eq!(address("2001:DB8::0:1").1, "2001:db8::1");
        assert_eq!(address("[::1]").2, None);
    }

    #[test]
    fn placeholders_keep_their_case() {
        assert_eq!(address("{env.HOST}.A.com").1, "{env.HOST}.a.com");
    }

    #[test]
    fn wrong_addresses_are_refused() {
        assert_eq!(error("a.com:70000"), "port 70000 is out of range");
        assert_eq!(error("a.com:-1"), "port -1 is out of range");
        assert_eq!(error("a.com:x"), "invalid port `x`");
        assert_eq!(error("foo://a.com"), "unsupported URL scheme foo://");
        assert_eq!(error("wss://a.com:70000"), "port 70000 is out of range");
        assert!(error("wss://a.com").contains("use https:// instead"));
    }

    #[test]
    fn addresses_are_shown_as_urls() {
        let shown = |text| SiteAddress::from_text(text).expect("right").to_string();
        assert_eq!(shown("a.com:443"), "https://a.com");
        assert_eq!(shown("a.com:80/x"), "http://a.com/x");
        assert_eq!(shown("https://[::1]:8443"), "https://[::1]:8443");
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_refused(text in "([a-zA-Z.:/*{}\\[\\] -]|http://|80){0,16}") {
            let _ = SiteAddress::from_text(&text);
        }
    }
}
