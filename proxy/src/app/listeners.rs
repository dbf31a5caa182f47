//! From the servers of a configuration to the listeners of the client side.

mod client_authentication;
mod tls;

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use caddyfile::document;
use downstream::{
    CertificateTable, ListenAddress, ListenerConfig, OnDemand, SessionTickets, Timeouts,
    TlsSettings,
};

use crate::compile::{CompileError, Config, Server};

/// What the TLS of every listener draws on.
#[derive(Clone, Debug, Default)]
pub struct TlsSources {
    /// The certificates.
    pub certificates: Arc<CertificateTable>,
    /// What obtains a certificate while a client waits.
    pub on_demand: Option<Arc<dyn OnDemand>>,
    /// The keys of session tickets.
    pub tickets: Option<Arc<SessionTickets>>,
}

/// Listeners for ACME challenges alone, beside those for HTTPS, where there are names to certify
/// and no server listens on the HTTP port (`auto_https disable_redirects`). Requests for anything
/// else find no server there.
pub fn challenge_listeners(config: &Config) -> Vec<ListenerConfig> {
    let plan = &config.certificates;
    let is_needed = plan
        .names
        .values()
        .map(|policy| &plan.policies[*policy])
        .chain(plan.on_demand_policies())
        .any(|policy| !policy.is_internal());
    let addresses = || {
        config
            .servers
            .iter()
            .flat_map(|server| server.listen.iter().copied())
    };
    if !is_needed || addresses().any(|address| port(address) == config.http_port) {
        return Vec::new();
    }
    let beside: HashSet<ListenAddress> = addresses()
        .map(|address| match address {
            ListenAddress::Any(_) => ListenAddress::Any(config.http_port),
            ListenAddress::Exact(exact) => {
                ListenAddress::Exact(SocketAddr::new(exact.ip(), config.http_port))
            }
        })
        .collect();
    beside
        .into_iter()
        .map(|address| ListenerConfig::new(address, None))
        .collect()
}

/// The listeners of `config`'s servers.
///
/// # Errors
/// What of the servers' settings cannot be served.
pub fn listeners(
    config: &Config,
    sources: &TlsSources,
) -> Result<Vec<ListenerConfig>, Vec<CompileError>> {
    let mut sources = sources.clone();
    if config.certificates.on_demand_policies().next().is_none() {
        sources.on_demand = None;
    }
    if config.certificates.session_tickets_disabled {
        sources.tickets = None;
    }
    let mut errors = Vec::new();
    let mut listeners: BTreeMap<String, (ListenerConfig, &str)> = BTreeMap::new();
    for server in &config.servers {
        let tls = match tls::settings(server, &sources) {
            Ok(tls) => tls.map(Arc::new),
            Err(mut found) => {
                errors.append(&mut found);
                continue;
            }
        };
        for &address in &server.listen {
            // The HTTP port is plain whatever the server is. Caddy: the same.
            let tls = tls.clone().filter(|_| port(address) != config.http_port);
            let listener = listener(server, address, tls);
            let before = listeners.insert(address.to_string(), (listener, &server.name));
            if let Some((_, other)) = before {
                errors.push(CompileError::new(
                    format_args!("apps.http.servers.{}.listen", server.name),
                    format!("`{address}` is listened on by the server `{other}` too"),
                ));
            }
        }
    }
    if errors.is_empty() {
        Ok(listeners
            .into_values()
            .map(|(listener, _)| listener)
            .collect())
    } else {
        Err(errors)
    }
}

fn port(address: ListenAddress) -> u16 {
    match address {
        ListenAddress::Any(port) => port,
        ListenAddress::Exact(address) => address.port(),
    }
}

fn listener(
    server: &Server,
    address: ListenAddress,
    tls: Option<Arc<TlsSettings>>,
) -> ListenerConfig {
    let settings = &server.settings;
    let defaults = Timeouts::default();
    let speaks = |protocol: &str| speaks(settings, protocol);
    let read_header = or_default(settings.read_header_timeout, defaults.read_header);
    ListenerConfig {
        http1: speaks("h1"),
        http2: if tls.is_some() {
            speaks("h2")
        } else {
            speaks("h2c")
        },
        timeouts: Timeouts {
            handshake: defaults.handshake.min(read_header),
            read_header,
            idle: or_default(settings.idle_timeout, defaults.idle),
            read: limit(settings.read_timeout),
            write: limit(settings.write_timeout),
        },
        max_header_bytes: match u32::try_from(settings.max_header_bytes) {
            Ok(bytes) if bytes > 0 => bytes,
            _ => ListenerConfig::new(address, None).max_header_bytes,
        },
        address,
        tls,
    }
}

fn or_default(duration: document::Duration, default: Duration) -> Duration {
    if duration == document::Duration::default() {
        default
    } else {
        duration.to_std()
    }
}

fn limit(duration: document::Duration) -> Option<Duration> {
    (duration != document::Duration::default()).then(|| duration.to_std())
}

/// Whether a server speaks a protocol; those that name none speak HTTP/1 and HTTP/2.
fn speaks(settings: &document::Server, protocol: &str) -> bool {
    if settings.protocols.is_empty() {
        return matches!(protocol, "h1" | "h2");
    }
    settings.protocols.iter().any(|own| own == protocol)
}
