//! Arguments that are not plain text.

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::Duration;
use crate::token::Token;

/// The only argument of the line.
///
/// # Errors
///
/// There is none, or more than one.
pub(crate) fn one_value(cursor: &mut Cursor<'_>) -> Result<String, Diagnostic> {
    let [token] = cursor.expect_args()?;
    Ok(token.text.clone())
}

/// The next argument as a duration.
///
/// # Errors
///
/// There is none, or it is no duration.
pub(crate) fn duration(cursor: &mut Cursor<'_>) -> Result<Duration, Diagnostic> {
    let name = cursor.value();
    let token = cursor.expect_arg()?;
    Duration::parse(&token.text).map_err(|error| {
        Diagnostic::error_at(
            token,
            format!("bad duration value `{}` of `{name}`", token.text),
        )
        .with_help(error.to_string())
    })
}

/// The next argument as a decimal integer.
///
/// # Errors
///
/// There is none, or it is no integer.
pub(crate) fn integer(cursor: &mut Cursor<'_>) -> Result<i64, Diagnostic> {
    let name = cursor.value();
    let token = cursor.expect_arg()?;
    parse_integer(token, name)
}

/// A status, or a class such as `2xx` as its one digit.
///
/// # Errors
///
/// It is neither.
pub(crate) fn status(token: &Token) -> Result<i64, Diagnostic> {
    let text = &token.text;
    let digits = match text.strip_suffix("xx") {
        Some(class) if text.len() == 3 => class,
        _ => text,
    };
    digits.parse().map_err(|_| {
        Diagnostic::error_at(token, format!("bad status value `{text}`"))
            .with_help("write a status such as `404` or a class such as `4xx`")
    })
}

/// The next argument as a number of bytes, such as `512`, `10MB` or `1.5GiB`.
///
/// # Errors
///
/// There is none, or it is no size.
pub(crate) fn size(cursor: &mut Cursor<'_>) -> Result<i64, Diagnostic> {
    let name = cursor.value();
    let token = cursor.expect_arg()?;
    parse_size(&token.text).ok_or_else(|| {
        Diagnostic::error_at(token, format!("invalid size `{}` of `{name}`", token.text))
            .with_help("write a number and a unit, such as `10MB` (decimal) or `10MiB` (binary)")
    })
}

/// A value of the type that it looks like, unless it is quoted.
pub(crate) fn scalar(token: &Token) -> serde_json::Value {
    let text = token.text.as_str();
    if token.is_quoted() {
        return text.into();
    }
    if let Ok(integer) = text.parse::<i64>() {
        return integer.into();
    }
    if let Some(number) = text
        .parse::<f64>()
        .ok()
        .and_then(serde_json::Number::from_f64)
    {
        return number.into();
    }
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => true.into(),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => false.into(),
        _ => text.into(),
    }
}

fn parse_integer(token: &Token, name: &str) -> Result<i64, Diagnostic> {
    token.text.parse().map_err(|_| {
        let message = format!("bad integer value `{}` of `{name}`", token.text);
        Diagnostic::error_at(token, message)
    })
}

/// Caddy: `humanize.ParseBytes`.
fn parse_size(text: &str) -> Option<i64> {
    let end = text
        .find(|character: char| !character.is_ascii_digit() && !matches!(character, '.' | ','))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.replace(',', "").parse().ok()?;
    let scale: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "p" | "pb" => 1e15,
        "e" | "eb" => 1e18,
        "ki" | "kib" => 1024.0,
        "mi" | "mib" => 1024.0 * 1024.0,
        "gi" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "ti" | "tib" => 1024.0_f64.powi(4),
        "pi" | "pib" => 1024.0_f64.powi(5),
        "ei" | "eib" => 1024.0_f64.powi(6),
        _ => return None,
    };
    let bytes = number * scale;
    // The cast rounds down as Go's does; sizes past 64 bits are refused.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked against the bounds before"
    )]
    (bytes < 9.2e18).then_some(bytes as i64)
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_are_decimal_or_binary() {
        assert_eq!(parse_size("512"), Some(512));
        assert_eq!(parse_size("10MB"), Some(10_000_000));
        assert_eq!(parse_size("10 mib"), Some(10_485_760));
        assert_eq!(parse_size("1.5k"), Some(1500));
        assert_eq!(parse_size("1,024b"), Some(1024));
        assert_eq!(parse_size("ten"), None);
        assert_eq!(parse_size("1xb"), None);
        assert_eq!(parse_size("99EB"), None);
    }
}
