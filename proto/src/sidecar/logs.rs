//! Log output of a program: one subscriber, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::cli::LogFormat;

/// Changes what is logged while the program runs.
#[derive(Clone, Debug)]
pub struct Level(reload::Handle<EnvFilter, Registry>);

impl Level {
    /// Logs at `level` from now on: a level or a list of directives such as `info,proxy=debug`.
    ///
    /// # Errors
    /// When `level` cannot be parsed.
    pub fn set(&self, level: &str) -> Result<(), String> {
        self.0
            .reload(filter(level)?)
            .map_err(|error| error.to_string())
    }
}

/// Starts logging to standard error. Call once, before anything logs.
///
/// `format` of `None` means console on a terminal and JSON elsewhere. `level` is a level or a list
/// of directives such as `info,proxy=debug`.
///
/// # Errors
/// When `level` cannot be parsed.
pub fn start(format: Option<LogFormat>, level: &str) -> Result<Level, String> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let is_terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or(if is_terminal {
        LogFormat::Console
    } else {
        LogFormat::Json
    });
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Console => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_ansi(is_terminal)
                    .with_target(false)
                    .with_writer(std::io::stderr),
            )
            .try_init(),
        LogFormat::Json => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_current_span(true)
                    .with_span_list(false)
                    .with_writer(std::io::stderr),
            )
            .try_init(),
    };
    started
        .map(|()| Level(handle))
        .map_err(|error| error.to_string())
}

fn filter(level: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(level).map_err(|error| {
        format!("`{level}` is no log level ({error}); use error, warn, info, debug or trace")
    })
}
