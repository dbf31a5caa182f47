//! Records: what everything is wrapped in, both ways (FastCGI 1.0 section 3.3).

use bytes::{BufMut as _, BytesMut};

/// Bytes before a record's content.
pub(super) const HEADER: usize = 8;
/// The most content that is put into one record. A multiple of eight, so that full ones need no
/// padding.
pub(super) const LONGEST: usize = 0xfff8;

const VERSION: u8 = 1;
/// A connection carries one request, so its number says nothing.
const REQUEST: u16 = 1;
const RESPONDER: u16 = 1;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Abort,
    Begin,
    End,
    Errors,
    Input,
    /// Nothing that a responder has to say to a request.
    Other,
    Output,
    Variables,
}

/// What precedes a record's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Bytes of content.
    pub(super) length: usize,
    /// Bytes after it that say nothing.
    pub(super) padding: usize,
}

impl Header {
    /// Reads a header, or finds that it is none.
    pub(super) fn parse(bytes: &[u8; HEADER]) -> Option<Self> {
        let [
            version,
            kind,
            request_1,
            request_0,
            length_1,
            length_0,
            padding,
            _,
        ] = *bytes;
        let request = u16::from_be_bytes([request_1, request_0]);
        let kind = Kind::of(kind);
        // Number 0 is for the connection as a whole.
        let is_ours = request == REQUEST || request == 0 && kind == Kind::Other;
        (version == VERSION && is_ours).then(|| Self {
            kind,
            length: u16::from_be_bytes([length_1, length_0]).into(),
            padding: padding.into(),
        })
    }
}

impl Kind {
    fn of(number: u8) -> Self {
        match number {
            3 => Self::End,
            6 => Self::Output,
            7 => Self::Errors,
            _ => Self::Other,
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Begin => 1,
            Self::Abort => 2,
            Self::End => 3,
            Self::Variables => 4,
            Self::Input => 5,
            Self::Output => 6,
            Self::Errors => 7,
            Self::Other => 11,
        }
    }
}

/// The header of a record with `length` bytes of content, at most [`LONGEST`], and no padding.
pub(super) fn header(kind: Kind, length: usize) -> [u8; HEADER] {
    let [request_1, request_0] = REQUEST.to_be_bytes();
    let [.., length_1, length_0] = length.to_be_bytes();
    let kind = kind.number();
    [
        VERSION, kind, request_1, request_0, length_1, length_0, 0, 0,
    ]
}

/// Begins a request whose connection the responder closes after it.
pub(super) fn put_begin(into: &mut BytesMut) {
    into.put_slice(&header(Kind::Begin, 8));
    into.put_u16(RESPONDER);
    into.put_slice(&[0; 6]);
}

/// Puts a whole stream: as many records as `content` takes, and the empty one that ends it.
pub(super) fn put_stream(kind: Kind, content: &[u8], into: &mut BytesMut) {
    for piece in content.chunks(LONGEST) {
        into.put_slice(&header(kind, piece.len()));
        into.put_slice(piece);
    }
    into.put_slice(&header(kind, 0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_they_are_written() {
        let written = header(Kind::Output, 0x1234);
        assert_eq!(written, [1, 6, 0, 1, 0x12, 0x34, 0, 0]);
        let read = Header::parse(&written).unwrap();
        assert_eq!((read.kind, read.length), (Kind::Output, 0x1234));
        assert_eq!(Header::parse(&[1, 6, 0, 1, 0, 0, 7, 0]).unwrap().padding, 7);
    }

    #[test]
    fn other_versions_and_requests_are_refused() {
        for bytes in [
            *b"HTTP/1.1",
            [2, 6, 0, 1, 0, 0, 0, 0],
            [1, 6, 0, 2, 0, 0, 0, 0],
            [1, 6, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(Header::parse(&bytes), None, "{bytes:?}");
        }
        // A responder that does not know a kind of record says so for the connection as a whole.
        assert!(Header::parse(&[1, 11, 0, 0, 0, 8, 0, 0]).is_some());
    }

    #[test]
    fn long_streams_take_several_records() {
        let mut records = BytesMut::new();
        put_stream(Kind::Input, &vec![b'x'; LONGEST + 3], &mut records);
        assert_eq!(records.len(), LONGEST + 3 + 3 * HEADER);
        assert_eq!(records[..HEADER], header(Kind::Input, LONGEST));
        let second = HEADER + LONGEST;
        assert_eq!(records[second..second + HEADER], header(Kind::Input, 3));
        assert_eq!(records[records.len() - HEADER..], header(Kind::Input, 0));
    }
}
