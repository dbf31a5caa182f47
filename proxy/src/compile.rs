//! From Caddy's JSON document to what runs.
//!
//! Everything that can be decided once is decided here: placeholders are parsed, regular
//! expressions and address ranges compiled, hosts hashed, routes flattened into programs. What
//! the document asks for and the proxy does not do is an error that names the place; nothing is
//! ignored silently.
//!
//! The order: automatic HTTPS first changes the document as Caddy's own phase does (listeners,
//! redirects, connection policies) and plans certificates; then servers and routes are compiled
//! from the result.

pub mod automatic_https;
pub mod listen;
pub mod scope;
mod server;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use caddyfile::document::{Document, Origin};
use downstream::ListenAddress;

use crate::access_log::Logs;

pub use self::scope::Scope;
pub use self::server::Server;

/// A compiled configuration: immutable, shared by all workers, replaced as a whole by a reload.
#[derive(Debug)]
pub struct Config {
    /// The servers, in the order of their names.
    pub servers: Box<[Server]>,
    /// Port of plain HTTP.
    pub http_port: u16,
    /// Port of HTTPS.
    pub https_port: u16,
    /// Time that requests get to end at shutdown; `None` is without end.
    pub grace_period: Option<Duration>,
    /// Time between the announcement of a shutdown and its start.
    pub shutdown_delay: Duration,
    /// Certificates: which to load, which to ask cert-manager for.
    pub certificates: automatic_https::Plan,
    /// Level of the default log (`debug` in a Caddyfile), in lower case; empty where none is named.
    pub log_level: String,
    /// The servers by where they listen.
    by_address: BTreeMap<ListenAddress, usize>,
}

/// What compiling needs to know beside the document.
#[derive(Clone, Debug, Default)]
pub struct CompileContext {
    /// Folder that relative paths in the document are relative to.
    pub folder: PathBuf,
    /// Whether the routes are to tell where they come from, for `proxy explain`.
    pub is_explained: bool,
}

/// A part of the document that cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct CompileError {
    /// Where it is, such as `apps.http.servers.srv0.routes[2].handle[0]`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Where it was written, if the document is of a Caddyfile and remembers it.
    pub origin: Option<Origin>,
}

impl CompileError {
    /// An error at `path`.
    pub fn new(path: impl fmt::Display, message: impl Into<String>) -> Self {
        Self {
            path: path.to_string(),
            message: message.into(),
            hint: None,
            origin: None,
        }
    }

    /// The same error with where its cause was written.
    #[must_use]
    pub fn with_origin(mut self, origin: Option<Origin>) -> Self {
        self.origin = origin;
        self
    }

    /// The same error with what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Compiles `document`.
///
/// # Errors
/// Every part of the document that cannot be run.
pub fn compile(
    mut document: Document,
    context: &CompileContext,
) -> Result<Config, Vec<CompileError>> {
    let mut errors = Vec::new();
    // What is wrong with certificates is no reason to keep quiet about the routes.
    let certificates = automatic_https::apply(&mut document, context)
        .map_err(|found| errors.extend(found))
        .ok();
    for name in document.apps.other.keys() {
        errors.push(
            CompileError::new(format_args!("apps.{name}"), "this app is not supported")
                .with_hint("remove it from the document; `http` and `tls` are supported"),
        );
    }
    let mut http = document.apps.http.unwrap_or_default();
    let mut scope = Scope::new("", context.clone());
    let logging = document.logging.unwrap_or_default();
    let logs = Logs::compile(&logging, &mut scope);
    errors.append(&mut scope.into_errors());
    let servers = std::mem::take(&mut http.servers).into_iter();
    let servers: Box<[Server]> = servers
        .map(|(name, server)| Server::compile(name, server, &logs, context, &mut errors))
        .collect();
    let mut by_address = BTreeMap::new();
    for (index, server) in servers.iter().enumerate() {
        for address in &server.listen {
            by_address.entry(*address).or_insert(index);
        }
    }
    let Some(certificates) = certificates.filter(|_| errors.is_empty()) else {
        return Err(errors);
    };
    Ok(Config {
        servers,
        http_port: or_default(http.http_port, 80),
        https_port: or_default(http.https_port, 443),
        grace_period: (http.grace_period.as_nanoseconds() > 0).then(|| http.grace_period.to_std()),
        shutdown_delay: http.shutdown_delay.to_std(),
        certificates,
        log_level: logging
            .logs
            .get("default")
            .map(|log| log.level.to_lowercase())
            .unwrap_or_default(),
        by_address,
    })
}

impl Config {
    /// Index of the server that listens on `address`.
    pub fn server_at(&self, address: ListenAddress) -> Option<usize> {
        self.by_address.get(&address).copied()
    }
}

fn or_default(port: u16, default: u16) -> u16 {
    if port == 0 { default } else { port }
}
