//! Where a log's entries go.

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::directive::{duration, integer, one_value, size};
use crate::document::{Empty, FileWriter, LogWriter, NetWriter};

/// Reads a writer from its name on.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<LogWriter, Diagnostic> {
    cursor.next_token();
    match cursor.value() {
        "stdout" => Ok(LogWriter::Stdout(Empty {})),
        "stderr" => Ok(LogWriter::Stderr(Empty {})),
        "discard" => Ok(LogWriter::Discard(Empty {})),
        "file" => parse_file(cursor).map(LogWriter::File),
        "net" => parse_net(cursor).map(LogWriter::Net),
        name => {
            let known = ["discard", "file", "net", "stderr", "stdout"];
            let diagnostic = cursor.error_here(format!("unknown log output `{name}`"));
            Err(diagnostic.with_suggestion(name, known))
        }
    }
}

fn parse_file(cursor: &mut Cursor<'_>) -> Result<FileWriter, Diagnostic> {
    const MEBIBYTE: i64 = 1 << 20;
    const DAY_NANOSECONDS: i64 = 86_400_000_000_000;

    let mut file = FileWriter {
        filename: one_value(cursor)?,
        ..FileWriter::default()
    };
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "mode" => file.mode = parse_mode(cursor)?,
            "dir_mode" => file.dir_mode = parse_mode(cursor)?,
            "roll_disabled" => {
                cursor.expect_end_of_args()?;
                file.roll = Some(false);
            }
            "roll_size" => file.roll_size_mb = round_up(size(cursor)?, MEBIBYTE),
            "roll_uncompressed" => {
                cursor.expect_end_of_args()?;
                file.roll_gzip = Some(false);
            }
            "roll_compression" => {
                file.roll_compression = one_value(cursor)?;
                let known = ["gzip", "none", "zstd"];
                if !known.contains(&file.roll_compression.as_str()) {
                    let message = format!("unknown compression `{}`", file.roll_compression);
                    return Err(cursor
                        .error_here(message)
                        .with_suggestion(&file.roll_compression, known));
                }
            }
            "roll_local_time" => {
                cursor.expect_end_of_args()?;
                file.roll_local_time = true;
            }
            "roll_keep" => file.roll_keep = integer(cursor)?,
            "roll_keep_for" => {
                let time = duration(cursor)?.as_nanoseconds();
                if time < 0 {
                    return Err(cursor.error_here("negative roll_keep_for duration"));
                }
                file.roll_keep_days = round_up(time, DAY_NANOSECONDS);
            }
            "roll_interval" => file.roll_interval = duration(cursor)?,
            "roll_minutes" => {
                for minute in cursor.remaining_args() {
                    let parsed = minute
                        .text
                        .parse()
                        .ok()
                        .filter(|minute| (0..60).contains(minute));
                    file.roll_minutes.push(parsed.ok_or_else(|| {
                        let message = format!("invalid roll_minutes number `{}`", minute.text);
                        Diagnostic::error_at(minute, message)
                    })?);
                }
            }
            "roll_at" => file.roll_at = cursor.remaining_values(),
            "backup_time_format" => file.backup_time_format = one_value(cursor)?,
            _ => {
                let known = [
                    "backup_time_format",
                    "dir_mode",
                    "mode",
                    "roll_at",
                    "roll_compression",
                    "roll_disabled",
                    "roll_interval",
                    "roll_keep",
                    "roll_keep_for",
                    "roll_local_time",
                    "roll_minutes",
                    "roll_size",
                    "roll_uncompressed",
                ];
                return Err(cursor.unknown_subdirective("output file", known));
            }
        }
    }
    Ok(file)
}

/// Permissions, written back as Caddy does: octal with at least four digits.
fn parse_mode(cursor: &mut Cursor<'_>) -> Result<String, Diagnostic> {
    let text = one_value(cursor)?;
    if matches!(text.as_str(), "inherit" | "from_file") {
        return Ok(text);
    }
    let mode = u32::from_str_radix(&text, 8)
        .map_err(|_| cursor.error_here(format!("invalid permissions `{text}`")))?;
    Ok(format!("{mode:04o}"))
}

fn round_up(value: i64, unit: i64) -> i64 {
    value / unit + i64::from(value % unit > 0)
}

fn parse_net(cursor: &mut Cursor<'_>) -> Result<NetWriter, Diagnostic> {
    let mut net = NetWriter {
        address: one_value(cursor)?,
        ..NetWriter::default()
    };
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "dial_timeout" => net.dial_timeout = duration(cursor)?,
            "soft_start" => {
                cursor.expect_end_of_args()?;
                net.soft_start = true;
            }
            _ => {
                let known = ["dial_timeout", "soft_start"];
                return Err(cursor.unknown_subdirective("output net", known));
            }
        }
    }
    Ok(net)
}
