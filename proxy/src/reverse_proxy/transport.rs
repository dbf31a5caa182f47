//! How upstreams are reached: Caddy's transports to the settings of targets.

mod tls;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use caddyfile::document::{self, HttpTransport};
use upstream::{Address, KeepAlive, TargetSettings, Versions};

use super::fastcgi;
use crate::compile::Scope;

/// What the targets of one `reverse_proxy` have in common.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    settings: TargetSettings,
    /// Ports that are reached without TLS.
    plain_ports: Box<[u16]>,
}

impl Transport {
    pub(super) fn compile(document: Option<&document::Transport>, scope: &mut Scope) -> Self {
        let nowhere = Address::Host {
            host: "".into(),
            port: 0,
        };
        let mut transport = Self {
            settings: TargetSettings::new(nowhere),
            plain_ports: Box::default(),
        };
        match document {
            None => {}
            Some(document::Transport::Http(http)) => transport.set(http, scope),
            Some(document::Transport::Fastcgi(document)) => {
                fastcgi::set(document, &mut transport.settings);
            }
            Some(other) => scope.error_with_hint(
                format!("the transport `{}` is not supported", other.module()),
                "`http` and `fastcgi` are",
            ),
        }
        transport
    }

    /// The settings of the target at `address`.
    pub(super) fn settings(&self, address: Address) -> TargetSettings {
        let mut settings = self.settings.clone();
        if let Address::Host { port, .. } = &address
            && self.plain_ports.contains(port)
        {
            settings.tls = None;
        }
        settings.address = address;
        settings
    }

    fn set(&mut self, http: &HttpTransport, scope: &mut Scope) {
        refuse_unsupported(http, scope);
        let settings = &mut self.settings;
        if let Some(limit) = some(http.dial_timeout) {
            settings.dial_timeout = limit;
        }
        settings.response_header_timeout = some(http.response_header_timeout);
        settings.expect_continue_timeout = some(http.expect_continue_timeout);
        settings.read_timeout = some(http.read_timeout);
        settings.write_timeout = some(http.write_timeout);
        settings.max_connections = positive(http.max_conns_per_host);
        settings.max_response_header_size = positive(http.max_response_header_size);
        settings.versions = versions(&http.versions, http.tls.is_some(), scope);
        if let Some(document) = &http.keep_alive {
            settings.keep_alive = keep_alive(document);
        }
        if !http.proxy_protocol.is_empty() {
            // A connection is one client's.
            settings.keep_alive.is_enabled = false;
        }
        settings.local_address = local_address(&http.local_address, scope);
        if let Some(document) = &http.resolver {
            settings.name_servers = name_servers(document, scope).into();
        }
        if let Some(document) = &http.tls {
            scope.within(".tls", |scope| {
                settings.tls = Some(tls::options(document, scope));
                let ports = document.except_ports.iter();
                self.plain_ports = ports.filter_map(|port| port_number(port, scope)).collect();
            });
        }
    }
}

fn refuse_unsupported(http: &HttpTransport, scope: &mut Scope) {
    let refused = [
        (!http.forward_proxy_url.is_empty(), "forward_proxy_url"),
        (
            http.network_proxy
                .as_ref()
                .is_some_and(|module| module["from"] != "none"),
            "network_proxy",
        ),
    ];
    for (is_set, name) in refused {
        if is_set {
            scope.error(format!("`{name}` of the HTTP transport is not supported"));
        }
    }
}

pub(super) fn some(duration: document::Duration) -> Option<Duration> {
    Some(duration.to_std()).filter(|duration| !duration.is_zero())
}

pub(super) fn positive(number: i64) -> Option<usize> {
    usize::try_from(number).ok().filter(|number| *number > 0)
}

/// Caddy: an IP address, perhaps with a network and a port.
fn local_address(text: &str, scope: &mut Scope) -> Option<IpAddr> {
    if text.is_empty() {
        return None;
    }
    let bare = text.split_once('/').map_or(text, |(_, address)| address);
    let address = bare
        .parse()
        .or_else(|_| bare.parse().map(|address: SocketAddr| address.ip()));
    if address.is_err() {
        scope.error_with_hint(
            format!("`{text}` is no address to connect from"),
            "write an IP address of this machine",
        );
    }
    address.ok()
}

/// The addresses of name servers, on port 53 where they name none.
pub(super) fn name_servers(document: &document::Resolver, scope: &mut Scope) -> Vec<SocketAddr> {
    let addresses = document.addresses.iter().filter_map(|text| {
        let bare = text
            .split_once('/')
            .map_or(text.as_str(), |(_, address)| address);
        let address = bare.parse().ok().or_else(|| {
            let ip: Option<IpAddr> = bare.trim_matches(['[', ']']).parse().ok();
            ip.map(|ip| SocketAddr::new(ip, 53))
        });
        if address.is_none() {
            scope.error_with_hint(
                format!("`{text}` is no address of a name server"),
                "write an IP address, with a port if it is not 53",
            );
        }
        address
    });
    addresses.collect()
}

fn port_number(text: &str, scope: &mut Scope) -> Option<u16> {
    let port = text.parse().ok();
    if port.is_none() {
        scope.error(format!("`{text}` is no port"));
    }
    port
}

/// Caddy: `h2c` without TLS is HTTP/2 from the first byte, whatever else is named; with TLS it says
/// nothing.
fn versions(names: &[String], is_tls: bool, scope: &mut Scope) -> Versions {
    let mut http1 = false;
    let mut http2 = false;
    for name in names {
        match name.as_str() {
            "1.1" => http1 = true,
            "2" => http2 = true,
            "h2c" if is_tls => {}
            "h2c" => return Versions::Http2,
            "3" => scope.error("HTTP/3 to upstreams is not supported"),
            other => scope.error_with_hint(
                format!("`{other}` is no version of HTTP"),
                "the versions are `1.1`, `2` and `h2c`",
            ),
        }
    }
    match (http1, http2) {
        (true, false) => Versions::Http1,
        (false, true) => Versions::Http2,
        _ => Versions::Any,
    }
}

fn keep_alive(document: &document::KeepAlive) -> KeepAlive {
    let default = KeepAlive::default();
    let limits = [document.max_idle_conns, document.max_idle_conns_per_host];
    let max_idle = limits.into_iter().filter_map(positive).min();
    KeepAlive {
        is_enabled: document.enabled.unwrap_or(true),
        idle_timeout: some(document.idle_timeout).unwrap_or(default.idle_timeout),
        max_idle: max_idle.unwrap_or(default.max_idle),
        probe_interval: some(document.probe_interval).unwrap_or(default.probe_interval),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn compiled(transport: Value) -> Result<TargetSettings, Vec<String>> {
        let document = serde_json::from_value(transport).unwrap();
        let mut scope = Scope::default();
        let transport = Transport::compile(Some(&document), &mut scope);
        let address = Address::Host {
            host: "web".into(),
            port: 8443,
        };
        let errors = scope.into_errors();
        if errors.is_empty() {
            Ok(transport.settings(address))
        } else {
            Err(errors.into_iter().map(|error| error.to_string()).collect())
        }
    }

    #[test]
    fn options_become_settings() {
        let settings = compiled(json!({
            "protocol": "http",
            "dial_timeout": "1s",
            "response_header_timeout": "2s",
            "read_timeout": "3s",
            "write_timeout": "4s",
            "max_conns_per_host": 5,
            "keep_alive": {"enabled": true, "idle_timeout": "6s", "max_idle_conns_per_host": 7},
            "tls": {"insecure_skip_verify": true, "server_name": "app.test"},
        }))
        .unwrap();
        assert_eq!(settings.dial_timeout, Duration::from_secs(1));
        assert_eq!(
            settings.response_header_timeout,
            Some(Duration::from_secs(2))
        );
        assert_eq!(settings.read_timeout, Some(Duration::from_secs(3)));
        assert_eq!(settings.write_timeout, Some(Duration::from_secs(4)));
        assert_eq!(settings.max_connections, Some(5));
        assert_eq!(settings.keep_alive.idle_timeout, Duration::from_secs(6));
        assert_eq!(settings.keep_alive.max_idle, 7);
        let tls = settings.tls.unwrap();
        assert!(tls.insecure_skip_verify);
        assert_eq!(tls.server_name.as_deref(), Some("app.test"));
    }

    #[test]
    fn versions_are_those_that_caddy_would_speak() {
        let plain = |versions: &[&str]| {
            let transport = json!({"protocol": "http", "versions": versions});
            compiled(transport).unwrap().versions
        };
        assert_eq!(plain(&[]), Versions::Any);
        assert_eq!(plain(&["1.1"]), Versions::Http1);
        assert_eq!(plain(&["h2c", "1.1"]), Versions::Http2);
        assert_eq!(plain(&["2"]), Versions::Http2);
        assert_eq!(plain(&["1.1", "2"]), Versions::Any);
        let secure = json!({"protocol": "http", "versions": ["h2c", "1.1"], "tls": {}});
        assert_eq!(compiled(secure).unwrap().versions, Versions::Http1);
    }

    #[test]
    fn where_connections_begin_and_who_names_are_asked_of_are_settings() {
        let settings = compiled(json!({
            "protocol": "http",
            "local_address": "127.0.0.2",
            "resolver": {"addresses": ["10.0.0.1", "udp/[::1]:5353"]},
            "network_proxy": {"from": "none"},
        }))
        .unwrap();
        assert_eq!(settings.local_address, "127.0.0.2".parse().ok());
        let servers = ["10.0.0.1:53", "[::1]:5353"].map(|text| text.parse().unwrap());
        assert_eq!(*settings.name_servers, servers);
    }

    #[test]
    fn ports_may_go_without_tls() {
        let tls = json!({"except_ports": ["8443"]});
        assert_eq!(
            compiled(json!({"protocol": "http", "tls": tls}))
                .unwrap()
                .tls,
            None
        );
    }

    #[test]
    fn what_is_not_supported_is_refused() {
        for (transport, said) in [
            (json!({"protocol": "carrier"}), "the transport `carrier`"),
            (
                json!({"protocol": "http", "network_proxy": {"from": "url", "url": "http://a"}}),
                "`network_proxy`",
            ),
            (
                json!({"protocol": "http", "local_address": "eth0"}),
                "`eth0`",
            ),
            (
                json!({"protocol": "http", "resolver": {"addresses": ["dns.test"]}}),
                "`dns.test`",
            ),
            (json!({"protocol": "http", "versions": ["3"]}), "HTTP/3"),
            (
                json!({"protocol": "http", "tls": {"curves": ["secp521r1"]}}),
                "`secp521r1`",
            ),
            (
                json!({"protocol": "http", "tls": {"ca": {"provider": "acme"}}}),
                "`acme`",
            ),
            (
                json!({"protocol": "http", "tls": {"root_ca_pem_files": ["/no/such.pem"]}}),
                "/no/such.pem",
            ),
        ] {
            let errors = compiled(transport).unwrap_err();
            assert!(errors[0].contains(said), "{errors:?}");
        }
    }
}
