//! The access log: one entry per request, for the hosts whose sites ask for it.
//!
//! An entry is put together on the worker when the response has been sent, with the fields and
//! names of Caddy's access log, and handed to the writer's own thread over a bounded channel: a
//! disk that is slow costs entries, which are counted, and never requests.

mod encoder;
mod filter;
mod node;
mod record;
mod roll;
mod selection;
mod template;
mod time_format;
mod writer;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use caddyfile::document;

use self::encoder::Encoder;
use self::node::Node;
use self::writer::Writer;
use crate::compile::Scope;

pub use self::record::{Entry, Record};
pub use self::selection::Selection;
pub use self::writer::flush;

/// The logs of a document.
#[derive(Debug, Default)]
pub struct Logs {
    logs: Box<[Arc<Log>]>,
    /// The logs by the names that they include; those that include nothing else under the empty
    /// name. Each list is in the order of the logs.
    by_included: HashMap<Box<str>, Vec<usize>>,
}

/// One log: which entries it takes, how they look and where they go.
#[derive(Debug)]
pub(crate) struct Log {
    include: HashSet<String>,
    exclude: HashSet<String>,
    level: Level,
    encoder: Encoder,
    writer: Arc<Writer>,
}

/// How much an entry matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// A request that was answered.
    Info,
    /// Between the two; no entry has it.
    Warn,
    /// A request that ended in a server error.
    Error,
    /// Beyond all entries.
    Fatal,
}

impl Logs {
    /// Compiles the logs of a document. Without one named `default` there is Caddy's: everything
    /// to standard error.
    pub fn compile(document: &document::Logging, scope: &mut Scope) -> Self {
        let mut named: BTreeMap<&str, &document::CustomLog> = document
            .logs
            .iter()
            .map(|(name, log)| (name.as_str(), log))
            .collect();
        let default = document::CustomLog::default();
        named.entry("default").or_insert(&default);
        let logs = named.into_iter().filter_map(|(name, log)| {
            scope.written(log.written.0, |scope| {
                scope.within(format_args!("logging.logs.{name}"), |scope| {
                    Log::compile(log, scope)
                })
            })
        });
        let logs: Box<[Arc<Log>]> = logs.map(Arc::new).collect();
        let mut by_included: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (index, log) in logs.iter().enumerate() {
            if log.include.is_empty() {
                by_included.entry("".into()).or_default().push(index);
            }
            for name in &log.include {
                by_included
                    .entry(name.as_str().into())
                    .or_default()
                    .push(index);
            }
        }
        Self { logs, by_included }
    }

    /// The loggers that logs are for, without the name that all access loggers begin with.
    pub(crate) fn access_names(&self) -> impl Iterator<Item = &str> {
        let included = self.logs.iter().flat_map(|log| &log.include);
        included.filter_map(|name| name.strip_prefix("http.log.access."))
    }

    /// The logs that take entries of a logger.
    pub(crate) fn of(&self, logger: &str) -> Box<[Arc<Log>]> {
        let mut candidates: Vec<usize> = prefixes(logger)
            .chain([""])
            .filter_map(|prefix| self.by_included.get(prefix))
            .flatten()
            .copied()
            .collect();
        candidates.sort_unstable();
        candidates.dedup();
        let logs = candidates.into_iter().map(|index| &self.logs[index]);
        logs.filter(|log| log.takes(logger))
            .map(Arc::clone)
            .collect()
    }
}

impl Log {
    fn compile(document: &document::CustomLog, scope: &mut Scope) -> Option<Self> {
        for (is_used, name) in [
            (document.core.is_some(), ".core"),
            (document.sampling.is_some(), ".sampling"),
        ] {
            if is_used {
                scope.within(name, |scope| {
                    scope.error_with_hint("this is not supported for logs", "remove it");
                });
            }
        }
        let writer = scope.within(".writer", |scope| {
            writer::compile(document.writer.as_ref(), scope)
        })?;
        Some(Self {
            include: document.include.iter().cloned().collect(),
            exclude: document.exclude.iter().cloned().collect(),
            level: Level::compile(&document.level, scope),
            encoder: scope.within(".encoder", |scope| {
                Encoder::compile(document.encoder.as_ref(), &writer, scope)
            }),
            writer,
        })
    }

    /// Whether entries of a logger are taken: the longest name in front of the logger's, of those
    /// that are included and excluded, decides.
    fn takes(&self, logger: &str) -> bool {
        let longest = |names: &HashSet<String>| {
            let mut prefixes = prefixes(logger);
            prefixes
                .find(|prefix| names.contains(*prefix))
                .map(str::len)
        };
        match (longest(&self.include), longest(&self.exclude)) {
            (None, _) if !self.include.is_empty() => false,
            (included, Some(excluded)) => included.is_some_and(|included| included > excluded),
            (_, None) => true,
        }
    }

    /// Writes an entry of `logger`, if it matters enough.
    pub(crate) fn write(&self, level: Level, logger: &str, message: &str, fields: &Node) {
        if level >= self.level {
            self.writer
                .send(self.encoder.encode(level, logger, message, fields));
        }
    }
}

/// The names that a logger goes by: its own, then without its last parts.
fn prefixes(logger: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(logger), |name| {
        name.rsplit_once('.').map(|(prefix, _)| prefix)
    })
}

impl Level {
    fn compile(name: &str, scope: &mut Scope) -> Self {
        match name.to_ascii_uppercase().as_str() {
            "" | "DEBUG" | "INFO" => Self::Info,
            "WARN" | "WARNING" => Self::Warn,
            "ERROR" => Self::Error,
            "PANIC" | "FATAL" => Self::Fatal,
            _ => {
                scope.error_with_hint(
                    format!("`{name}` is no log level"),
                    "use `DEBUG`, `INFO`, `WARN` or `ERROR`",
                );
                Self::Info
            }
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

#[cfg(test)]
mod tests;
