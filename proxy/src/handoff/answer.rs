//! From a replica's message to a response, which is checked as what comes from elsewhere.

use std::cell::Cell;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode};
use proto::files::v1::handoff_segment::Content;
use proto::files::v1::{HandoffAnswer, HandoffFile, HandoffSegment};
use proto::handoff::{FileState, HandoffError, headers};
use tokio::sync::OwnedSemaphorePermit;

use super::{FileBody, OpenFile, Piece};
use crate::body::ResponseBody;

/// Reads an answer. `None` when the file changed on the way, so that it is to be asked for again.
/// The permit is taken if there is an open file.
///
/// # Errors
/// When the message makes no sense.
pub(super) fn read(
    answer: HandoffAnswer,
    descriptor: Option<OwnedFd>,
    is_head: bool,
    permit: &Cell<Option<OwnedSemaphorePermit>>,
) -> Result<Option<Response<ResponseBody>>, HandoffError> {
    let status = u16::try_from(answer.status).ok();
    let status = status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .filter(|status| !status.is_informational())
        .ok_or(HandoffError::Nonsense("its status is none of a response"))?;
    let headers = headers(answer.fields)?;
    let (pieces, length) = pieces(answer.body, answer.file.as_ref())?;
    check_length(status, &headers, length, is_head)?;
    let file = match (answer.file, descriptor) {
        (Some(file), Some(descriptor)) => {
            let state = FileState::of(&descriptor).map_err(HandoffError::Io)?;
            let Some(state) = state else {
                return Err(HandoffError::Nonsense("what it hands over is no file"));
            };
            if state != FileState::from(&file) {
                return Ok(None);
            }
            Some(Arc::new(OpenFile {
                descriptor,
                state,
                path: file.path,
                _permit: permit.take(),
            }))
        }
        (None, None) => None,
        _ => {
            return Err(HandoffError::Nonsense(
                "its file is missing, or not spoken of",
            ));
        }
    };
    let mut response = Response::new(body(pieces, file));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(Some(response))
}

/// The pieces of the body, and their bytes together.
fn pieces(
    segments: Vec<HandoffSegment>,
    file: Option<&HandoffFile>,
) -> Result<(VecDeque<Piece>, u64), HandoffError> {
    let mut pieces = VecDeque::with_capacity(segments.len());
    let mut total = 0_u64;
    for segment in segments {
        let piece = match segment.content {
            Some(Content::Literal(bytes)) => Piece::Literal(Bytes::from(bytes)),
            Some(Content::Range(range)) => {
                let end = range.offset.checked_add(range.length);
                let size = file.map_or(0, |file| file.size);
                match end.filter(|end| *end <= size) {
                    Some(end) => Piece::Range(range.offset..end),
                    None => return Err(HandoffError::Nonsense("a range lies outside its file")),
                }
            }
            None => return Err(HandoffError::Nonsense("a segment of its body is empty")),
        };
        let length = piece.length();
        if length == 0 {
            return Err(HandoffError::Nonsense("a segment of its body is empty"));
        }
        total = total
            .checked_add(length)
            .ok_or(HandoffError::Nonsense("its body is too long"))?;
        pieces.push_back(piece);
    }
    Ok((pieces, total))
}

/// A length that is not the body's would let the client wait, or take the rest for the next response.
fn check_length(
    status: StatusCode,
    headers: &HeaderMap,
    length: u64,
    is_head: bool,
) -> Result<(), HandoffError> {
    let has_none =
        is_head || status == StatusCode::NOT_MODIFIED || status == StatusCode::NO_CONTENT;
    if has_none && length > 0 {
        return Err(HandoffError::Nonsense("it has a body where there is none"));
    }
    let mut announced = headers.get_all(CONTENT_LENGTH).iter();
    let (first, second) = (announced.next(), announced.next());
    let first = first.map(|value| {
        value
            .to_str()
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    });
    let is_right = match first {
        None => length == 0,
        Some(None) => false,
        Some(Some(announced)) => has_none || length == announced,
    };
    if is_right && second.is_none() {
        Ok(())
    } else {
        Err(HandoffError::Nonsense(
            "its Content-Length is not its body's",
        ))
    }
}

fn body(mut pieces: VecDeque<Piece>, file: Option<Arc<OpenFile>>) -> ResponseBody {
    match file {
        Some(file) => ResponseBody::File(Box::new(FileBody::new(pieces, file))),
        // Only literal pieces: ranges were found to lie within a file.
        None if pieces.len() <= 1 => match pieces.pop_front() {
            Some(Piece::Literal(bytes)) => ResponseBody::full(bytes),
            _ => ResponseBody::Empty,
        },
        None => {
            let literals = pieces.iter().filter_map(|piece| match piece {
                Piece::Literal(bytes) => Some(bytes.as_ref()),
                Piece::Range(_) => None,
            });
            ResponseBody::full(literals.collect::<Vec<_>>().concat().into())
        }
    }
}
