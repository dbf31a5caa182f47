//! Which requests of a server are logged, and by which logs.

use std::collections::HashMap;
use std::sync::Arc;

use caddyfile::document::ServerLogs;

use super::{Log, Logs};
use crate::matcher::host::HostMap;

/// Caddy's name for the access loggers of all servers.
const LOGGER: &str = "http.log.access";

/// Loggers that an entry goes to.
pub(crate) type Loggers = Arc<[Arc<Logger>]>;

/// A logger by its name, and the logs that take its entries.
#[derive(Debug)]
pub(crate) struct Logger {
    pub(crate) name: Box<str>,
    pub(crate) logs: Box<[Arc<Log>]>,
}

/// Which requests of a server are logged, and by which loggers.
#[derive(Debug)]
pub struct Selection {
    default: Loggers,
    by_host: HostMap<Loggers>,
    by_name: HashMap<Box<str>, Arc<Logger>>,
    skipped: HostMap<()>,
    skips_others: bool,
    /// Whether `Authorization`, `Cookie` and the like are written in clear.
    pub(crate) shows_credentials: bool,
}

impl Selection {
    /// Compiles which requests of a server are logged.
    pub fn compile(document: &ServerLogs, logs: &Logs) -> Self {
        let mut by_name: HashMap<Box<str>, Arc<Logger>> = HashMap::new();
        let mut logger = |name: &str| {
            let logger = by_name.entry(name.into()).or_insert_with(|| {
                let full = match name {
                    "" => LOGGER.to_owned(),
                    name => format!("{LOGGER}.{name}"),
                };
                Arc::new(Logger {
                    logs: logs.of(&full),
                    name: full.into(),
                })
            });
            Arc::clone(logger)
        };
        let default: Arc<[_]> = [logger(&document.default_logger_name)].into();
        // A request may choose any log, also one that no host has.
        for name in logs.access_names() {
            logger(name);
        }
        let mut by_host = HostMap::default();
        for (host, names) in &document.logger_names {
            by_host.insert(host, names.iter().map(|name| logger(name)).collect());
        }
        let mut skipped = HostMap::default();
        for host in &document.skip_hosts {
            skipped.insert(host, ());
        }
        Self {
            default,
            by_host,
            by_name,
            skipped,
            skips_others: document.skip_unmapped_hosts,
            shows_credentials: document.should_log_credentials,
        }
    }

    /// The loggers of a host; none if its requests are not logged.
    pub(crate) fn of_host(&self, host: &str) -> Option<Loggers> {
        if self.skipped.get(host).is_some() {
            return None;
        }
        match self.by_host.get(host) {
            Some(loggers) => Some(Arc::clone(loggers)),
            None if self.skips_others => None,
            None => Some(Arc::clone(&self.default)),
        }
    }

    /// A logger that a request chose itself (`log_name`).
    pub(crate) fn named(&self, name: &str) -> Option<Arc<Logger>> {
        self.by_name.get(name).map(Arc::clone)
    }
}
