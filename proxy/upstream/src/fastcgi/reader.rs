//! Reading what a responder sends, piece by piece.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

use super::record::{HEADER, Header, Kind};

/// What is read at a time, in bytes.
const CHUNK: usize = 16 << 10;
/// Bytes of content that the end of a request has (FastCGI 1.0 section 5.5).
const END_LENGTH: usize = 8;

/// Takes a stream of records apart. Holds no more than it reads at a time: content is handed on
/// before its record is whole.
pub(super) struct Reader<S> {
    stream: S,
    buffer: BytesMut,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    /// Between two records.
    Header,
    /// So many bytes of content and of padding are still to come.
    Content(Kind, usize, usize),
    Padding(usize),
}

/// A piece of what came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The request is over.
    End(End),
    /// From the standard error.
    Errors(Bytes),
    /// From the standard output: the response.
    Output(Bytes),
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The script ended.
    Complete,
    /// The responder refused the request, and why.
    Refused(&'static str),
}

impl<S: AsyncRead + Unpin> Reader<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            state: State::Header,
        }
    }

    /// The next piece. Not to be asked again after [`Piece::End`].
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Piece>> {
        loop {
            if let Some(piece) = self.take_piece()? {
                return Poll::Ready(Ok(piece));
            }
            self.buffer.reserve(CHUNK);
            let count = ready!(poll_read_buf(
                Pin::new(&mut self.stream),
                cx,
                &mut self.buffer
            ))?;
            if count == 0 {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the connection ended before the request did",
                )));
            }
        }
    }

    /// The next piece of what has been read already.
    pub(super) fn take_piece(&mut self) -> io::Result<Option<Piece>> {
        loop {
            match self.state {
                State::Header => {
                    let Some(bytes) = self.buffer.first_chunk::<HEADER>() else {
                        return Ok(None);
                    };
                    let header = Header::parse(bytes).ok_or_else(|| {
                        io::Error::new(io::ErrorKind::InvalidData, "this is no FastCGI record")
                    })?;
                    self.buffer.advance(HEADER);
                    self.state = State::Content(header.kind, header.length, header.padding);
                }
                State::Content(Kind::End, length, padding) => {
                    if length < END_LENGTH {
                        return Err(io::Error::new(
                            io::ErrorKind::InvalidData,
                            "the record that ends the request is too short",
                        ));
                    }
                    let Some(content) = self.buffer.first_chunk::<END_LENGTH>() else {
                        return Ok(None);
                    };
                    let end = End::of(content[4]);
                    self.buffer.advance(END_LENGTH);
                    self.state = State::Padding(length - END_LENGTH + padding);
                    return Ok(Some(Piece::End(end)));
                }
                State::Content(_, 0, padding) => self.state = State::Padding(padding),
                State::Content(kind, length, padding) => {
                    let count = length.min(self.buffer.len());
                    if count == 0 {
                        return Ok(None);
                    }
                    let content = self.buffer.split_to(count).freeze();
                    self.state = State::Content(kind, length - count, padding);
                    match kind {
                        Kind::Errors => return Ok(Some(Piece::Errors(content))),
                        Kind::Output => return Ok(Some(Piece::Output(content))),
                        _ => {}
                    }
                }
                State::Padding(0) => self.state = State::Header,
                State::Padding(length) => {
                    let count = length.min(self.buffer.len());
                    if count == 0 {
                        return Ok(None);
                    }
                    self.buffer.advance(count);
                    self.state = State::Padding(length - count);
                }
            }
        }
    }
}

impl End {
    /// What a protocol status means (FastCGI 1.0 section 5.5).
    fn of(status: u8) -> Self {
        match status {
            0 => Self::Complete,
            1 => Self::Refused("it serves one request per connection"),
            2 => Self::Refused("it is overloaded"),
            3 => Self::Refused("it is no responder"),
            _ => Self::Refused("it gave a reason that is not known"),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut as _;

    use super::super::record::{header, put_stream};
    use super::*;

    /// All pieces of `bytes`, which come in parts of `size`.
    fn pieces(bytes: &[u8], size: usize) -> io::Result<Vec<Piece>> {
        let mut reader = Reader::new(tokio::io::empty());
        let mut pieces = Vec::new();
        for part in bytes.chunks(size) {
            reader.buffer.extend_from_slice(part);
            while let Some(piece) = reader.take_piece()? {
                pieces.push(piece);
            }
        }
        Ok(pieces)
    }

    fn end(status: u8) -> Vec<u8> {
        let mut bytes = header(Kind::End, 8).to_vec();
        bytes.extend_from_slice(&[0, 0, 0, 0, status, 0, 0, 0]);
        bytes
    }

    #[test]
    fn content_is_handed_on_before_its_record_is_whole() {
        let mut bytes = BytesMut::new();
        put_stream(Kind::Output, b"hello", &mut bytes);
        bytes.put_slice(&end(0));
        for size in 1..bytes.len() {
            let mut output = Vec::new();
            let mut ends = 0;
            for piece in pieces(&bytes, size).unwrap() {
                match piece {
                    Piece::Output(content) => output.extend_from_slice(&content),
                    Piece::End(End::Complete) => ends += 1,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!((output.as_slice(), ends), (&b"hello"[..], 1), "{size}");
        }
        let first = pieces(&bytes[..HEADER + 2], 64).unwrap();
        assert_eq!(first, [Piece::Output(Bytes::from_static(b"he"))]);
    }

    #[test]
    fn padding_and_what_is_not_known_are_passed_over() {
        let mut bytes = vec![1, 7, 0, 1, 0, 2, 3, 0];
        bytes.extend_from_slice(b"no???");
        bytes.extend_from_slice(&[1, 99, 0, 1, 0, 1, 0, 0, b'x']);
        bytes.extend_from_slice(&end(2));
        let expected = [
            Piece::Errors(Bytes::from_static(b"no")),
            Piece::End(End::Refused("it is overloaded")),
        ];
        assert_eq!(pieces(&bytes, 64).unwrap(), expected);
    }

    #[test]
    fn other_protocols_are_noticed() {
        let error = pieces(b"HTTP/1.1 400 Bad Request\r\n", 64).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
