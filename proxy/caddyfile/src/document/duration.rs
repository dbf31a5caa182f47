//! Durations as Go and Caddy write them.

use std::fmt;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A span of time in nanoseconds, which may be negative.
///
/// Written as an integer of nanoseconds; read as that or as a string such as `1h30m`, where Caddy
/// adds the unit `d` of 24 hours to Go's `ns`, `us`, `ms`, `s`, `m` and `h`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Duration(i64);

impl Duration {
    /// A span of `nanoseconds`.
    pub const fn from_nanoseconds(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// A span of whole `seconds`; more than 64 bits of nanoseconds hold is as much as they do.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Reads text such as `300ms`, `-1.5h`, `2h45m` or `7d`.
    ///
    /// # Errors
    ///
    /// The text is not a sequence of decimal numbers each followed by a unit, or the span does
    /// not fit 64 bits of nanoseconds (about 292 years).
    pub fn parse(text: &str) -> Result<Self, ParseDurationError> {
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if unsigned == "0" {
            return Ok(Self(0));
        }
        if unsigned.is_empty() {
            return Err(ParseDurationError::Syntax);
        }

        let mut total: i64 = 0;
        let mut rest = unsigned;
        while !rest.is_empty() {
            let (span, after) = one_unit(rest)?;
            total = total.checked_add(span).ok_or(ParseDurationError::Range)?;
            rest = after;
        }
        Ok(Self(if negative { -total } else { total }))
    }

    /// The span in nanoseconds.
    pub const fn as_nanoseconds(self) -> i64 {
        self.0
    }

    /// The span for the standard library's clocks; a negative one is zero.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DurationVisitor;

        impl Visitor<'_> for DurationVisitor {
            type Value = Duration;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an integer of nanoseconds or a duration such as \"5s\"")
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Duration, E> {
                Ok(Duration(value))
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Duration, E> {
                i64::try_from(value).map(Duration).map_err(E::custom)
            }

            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Duration, E> {
                Duration::parse(value).map_err(E::custom)
            }
        }

        deserializer
            .deserialize_any(DurationVisitor)
            .map_err(D::Error::custom)
    }
}

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseDurationError {
    /// More than 64 bits of nanoseconds.
    #[error("duration is too long")]
    Range,
    /// Not numbers with units.
    #[error("not a duration: write a number and a unit, such as `30s`, `5m` or `1h30m`")]
    Syntax,
}

fn one_unit(text: &str) -> Result<(i64, &str), ParseDurationError> {
    let number_end = text
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .ok_or(ParseDurationError::Syntax)?;
    let (number, rest) = text.split_at(number_end);
    let unit_end = rest
        .find(|character: char| character.is_ascii_digit() || character == '.')
        .unwrap_or(rest.len());
    let (unit, after) = rest.split_at(unit_end);

    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(ParseDurationError::Syntax);
    }
    let scale: i64 = match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return Err(ParseDurationError::Syntax),
    };

    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().map_err(|_| ParseDurationError::Range)?
    };
    let mut span = whole.checked_mul(scale).ok_or(ParseDurationError::Range)?;
    let mut place = scale;
    for digit in fraction.bytes() {
        place /= 10;
        span = span
            .checked_add(place * i64::from(digit - b'0'))
            .ok_or(ParseDurationError::Range)?;
    }
    Ok((span, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        let parse = |text| Duration::parse(text).map(Duration::as_nanoseconds);
        assert_eq!(parse("5s"), Ok(5_000_000_000));
        assert_eq!(parse("1.5h"), Ok(5_400_000_000_000));
        assert_eq!(parse("2h45m"), Ok(9_900_000_000_000));
        assert_eq!(parse("7d"), Ok(604_800_000_000_000));
        assert_eq!(parse("-1ms"), Ok(-1_000_000));
        assert_eq!(parse("0"), Ok(0));
    }

    #[test]
    fn text_without_unit_is_refused() {
        for text in ["", "5", "s", ".", ".s", "1.2.3s", "5 s", "-", "5x"] {
            assert_eq!(
                Duration::parse(text),
                Err(ParseDurationError::Syntax),
                "{text}"
            );
        }
        assert_eq!(
            Duration::parse("99999999999999999999s"),
            Err(ParseDurationError::Range)
        );
        assert_eq!(
            Duration::parse("9999999999h"),
            Err(ParseDurationError::Range)
        );
    }
}
