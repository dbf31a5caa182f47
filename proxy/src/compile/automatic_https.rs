//! Automatic HTTPS: which servers speak TLS, which names get certificates and from whom, and how
//! plain HTTP is sent to HTTPS.
//!
//! As in Caddy this happens after adaptation, so it applies to Caddyfiles and JSON alike and shows
//! in no adapted document. Caddy: the first phase of `modules/caddyhttp/autohttps.go`.

mod environment;
mod loaded;
mod on_demand;
mod plan;
pub mod policy;
mod redirects;
mod session_tickets;
mod subject;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use caddyfile::document::{ConnectionPolicy, Document, Server};
use downstream::Certificate;

use super::{CompileContext, CompileError};

pub use policy::Policy;
pub use subject::{is_internal, is_public, qualifies};

/// Which certificates are served and where they come from.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Certificates read from files.
    pub loaded: Vec<Arc<Certificate>>,
    /// By name, in lower case and with A-labels, the index of its policy.
    pub names: BTreeMap<String, usize>,
    /// How certificates are obtained.
    pub policies: Vec<Policy>,
    /// The subjects, in lower case, of the first policies in their order: those that names which a
    /// client brings are looked up in. Empty is every name.
    pub subjects: Vec<Vec<String>>,
    /// Whether no TLS session is ever resumed.
    pub session_tickets_disabled: bool,
    /// The hosts that are served, in the order of their servers' names.
    pub sites: Vec<Site>,
}

/// One host of a server, as an operator is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The host, or `*` for any.
    pub host: String,
    /// The server's listening addresses.
    pub listen: Vec<String>,
    /// Whether it is served over TLS.
    pub is_tls: bool,
}

/// Changes the servers of `document` as automatic HTTPS wants them, and plans their certificates.
///
/// # Errors
/// Certificate files that cannot be used, and ways to obtain certificates that are not supported.
pub fn apply(document: &mut Document, context: &CompileContext) -> Result<Plan, Vec<CompileError>> {
    let mut errors = Vec::new();
    let tls = document.apps.tls.take().unwrap_or_default();
    let loaded = loaded::load(tls.certificates.as_ref(), context, &mut errors);
    let mut sites = Vec::new();
    let mut names: BTreeSet<String> = tls
        .certificates
        .iter()
        .flat_map(|certificates| &certificates.automate)
        .map(|name| name.to_lowercase())
        .collect();
    if let Some(http) = &mut document.apps.http {
        let ports = Ports::new(http.http_port, http.https_port);
        let mut redirects = redirects::Redirects::new(ports);
        for (key, server) in &mut http.servers {
            prepare(
                key,
                server,
                ports,
                &loaded,
                &mut names,
                &mut redirects,
                &mut errors,
            );
            sites.extend(sites_of(server, ports));
        }
        redirects.insert(&mut http.servers, !names.is_empty());
    }
    let plan = plan::plan(&tls, names, context, &mut errors);
    let session_tickets_disabled = session_tickets::are_disabled(&tls, &mut errors);
    document.apps.tls = Some(tls);
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Plan {
        loaded,
        session_tickets_disabled,
        sites,
        ..plan
    })
}

/// The ports that count as those of HTTP and HTTPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ports {
    http: u16,
    https: u16,
}

impl Ports {
    fn new(http: u16, https: u16) -> Self {
        Self {
            http: if http == 0 { 80 } else { http },
            https: if https == 0 { 443 } else { https },
        }
    }
}

/// One listening address, apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    /// Network and host, as in `tcp4/127.0.0.1`; empty for all addresses.
    host: String,
    /// The first port of a range.
    port: u16,
}

impl Address {
    /// `None` for an address without a port, such as a Unix socket's.
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("tcp/").unwrap_or(text);
        if text.starts_with("unix") {
            return None;
        }
        let (host, ports) = text.rsplit_once(':')?;
        let (start, _) = ports.split_once('-').unwrap_or((ports, ""));
        Some(Self {
            host: host.to_owned(),
            port: start.parse().ok()?,
        })
    }

    fn with_port(&self, port: u16) -> String {
        format!("{}:{port}", self.host)
    }
}

/// Turns on TLS where it belongs, and notes the server's names.
fn prepare(
    key: &str,
    server: &mut Server,
    ports: Ports,
    loaded: &[Arc<Certificate>],
    names: &mut BTreeSet<String>,
    redirects: &mut redirects::Redirects,
    errors: &mut Vec<CompileError>,
) {
    let settings = server.automatic_https.clone().unwrap_or_default();
    let addresses: Vec<Address> = server
        .listen
        .iter()
        .filter_map(|listen| Address::parse(listen))
        .collect();
    let only_on = |port| {
        addresses.len() == server.listen.len()
            && addresses.iter().all(|address| address.port == port)
    };
    if settings.disable || only_on(ports.http) {
        return;
    }
    if server.tls_connection_policies.is_empty() && only_on(ports.https) {
        server
            .tls_connection_policies
            .push(ConnectionPolicy::default());
    }
    let mut hosts = BTreeSet::new();
    for (index, route) in server.routes.iter().enumerate() {
        for host in route
            .r#match
            .iter()
            .filter_map(|set| set.host.as_ref())
            .flatten()
        {
            match normalize(host) {
                Ok(host) if settings.skip.contains(&host) => {}
                Ok(host) => {
                    hosts.insert(host);
                }
                Err(message) => errors.push(CompileError::new(
                    format_args!("apps.http.servers.{key}.routes[{index}].match"),
                    message,
                )),
            }
        }
    }
    if hosts.is_empty() && server.tls_connection_policies.is_empty() {
        return;
    }
    if !settings.disable_certificates {
        names.extend(
            hosts
                .iter()
                .filter(|host| qualifies(host) && !settings.skip_certificates.contains(host))
                .filter(|host| {
                    settings.ignore_loaded_certificates
                        || !loaded.iter().any(|certificate| certificate.covers(host))
                })
                .cloned(),
        );
    }
    if server.tls_connection_policies.is_empty() {
        server
            .tls_connection_policies
            .push(ConnectionPolicy::default());
    }
    if settings.disable_redirects {
        return;
    }
    for address in addresses {
        redirects.add(address, &hosts, server.logs.as_ref());
    }
}

/// The hosts of a server's routes; `*` when there is none.
fn sites_of(server: &Server, ports: Ports) -> Vec<Site> {
    let matchers = server.routes.iter().flat_map(|route| &route.r#match);
    let mut hosts: Vec<String> = matchers
        .filter_map(|set| set.host.as_ref())
        .flatten()
        .cloned()
        .collect();
    if hosts.is_empty() {
        hosts.push("*".to_owned());
    }
    hosts.dedup();
    let is_plain =
        |listen: &String| Address::parse(listen).is_some_and(|address| address.port == ports.http);
    let is_tls = !server.tls_connection_policies.is_empty() && !server.listen.iter().all(is_plain);
    hosts
        .into_iter()
        .map(|host| Site {
            host,
            listen: server.listen.clone(),
            is_tls,
        })
        .collect()
}

/// A host as a certificate names it. Environment placeholders are filled in, as Caddy does here.
fn normalize(host: &str) -> Result<String, String> {
    let filled = environment::fill(host);
    if filled.contains("{env.") {
        return Err(format!(
            "the host `{host}` has a placeholder without an end"
        ));
    }
    subject::to_ascii(&filled).ok_or_else(|| format!("`{host}` is no host name"))
}

#[cfg(test)]
mod tests;
