//! `log`: access logs of a site, and logs of the process as a global option.

mod encoder;
mod writer;

use super::{Context, State, Value, Values, duration, integer};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{CustomLog, Sampling};

/// A log as a site or the global options declare it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SiteLog {
    /// Name of the log; empty is the server's own.
    pub(crate) name: String,
    /// Hosts that are logged here; empty is those of the site.
    pub(crate) hostnames: Vec<String>,
    /// Logged here only where `log_name` says so.
    pub(crate) no_hostname: bool,
    /// What the log is like; absent where nothing is said.
    pub(crate) log: Option<CustomLog>,
}

/// ```text
/// log [<name>] {
///     hostnames <hosts...>
///     no_hostname
///     output   <writer> ...
///     format   <encoder> ...
///     level    <level>
///     sampling { ... }
///     include  <loggers...>   (as a global option)
///     exclude  <loggers...>   (as a global option)
/// }
/// ```
pub(super) fn parse(cursor: &mut Cursor<'_>, context: &mut Context<'_>) -> Values {
    let name = cursor.next_arg();
    cursor.expect_end_of_args()?;
    let mut log = parse_log(cursor, false, context.state)?;
    if let Some(name) = name {
        log.name = name.text.clone();
    } else if log.log.is_some() {
        log.name = format!("log{}", context.state.unnamed_logs);
        context.state.unnamed_logs += 1;
    }
    if let Some(custom) = &mut log.log
        && !log.name.is_empty()
    {
        custom.include = vec![format!("http.log.access.{}", log.name)];
    } else if !log.name.is_empty() {
        // Caddy: an include makes the log one of its own, even if nothing else is said.
        log.log = None;
    }
    Ok(vec![Value::Log(Box::new(log))])
}

/// Reads the block of a log; the cursor is at the last argument before it.
pub(crate) fn parse_log(
    cursor: &mut Cursor<'_>,
    is_global: bool,
    state: &mut State,
) -> Result<SiteLog, Diagnostic> {
    let mut site = SiteLog::default();
    let mut log = CustomLog::default();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "hostnames" if !is_global => {
                site.hostnames.extend(cursor.remaining_values());
                if site.hostnames.is_empty() {
                    return Err(cursor.argument_error());
                }
            }
            "no_hostname" if !is_global => {
                cursor.expect_end_of_args()?;
                site.no_hostname = true;
            }
            "output" => {
                cursor.expect_arg()?;
                log.writer = Some(writer::parse(&mut cursor.from_next_segment())?);
            }
            "format" => {
                cursor.expect_arg()?;
                log.encoder = Some(encoder::parse(&mut cursor.from_next_segment())?);
            }
            "level" => {
                log.level = cursor.expect_arg()?.text.clone();
                cursor.expect_end_of_args()?;
            }
            "sampling" => log.sampling = Some(parse_sampling(cursor)?),
            "core" => {
                let name = cursor.expect_arg()?;
                let message = format!("unknown log core `{}`", name.text);
                return Err(Diagnostic::error_at(name, message));
            }
            "include" if is_global => log.include.extend(cursor.remaining_values()),
            "exclude" if is_global => log.exclude.extend(cursor.remaining_values()),
            name @ ("hostnames" | "no_hostname" | "include" | "exclude") => {
                let place = if is_global {
                    "log global option"
                } else {
                    "log directive"
                };
                return Err(cursor.error_here(format!("`{name}` is not allowed in the {place}")));
            }
            _ => {
                let known = [
                    "format",
                    "hostnames",
                    "level",
                    "no_hostname",
                    "output",
                    "sampling",
                ];
                let diagnostic = cursor.unknown_subdirective("log", known);
                state.diagnostics.push(diagnostic);
                cursor.next_segment();
            }
        }
    }
    site.log = (log != CustomLog::default()).then_some(log);
    Ok(site)
}

fn parse_sampling(cursor: &mut Cursor<'_>) -> Result<Sampling, Diagnostic> {
    let mut sampling = Sampling::default();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "interval" => sampling.interval = duration(cursor)?,
            "first" => sampling.first = integer(cursor)?,
            "thereafter" => sampling.thereafter = integer(cursor)?,
            _ => {
                let known = ["first", "interval", "thereafter"];
                return Err(cursor.unknown_subdirective("sampling", known));
            }
        }
    }
    Ok(sampling)
}
