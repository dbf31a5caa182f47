//! From the servers of a configuration to the listeners of the client side.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use caddyfile::document::{self, ConnectionPolicy};
use downstream::{
    CertificateTable, ListenAddress, ListenerConfig, OnDemand, SessionTickets, Timeouts,
    TlsOptions, TlsSettings,
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
        let tls = match tls(server, &sources) {
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

/// The TLS of a server, if it speaks it.
fn tls(server: &Server, sources: &TlsSources) -> Result<Option<TlsSettings>, Vec<CompileError>> {
    let policies = &server.settings.tls_connection_policies;
    if policies.is_empty() {
        return Ok(None);
    }
    let mut options = TlsOptions::new(Arc::clone(&sources.certificates));
    options.on_demand.clone_from(&sources.on_demand);
    options.tickets.clone_from(&sources.tickets);
    options.http1 = speaks(&server.settings, "h1");
    options.http2 = speaks(&server.settings, "h2");
    let mut errors = Vec::new();
    for (index, policy) in policies.iter().enumerate() {
        let path = format!(
            "apps.http.servers.{}.tls_connection_policies[{index}]",
            server.name
        );
        let mut found = Vec::new();
        check(policy, policies.len(), &path, &mut found);
        match versions(policy) {
            Some((tls12, tls13)) => (options.tls12, options.tls13) = (tls12, tls13),
            None => found.push(
                CompileError::new(&path, "these TLS versions cannot be spoken")
                    .with_hint("use `tls1.2` or `tls1.3`, the lower one first"),
            ),
        }
        let found = found.into_iter();
        errors.extend(found.map(|error| error.with_origin(policy.written.0)));
        if !policy.default_sni.is_empty() {
            options.default_server_name = Some(policy.default_sni.to_lowercase().into());
        }
        if !policy.fallback_sni.is_empty() {
            options.fallback_server_name = Some(policy.fallback_sni.to_lowercase().into());
        }
        if !policy.alpn.is_empty() {
            options.http1 &= policy.alpn.iter().any(|alpn| alpn == "http/1.1");
            options.http2 &= policy.alpn.iter().any(|alpn| alpn == "h2");
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    TlsSettings::new(options).map(Some).map_err(|error| {
        let path = format!("apps.http.servers.{}.tls_connection_policies", server.name);
        vec![CompileError::new(
            path,
            format!("TLS cannot be set up: {error}"),
        )]
    })
}

/// Refuses what a policy may ask for and is not done.
///
/// Several policies differ by the names that they are for. All of their certificates are found by
/// name, so a choice by label changes nothing; any other difference cannot be kept.
fn check(policy: &ConnectionPolicy, count: usize, path: &str, errors: &mut Vec<CompileError>) {
    let matcher = policy.r#match.as_ref();
    let selection = policy.certificate_selection.as_ref();
    let is_special = !policy.protocol_min.is_empty()
        || !policy.protocol_max.is_empty()
        || !policy.alpn.is_empty();
    for (field, is_used) in [
        ("cipher_suites", !policy.cipher_suites.is_empty()),
        ("curves", !policy.curves.is_empty()),
        ("drop", policy.drop),
        (
            "client_authentication",
            policy.client_authentication.is_some(),
        ),
        (
            "insecure_secrets_log",
            !policy.insecure_secrets_log.is_empty(),
        ),
        (
            "match.sni_regexp",
            matcher.is_some_and(|matcher| matcher.sni_regexp.is_some()),
        ),
        (
            "match.remote_ip",
            matcher.is_some_and(|matcher| matcher.remote_ip.is_some()),
        ),
        (
            "match.local_ip",
            matcher.is_some_and(|matcher| matcher.local_ip.is_some()),
        ),
        (
            "certificate_selection",
            selection.is_some_and(|selection| {
                !selection.serial_number.is_empty()
                    || !selection.subject_organization.is_empty()
                    || !selection.public_key_algorithm.is_empty()
            }),
        ),
    ] {
        if is_used {
            let name = field.rsplit('.').next().unwrap_or(field);
            errors.push(CompileError::new(
                format_args!("{path}.{field}"),
                format!("`{name}` is not supported"),
            ));
        }
    }
    if is_special && count > 1 {
        errors.push(
            CompileError::new(
                path,
                "TLS versions and ALPN of one name alone are not supported",
            )
            .with_hint("give all sites of the port the same, or the site a port of its own"),
        );
    }
}

/// Whether TLS 1.2 and whether TLS 1.3 are spoken; `None` when the policy leaves neither.
fn versions(policy: &ConnectionPolicy) -> Option<(bool, bool)> {
    let version = |name: &str, default| match name {
        "" => Some(default),
        "tls1.2" => Some(2),
        "tls1.3" => Some(3),
        _ => None,
    };
    let (min, max) = (
        version(&policy.protocol_min, 2)?,
        version(&policy.protocol_max, 3)?,
    );
    (min <= max).then_some((min == 2, max == 3))
}
