//! The frame around several parts of one file: `multipart/byteranges` (RFC 9110 section 14.6).

use std::ops::Range;

use bytes::Bytes;
use http::HeaderValue;

/// Several parts of one representation, each behind a head of its own.
#[derive(Clone, Debug)]
pub struct Multipart {
    /// The value of `Content-Type`.
    pub content_type: HeaderValue,
    /// Bytes of all of it, heads and end included.
    pub length: u64,
    /// Each part's head, and which bytes of the file follow it; these are never none.
    pub parts: Vec<(Bytes, Range<u64>)>,
    /// What follows the last part.
    pub end: Bytes,
}

impl Multipart {
    /// The frame of `ranges`, two or more, of a representation of `size` bytes whose own type is
    /// `content_type`.
    pub fn new(ranges: Vec<Range<u64>>, size: u64, content_type: Option<&HeaderValue>) -> Self {
        // Not to be foretold: whoever uploads a file could else end a part from within.
        let boundary = format!(
            "{:032x}{:032x}",
            rand::random::<u128>(),
            rand::random::<u128>()
        );
        let boundary = &boundary[..60];
        let own_type = content_type
            .and_then(|value| value.to_str().ok())
            .map(|value| format!("Content-Type: {value}\r\n"))
            .unwrap_or_default();
        let head = |(at, range): (usize, Range<u64>)| {
            let before = if at == 0 { "" } else { "\r\n" };
            let (first, last) = (range.start, range.end - 1);
            let head = format!(
                "{before}--{boundary}\r\nContent-Range: bytes {first}-{last}/{size}\r\n{own_type}\r\n"
            );
            (Bytes::from(head), range)
        };
        let parts: Vec<_> = ranges.into_iter().enumerate().map(head).collect();
        let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        let of_part =
            |(head, range): &(Bytes, Range<u64>)| head.len() as u64 + (range.end - range.start);
        Self {
            content_type: HeaderValue::try_from(format!(
                "multipart/byteranges; boundary={boundary}"
            ))
            .unwrap_or_else(|_| unreachable!("hexadecimal digits are a value")),
            length: parts.iter().map(of_part).sum::<u64>() + end.len() as u64,
            parts,
            end,
        }
    }
}
