//! The head of a script's response (RFC 3875 section 6).

use http::header::TRANSFER_ENCODING;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

/// The longest head, in bytes, where the configuration sets no limit.
pub(super) const LONGEST: usize = 256 << 10;

const STATUS: HeaderName = HeaderName::from_static("status");

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeadError {
    /// A line is no field.
    #[error("the head of the script's response has a line that is no field")]
    Line,
    /// `Status` is not a status of a whole response.
    #[error("the script's `Status` is no status from 200 to 999")]
    Status,
    /// It says that its body is coded, which only a server may decide.
    #[error("the script sent `Transfer-Encoding`, which it must leave to the server")]
    TransferEncoding,
}

/// Reads a head, once it is whole; with the number of bytes that it takes.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Response<()>, usize)>, HeadError> {
    let mut headers = HeaderMap::new();
    let mut length = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(text) = line.strip_suffix(b"\n") else {
            return Ok(None);
        };
        length += line.len();
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.is_empty() {
            return response(headers).map(|response| Some((response, length)));
        }
        let (name, value) = field(text).ok_or(HeadError::Line)?;
        headers.append(name, value);
    }
    Ok(None)
}

fn field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let name = HeaderName::from_bytes(name.trim_ascii_end()).ok()?;
    let value = HeaderValue::from_bytes(value.trim_ascii()).ok()?;
    Some((name, value))
}

/// `Status` stays among the fields, as in Caddy.
fn response(headers: HeaderMap) -> Result<Response<()>, HeadError> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(HeadError::TransferEncoding);
    }
    let status = match headers.get(STATUS) {
        None => StatusCode::OK,
        Some(value) => {
            let code = value.as_bytes().split(|byte| *byte == b' ').next();
            let status = StatusCode::from_bytes(code.unwrap_or_default());
            let status = status.map_err(|_| HeadError::Status)?;
            // Not the end of a response, and 101 would open a tunnel.
            if status.is_informational() {
                return Err(HeadError::Status);
            }
            status
        }
    };
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_end_at_an_empty_line() {
        for text in ["A: 1\r\nB:2\r\n\r\nbody", "A: 1\nB : 2\n\nbody"] {
            let (response, length) = parse(text.as_bytes()).unwrap().unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()["a"], "1");
            assert_eq!(response.headers()["b"], "2");
            assert_eq!(&text[length..], "body");
        }
        for text in ["", "A: 1", "A: 1\r\n", "A: 1\r\n\r"] {
            assert!(parse(text.as_bytes()).unwrap().is_none(), "{text:?}");
        }
    }

    #[test]
    fn the_status_is_a_field() {
        let status = |text: &str| parse(text.as_bytes()).map(|parsed| parsed.unwrap().0.status());
        assert_eq!(
            status("Status: 404 Not Found\n\n"),
            Ok(StatusCode::NOT_FOUND)
        );
        assert_eq!(
            status("Status: 302\nLocation: /\n\n"),
            Ok(StatusCode::FOUND)
        );
        for wrong in ["x", "", "42", "101 Switching Protocols", "100"] {
            let head = format!("Status: {wrong}\n\n");
            assert_eq!(status(&head), Err(HeadError::Status), "{wrong}");
        }
    }

    #[test]
    fn fields_may_come_several_times() {
        let head = b"Set-Cookie: a\r\nSet-Cookie: b\r\n\r\n";
        let (response, _) = parse(head).unwrap().unwrap();
        let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a", "b"]);
    }

    #[test]
    fn other_lines_are_refused() {
        for text in ["<html>\n\n", "A B: 1\n\n", "A: \u{1}\n\n", " folded\n\n"] {
            assert_eq!(
                parse(text.as_bytes()).unwrap_err(),
                HeadError::Line,
                "{text:?}"
            );
        }
        let coded = b"Transfer-Encoding: chunked\n\n";
        assert_eq!(parse(coded).unwrap_err(), HeadError::TransferEncoding);
    }
}
