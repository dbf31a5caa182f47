//! `remote_ip` and `client_ip`.

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::IpRanges;
use crate::matcher::expect_no_lines;
use crate::value::{PRIVATE_RANGES, ip_range};

/// Caddy: `caddyhttp/ip_matchers.go`.
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    findings: &mut Vec<Diagnostic>,
) -> Result<IpRanges, Diagnostic> {
    let mut ranges = Vec::new();
    while let Some(name) = cursor.next_token() {
        while let Some(argument) = cursor.next_arg() {
            match argument.text.as_str() {
                "forwarded" => {
                    let message = "the `forwarded` option is no longer supported";
                    return Err(Diagnostic::error_at(argument, message)
                        .with_help("use the `client_ip` matcher instead"));
                }
                "private_ranges" => {
                    ranges.extend(PRIVATE_RANGES.iter().map(|range| (*range).to_owned()));
                }
                range => {
                    if !is_range(range) {
                        let message = format!("`{range}` is no IP address and no CIDR range");
                        let help =
                            "write for example `192.0.2.7`, `10.0.0.0/8` or `private_ranges`";
                        findings
                            .push(Diagnostic::unsupported_at(argument, message).with_help(help));
                    }
                    ranges.push(range.to_owned());
                }
            }
        }
        expect_no_lines(cursor, &name.text)?;
    }
    Ok(IpRanges { ranges })
}

/// Whether `text` can be a range when the configuration is loaded: with placeholders replaced, and
/// perhaps with a zone.
fn is_range(text: &str) -> bool {
    text.contains('{') || ip_range(text.split('%').next().unwrap_or(text)).is_some()
}
