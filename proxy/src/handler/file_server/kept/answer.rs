//! From a file that is kept to the response that a client is given.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED, RANGE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use proto::representation::multipart::Multipart;
use proto::representation::preconditions::{self, Verdict};
use proto::representation::range::{self, Selection};

use crate::body::ResponseBody;
use crate::file_cache::CachedFile;

/// All of it.
pub(super) fn whole(file: &CachedFile) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::kept(file.body.clone()));
    *response.headers_mut() = file.headers.clone();
    response
}

/// What the conditions and ranges of a GET select of it, as the static-server would.
pub(super) fn selected(request: &HeaderMap, file: &CachedFile) -> Response<ResponseBody> {
    match preconditions::evaluate(request, &file.validators) {
        Verdict::Proceed => {}
        Verdict::NotModified => return not_modified(file),
        Verdict::Failed => return precondition_failed(file),
    }
    let range = request.get(RANGE);
    let range = range.filter(|_| preconditions::range_applies(request, &file.validators));
    let selection = range.map_or(Selection::Whole, |range| {
        range::select(range.as_bytes(), file.body.len() as u64)
    });
    match selection {
        Selection::Whole => whole(file),
        // The coding would be that of the frame, which has none.
        Selection::Parts(_) if file.headers.contains_key(CONTENT_ENCODING) => whole(file),
        Selection::Part(part) => one_part(file, &part),
        Selection::Parts(parts) => several_parts(file, parts),
        Selection::Unsatisfiable => unsatisfiable(file),
    }
}

fn one_part(file: &CachedFile, part: &Range<u64>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::full(bytes(file, part)));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let headers = response.headers_mut();
    headers.clone_from(&file.headers);
    let value = format!("bytes {}-{}/{}", part.start, part.end - 1, file.body.len());
    insert(headers, CONTENT_RANGE, value);
    headers.insert(CONTENT_LENGTH, (part.end - part.start).into());
    response
}

fn several_parts(file: &CachedFile, parts: Vec<Range<u64>>) -> Response<ResponseBody> {
    let size = file.body.len() as u64;
    let multipart = Multipart::new(parts, size, file.headers.get(CONTENT_TYPE));
    let mut body = BytesMut::new();
    for (head, part) in &multipart.parts {
        body.extend_from_slice(head);
        body.extend_from_slice(&bytes(file, part));
    }
    body.extend_from_slice(&multipart.end);
    let mut response = Response::new(ResponseBody::full(body.freeze()));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let headers = response.headers_mut();
    headers.clone_from(&file.headers);
    headers.insert(CONTENT_TYPE, multipart.content_type);
    headers.insert(CONTENT_LENGTH, multipart.length.into());
    response
}

fn unsatisfiable(file: &CachedFile) -> Response<ResponseBody> {
    let mut response = empty(StatusCode::RANGE_NOT_SATISFIABLE);
    let headers = response.headers_mut();
    headers.clone_from(&file.headers);
    for name in [CONTENT_ENCODING, CONTENT_TYPE, ETAG, LAST_MODIFIED] {
        headers.remove(name);
    }
    insert(
        headers,
        CONTENT_RANGE,
        format!("bytes */{}", file.body.len()),
    );
    headers.insert(CONTENT_LENGTH, 0.into());
    response
}

/// The fields of a 304 are those that a 200 would have had, where they matter to a cache (RFC 9110
/// section 15.4.5).
fn not_modified(file: &CachedFile) -> Response<ResponseBody> {
    let mut response = empty(StatusCode::NOT_MODIFIED);
    copy(file, &[ETAG, VARY], response.headers_mut());
    if !file.headers.contains_key(ETAG) {
        copy(file, &[LAST_MODIFIED], response.headers_mut());
    }
    response
}

fn precondition_failed(file: &CachedFile) -> Response<ResponseBody> {
    let mut response = empty(StatusCode::PRECONDITION_FAILED);
    let headers = response.headers_mut();
    copy(file, &[ETAG, LAST_MODIFIED, VARY], headers);
    headers.insert(CONTENT_LENGTH, 0.into());
    response
}

fn empty(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = status;
    response
}

fn copy(file: &CachedFile, names: &[HeaderName], headers: &mut HeaderMap) {
    for name in names {
        if let Some(value) = file.headers.get(name) {
            headers.insert(name, value.clone());
        }
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// The bytes of a part, which lies within the file.
fn bytes(file: &CachedFile, part: &Range<u64>) -> Bytes {
    let index = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
    file.body.slice(index(part.start)..index(part.end))
}
