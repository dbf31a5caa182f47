//! `{time.now.*}` and durations in Go's form.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::display;

/// A form of the present time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// `02/Jan/2006:15:04:05 -0700`.
    CommonLog,
    /// `2006-01-02 15:04:05.999999999 -0700 MST`.
    Full,
    /// As in `Date`.
    Http,
    /// Seconds since 1970.
    Unix,
    /// Milliseconds since 1970.
    UnixMs,
    /// The year.
    Year,
}

impl TimeFormat {
    pub(super) fn now(self) -> Cow<'static, str> {
        let since_1970 = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
        };
        match self {
            Self::CommonLog => display(jiff::Zoned::now().strftime("%d/%b/%Y:%H:%M:%S %z")),
            Self::Full => display(jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S%.f %z %Z")),
            Self::Http => display(httpdate::HttpDate::from(SystemTime::now())),
            Self::Unix => display(since_1970().as_secs()),
            Self::UnixMs => display(since_1970().as_millis()),
            Self::Year => display(jiff::Zoned::now().year()),
        }
    }
}

/// A duration as Go prints it: `1h2m3.5s`, `1.5ms`, `300µs`.
pub(crate) fn go_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let fraction = |whole: u128, part: u128, digits: usize| {
        let text = format!("{whole}.{part:0digits$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    if nanoseconds < 1_000 {
        return format!("{nanoseconds}ns");
    }
    if nanoseconds < 1_000_000 {
        return fraction(nanoseconds / 1_000, nanoseconds % 1_000, 3) + "µs";
    }
    if nanoseconds < 1_000_000_000 {
        return fraction(nanoseconds / 1_000_000, nanoseconds % 1_000_000, 6) + "ms";
    }
    let seconds = duration.as_secs();
    let last = fraction(u128::from(seconds % 60), nanoseconds % 1_000_000_000, 9);
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{last}s"),
        (0, minutes) => format!("{minutes}m{last}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{last}s"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::go_duration;

    #[test]
    fn durations_are_written_as_in_go() {
        for (nanoseconds, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (245_000_000_000, "4m5s"),
            (18_367_001_000_000, "5h6m7.001s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(nanoseconds)), expected);
        }
    }
}
