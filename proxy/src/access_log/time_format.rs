//! How times look in log entries.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::Node;
use crate::compile::Scope;

/// How times look.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TimeFormat {
    /// Milliseconds since 1970.
    Milliseconds,
    /// Nanoseconds since 1970.
    Nanoseconds,
    /// A pattern in the form of `strftime`, in local time or in UTC.
    Pattern { pattern: String, is_local: bool },
    /// Seconds since 1970, with a fraction.
    Seconds,
}

/// Pieces of Go's layouts and what `strftime` calls them; longer ones first.
const GO: [(&str, &str); 24] = [
    ("January", "%B"),
    ("Monday", "%A"),
    ("-07:00", "%:z"),
    ("-0700", "%z"),
    ("2006", "%Y"),
    (".000000000", "%.9f"),
    (".999999999", "%.f"),
    (".000000", "%.6f"),
    (".999999", "%.6f"),
    (".000", "%.3f"),
    (",000", ",%3f"),
    (".999", "%.3f"),
    ("Jan", "%b"),
    ("Mon", "%a"),
    ("MST", "%Z"),
    ("01", "%m"),
    ("02", "%d"),
    ("_2", "%e"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("PM", "%p"),
];

impl TimeFormat {
    /// The format of a name or of a layout in Go's form; empty is `default`.
    pub(super) fn compile(name: &str, is_local: bool, default: &str, scope: &mut Scope) -> Self {
        let layout = match if name.is_empty() { default } else { name } {
            "unix_seconds_float" => return Self::Seconds,
            "unix_milli_float" => return Self::Milliseconds,
            "unix_nano" => return Self::Nanoseconds,
            "iso8601" => "2006-01-02T15:04:05.000-0700",
            "rfc3339" => "2006-01-02T15:04:05Z07:00",
            "rfc3339_nano" => "2006-01-02T15:04:05.999999999Z07:00",
            "wall" => "2006/01/02 15:04:05",
            "wall_milli" => "2006/01/02 15:04:05.000",
            "wall_nano" => "2006/01/02 15:04:05.000000000",
            "common_log" => "02/Jan/2006:15:04:05 -0700",
            layout => layout,
        };
        let is_utc = !is_local || TimeZone::system().to_offset(Timestamp::now()).is_zero();
        let pattern = pattern(layout, is_utc);
        if jiff::fmt::strtime::format(&pattern, &Zoned::now()).is_err() {
            scope.error_with_hint(
                format!("the time format `{layout}` is not supported"),
                "use `rfc3339`, `iso8601`, `wall`, `unix_seconds_float` or a layout of Go",
            );
        }
        Self::Pattern { pattern, is_local }
    }

    /// The present time.
    pub(super) fn now(&self) -> Node {
        let now = Timestamp::now();
        match self {
            Self::Seconds => Node::Float(now.as_duration().as_secs_f64()),
            Self::Milliseconds => Node::Float(now.as_duration().as_secs_f64() * 1e3),
            Self::Nanoseconds => {
                Node::Integer(i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX))
            }
            Self::Pattern { pattern, is_local } => {
                let zone = if *is_local {
                    TimeZone::system()
                } else {
                    TimeZone::UTC
                };
                Node::text(now.to_zoned(zone).strftime(pattern).to_string())
            }
        }
    }
}

/// A layout of Go in the form of `strftime`.
fn pattern(layout: &str, is_utc: bool) -> String {
    // Go: `Z` stands for UTC itself, and for the distance from it elsewhere.
    let layout = &layout.replace("Z07:00", if is_utc { "Z" } else { "-07:00" });
    let mut pattern = String::new();
    let mut rest = layout.as_str();
    'rest: while let Some(first) = rest.chars().next() {
        for (go, strftime) in GO {
            if let Some(after) = rest.strip_prefix(go) {
                pattern.push_str(strftime);
                rest = after;
                continue 'rest;
            }
        }
        if first == '%' {
            pattern.push('%');
        }
        pattern.push(first);
        rest = &rest[first.len_utf8()..];
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn layouts_become_patterns() {
        for (layout, expected) in [
            ("2006-01-02T15:04:05Z07:00", "%Y-%m-%dT%H:%M:%SZ"),
            ("02/Jan/2006:15:04:05 -0700", "%d/%b/%Y:%H:%M:%S %z"),
            ("Mon 03:04 PM, 100%", "%a %I:%M %p, 100%%"),
        ] {
            assert_eq!(pattern(layout, true), expected);
        }
        assert_eq!(pattern("05Z07:00", false), "%S%:z");
    }
}
