//! The answer to a file request: response head and content.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode, request};
use proto::file_request::{
    FILE_MATCH, FILE_PATH, FILE_REQUEST, FileMatch, FileRequest, file_path_value,
};
use proto::representation::Validators;
use proto::representation::multipart::Multipart;
use proto::representation::preconditions::{self, Verdict};
use proto::representation::range::{self, Selection};

use super::content::Content;
use super::content_type;
use super::error::ServeError;
use super::extent::Extent;
use super::path::RequestPath;
use super::resolve::{Found, Representation, Search};
use super::untrusted;
use super::validator::{last_modified, validators};
use crate::volume::{Lookup, Root, Volumes};

/// A response head, and what follows it.
pub type Answer = Response<Content>;

/// How often a file is looked at anew when it changed just before, or between its head and its
/// reading.
const CHANGE_RETRIES: usize = 3;

const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// Answers a request by looking at the volumes.
///
/// # Errors
/// [`ServeError::WouldBlock`] with [`Lookup::Cached`] asks for the same with [`Lookup::Full`]; for
/// any other, [`refusal`] is the answer.
pub fn answer(
    volumes: &Volumes,
    request: &request::Parts,
    lookup: Lookup,
) -> Result<Answer, ServeError> {
    // RFC 9110 section 9.3.7: the server as a whole.
    if request.uri.path() == "*" {
        return Ok(options());
    }
    let options;
    let path = RequestPath::parse(request.uri.path()).map_err(ServeError::Path)?;
    let search = |request_options, root, path, is_rewritten| Search {
        request: request_options,
        root,
        path,
        query: request.uri.query(),
        headers: &request.headers,
        is_rewritten,
        lookup,
    };
    match request.headers.get(FILE_REQUEST) {
        Some(header) => {
            options = FileRequest::from_header(header.as_bytes()).map_err(ServeError::Header)?;
            let root = || {
                volumes
                    .root(&options.root)
                    .ok_or_else(|| outside(volumes, &options.root))
            };
            finish(volumes, request, lookup, || {
                Ok(search(&options, root()?, path.clone(), true))
            })
        }
        None => {
            let (volume, below) = volumes
                .innermost(path.relative())
                .ok_or(ServeError::NotFound)?;
            options = plain(&volume.path, request.uri.path());
            finish(volumes, request, lookup, || {
                let root = Root::of(Arc::clone(volume));
                Ok(search(
                    &options,
                    root,
                    path.clone().with_relative(below.to_vec()),
                    false,
                ))
            })
        }
    }
}

/// The answer for an error.
pub fn refusal(error: &ServeError) -> Answer {
    let mut answer = respond(error.status(), HeaderMap::new(), Content::Empty, Some(0));
    if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
        answer
            .headers_mut()
            .insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    answer
}

/// Searches and represents, again if the file changes in between. A file that is being written is
/// waited for, but not for long.
fn finish<'a>(
    volumes: &Volumes,
    request: &request::Parts,
    lookup: Lookup,
    search: impl Fn() -> Result<Search<'a>, ServeError>,
) -> Result<Answer, ServeError> {
    let mut tries = 0;
    loop {
        let found = search()?.run()?;
        let result = match found {
            Found::Match(found) => return probe(&found),
            Found::Redirect(location) => return redirect(&location),
            Found::Listing(listing) => {
                return Ok(other_method(&request.method).unwrap_or_else(|| listing.answer(request)));
            }
            Found::Representation(found) => {
                let settles_in = found.sent.snapshot.settles_in(SystemTime::now());
                match settles_in {
                    Some(_) if lookup == Lookup::Cached => return Err(ServeError::WouldBlock),
                    Some(time) if tries < CHANGE_RETRIES => {
                        tries += 1;
                        std::thread::sleep(time);
                        continue;
                    }
                    _ => {}
                }
                let is_untrusted = volumes.is_untrusted(&found.path);
                let traits = Traits {
                    is_settled: settles_in.is_none(),
                    is_untrusted,
                };
                represent(request, found, traits, lookup)
            }
        };
        tries += 1;
        if !matches!(result, Err(ServeError::Changing { .. })) || tries > CHANGE_RETRIES {
            return result;
        }
    }
}

/// What else counts of a file.
#[derive(Clone, Copy)]
struct Traits {
    /// Whether any change from now on will show in its modification time.
    is_settled: bool,
    /// Whether anybody may have written it.
    is_untrusted: bool,
}

/// The answer with a file: the method, then the preconditions, then the range (RFC 9110 section
/// 13.2.1).
fn represent(
    request: &request::Parts,
    found: Representation,
    traits: Traits,
    lookup: Lookup,
) -> Result<Answer, ServeError> {
    if let Some(answer) = other_method(&request.method) {
        return Ok(answer);
    }
    let is_get = request.method == Method::GET;
    let validators = validators(&found.sent.snapshot, &found.named, traits.is_settled);
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(header::VARY, VARY);
    if let Some(answer) = precondition(request, &validators, &mut headers) {
        return Ok(answer);
    }
    headers.insert(header::ACCEPT_RANGES, BYTES);
    let size = found.sent.snapshot.size;
    let mut own_type = content_type::of(&found.path);
    if traits.is_untrusted {
        own_type = untrusted::content_type(own_type);
    }
    let selection = match request.headers.get(header::RANGE) {
        // RFC 9110 section 14.2: ranges are defined for GET alone.
        Some(value) if is_get && preconditions::range_applies(&request.headers, &validators) => {
            range::select(value.as_bytes(), size)
        }
        _ => Selection::Whole,
    };
    if traits.is_untrusted {
        untrusted::guard(&mut headers, own_type.as_ref());
    }
    let whole = (StatusCode::OK, Extent::One(0..size), own_type.clone());
    let (status, extent, content_type) = match selection {
        Selection::Whole => whole,
        // The coding would be that of the frame, which has none.
        Selection::Parts(_) if found.coding.is_some() => whole,
        Selection::Part(part) => {
            let value = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            insert(&mut headers, header::CONTENT_RANGE, value.try_into().ok());
            (StatusCode::PARTIAL_CONTENT, Extent::One(part), own_type)
        }
        Selection::Parts(parts) => {
            let multipart = Multipart::new(parts, size, own_type.as_ref());
            let content_type = Some(multipart.content_type.clone());
            let extent = Extent::Several(multipart);
            (StatusCode::PARTIAL_CONTENT, extent, content_type)
        }
        Selection::Unsatisfiable => {
            headers.remove(header::ETAG);
            let value = format!("bytes */{size}");
            insert(&mut headers, header::CONTENT_RANGE, value.try_into().ok());
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            return Ok(respond(status, headers, Content::Empty, Some(0)));
        }
    };
    insert(
        &mut headers,
        header::LAST_MODIFIED,
        last_modified(&validators),
    );
    insert(&mut headers, header::CONTENT_TYPE, content_type);
    if let Some(coding) = found.coding {
        let coding = HeaderValue::from_static(coding.as_str());
        headers.insert(header::CONTENT_ENCODING, coding);
    }
    // Who keeps it must hear of changes.
    let may_be_kept = found.is_watched && traits.is_settled;
    if may_be_kept
        && status == StatusCode::OK
        && is_get
        && request.headers.contains_key(FILE_REQUEST)
    {
        let name = HeaderName::from_static(FILE_PATH);
        let value = file_path_value(&found.path).try_into().ok();
        insert(&mut headers, name, value);
    }
    let length = extent.length();
    let content = if is_get {
        extent.content(found, lookup)?
    } else {
        Content::Empty
    };
    Ok(respond(status, headers, content, Some(length)))
}

/// The answer of a request whose preconditions do not hold, or hold for nothing new. Else puts the
/// entity tag into `headers`, which are those that the answer has in any case.
pub(super) fn precondition(
    request: &request::Parts,
    validators: &Validators,
    headers: &mut HeaderMap,
) -> Option<Answer> {
    if let Some(etag) = &validators.etag_value {
        headers.insert(header::ETAG, etag.clone());
    }
    let (status, length) = match preconditions::evaluate(&request.headers, validators) {
        Verdict::Proceed => return None,
        Verdict::NotModified => (StatusCode::NOT_MODIFIED, None),
        Verdict::Failed => (StatusCode::PRECONDITION_FAILED, Some(0)),
    };
    // RFC 9110 section 15.4.5: a 304 has the date only where there is nothing better.
    if status != StatusCode::NOT_MODIFIED || validators.etag_value.is_none() {
        let date = last_modified(validators);
        insert(headers, header::LAST_MODIFIED, date);
    }
    let headers = std::mem::take(headers);
    Some(respond(status, headers, Content::Empty, length))
}

/// The answer to a method that does not read.
fn other_method(method: &Method) -> Option<Answer> {
    match *method {
        Method::GET | Method::HEAD => return None,
        Method::OPTIONS => return Some(options()),
        _ => {}
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::ALLOW, ALLOWED);
    headers.insert(header::VARY, VARY);
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Some(respond(status, headers, Content::Empty, Some(0)))
}

fn options() -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert(header::ALLOW, ALLOWED);
    respond(StatusCode::NO_CONTENT, headers, Content::Empty, None)
}

fn redirect(location: &str) -> Result<Answer, ServeError> {
    let mut headers = HeaderMap::new();
    let location = HeaderValue::try_from(location)
        .map_err(|_| ServeError::Path(super::path::PathError::Encoding))?;
    headers.insert(header::LOCATION, location);
    Ok(respond(
        StatusCode::PERMANENT_REDIRECT,
        headers,
        Content::Empty,
        Some(0),
    ))
}

fn probe(found: &FileMatch) -> Result<Answer, ServeError> {
    let value = found.to_header().map_err(ServeError::Header)?;
    let mut headers = HeaderMap::new();
    insert(
        &mut headers,
        HeaderName::from_static(FILE_MATCH),
        value.try_into().ok(),
    );
    Ok(respond(
        StatusCode::NO_CONTENT,
        headers,
        Content::Empty,
        None,
    ))
}

fn respond(
    status: StatusCode,
    mut headers: HeaderMap,
    content: Content,
    length: Option<u64>,
) -> Answer {
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let mut response = Response::new(content);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value);
    }
}

/// The options of a request that no proxy made: the volume under its own path.
fn plain(volume: &str, path: &str) -> FileRequest {
    FileRequest {
        root: volume.to_owned(),
        index: vec!["index.html".to_owned()],
        canonical_path: Some(path.to_owned()),
        ..FileRequest::default()
    }
}

fn outside(volumes: &Volumes, root: &str) -> ServeError {
    let mut names = String::new();
    for (at, volume) in volumes.iter().enumerate() {
        let separator = if at == 0 { "" } else { ", " };
        let _ = write!(names, "{separator}{}", volume.path);
    }
    ServeError::Outside {
        root: root.to_owned(),
        volumes: names,
    }
}

/// Caddy: also without a coded variant, since a proxy may compress on the way.
const VARY: HeaderValue = HeaderValue::from_static("Accept-Encoding");
const BYTES: HeaderValue = HeaderValue::from_static("bytes");
