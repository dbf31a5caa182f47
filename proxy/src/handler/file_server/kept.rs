//! Requests that are answered from the worker's own memory, or whose answers go there.

use std::time::SystemTime;

use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, ETAG, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use proto::file_request::parse_file_path;

use crate::body::ResponseBody;
use crate::error::{Error, Side};
use crate::exchange::Exchange;
use crate::file_cache::{self, CachedFile, LARGEST_BODY};

/// Conditions that only the static-server decides on, for they are rare.
const LEFT_TO_THE_STATIC_SERVER: [HeaderName; 4] = [IF_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE];

/// A request whose answer may be kept.
pub(super) struct Request {
    options: HeaderValue,
    varies: bool,
    is_whole: bool,
    /// Position of the announced changes before anybody was asked.
    asked_at: u64,
}

impl Request {
    /// A request that the cache may answer, or `None`. `varies` says that the client's codings count;
    /// `is_whole` that its conditions do not.
    pub(super) fn new(
        exchange: &Exchange,
        method: &Method,
        options: &HeaderValue,
        varies: bool,
        is_whole: bool,
    ) -> Option<Self> {
        let headers = &exchange.head.headers;
        let is_simple = *method == Method::GET
            && (is_whole || !LEFT_TO_THE_STATIC_SERVER.iter().any(|name| headers.contains_key(name)))
            // Else the client's own path, which a redirect would depend on, is another one than
            // that of the last client.
            && exchange.original.uri.path().ends_with(exchange.head.uri.path());
        if !is_simple {
            return None;
        }
        let asked_at = exchange.worker.files.borrow_mut().position()?;
        Some(Self {
            options: options.clone(),
            varies,
            is_whole,
            asked_at,
        })
    }

    /// The answer, if it is known.
    pub(super) fn lookup(&self, exchange: &Exchange) -> Option<Response<ResponseBody>> {
        let file = exchange
            .worker
            .files
            .borrow_mut()
            .lookup(self.key(exchange)?)?;
        if !self.is_whole && is_not_modified(&exchange.head.headers, &file.headers) {
            return Some(not_modified(&file.headers));
        }
        let mut response = Response::new(ResponseBody::kept(file.body.clone()));
        *response.headers_mut() = file.headers.clone();
        Some(response)
    }

    /// Keeps an answer if it is a whole, small file. `file` says which.
    ///
    /// # Errors
    /// When its body breaks off.
    pub(super) async fn keep(
        self,
        exchange: &Exchange,
        file: &HeaderValue,
        response: Response<ResponseBody>,
    ) -> Result<Response<ResponseBody>, Error> {
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let (Some(file), Some(length @ 0..=LARGEST_BODY), StatusCode::OK) =
            (parse_file_path(file.as_bytes()), length, response.status())
        else {
            return Ok(response);
        };
        let (head, body) = response.into_parts();
        let body = body.into_bytes(length).await.map_err(|error| {
            Error::new(
                StatusCode::BAD_GATEWAY,
                Side::Upstream,
                "a file broke off on its way",
            )
            .with_source(error.to_string())
        })?;
        let Some(key) = self.key(exchange) else {
            return Ok(Response::from_parts(head, ResponseBody::full(body)));
        };
        let file = CachedFile {
            headers: head.headers.clone(),
            body: body.clone(),
            file,
        };
        exchange
            .worker
            .files
            .borrow_mut()
            .insert(self.asked_at, key, file);
        Ok(Response::from_parts(head, ResponseBody::kept(body)))
    }

    fn key<'a>(&'a self, exchange: &'a Exchange) -> Option<file_cache::Request<'a>> {
        let accept_encoding = match exchange.head.headers.get(ACCEPT_ENCODING) {
            Some(value) if self.varies => value.as_bytes(),
            _ => b"",
        };
        Some(file_cache::Request {
            options: self.options.to_str().ok()?,
            path: exchange.head.uri.path(),
            accept_encoding,
        })
    }
}

/// Whether the client has the file already (RFC 9110 sections 13.1.2 and 13.1.3).
fn is_not_modified(request: &HeaderMap, file: &HeaderMap) -> bool {
    let mut tags = request.get_all(IF_NONE_MATCH).iter().peekable();
    if tags.peek().is_some() {
        let Some(own) = file.get(ETAG).and_then(|tag| tag.to_str().ok()) else {
            return false;
        };
        return tags
            .filter_map(|tags| tags.to_str().ok())
            .flat_map(|tags| tags.split(','))
            .map(str::trim)
            .any(|tag| tag == "*" || tag.trim_start_matches("W/") == own.trim_start_matches("W/"));
    }
    let date = |headers: &HeaderMap, name| -> Option<SystemTime> {
        httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
    };
    match (date(request, IF_MODIFIED_SINCE), date(file, LAST_MODIFIED)) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

/// The fields of a 304 are those that a 200 would have had, where they matter to a cache (RFC 9110
/// section 15.4.5).
fn not_modified(file: &HeaderMap) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    for name in [ETAG, VARY] {
        if let Some(value) = file.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    if !file.contains_key(ETAG)
        && let Some(value) = file.get(LAST_MODIFIED)
    {
        response.headers_mut().insert(LAST_MODIFIED, value.clone());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn what_the_client_has_is_told_by_tag_and_then_by_date() {
        let file = headers(&[
            (ETAG, "\"a1\""),
            (LAST_MODIFIED, "Sun, 22 Nov 2026 10:00:00 GMT"),
        ]);
        for (request, expected) in [
            (vec![], false),
            (vec![(IF_NONE_MATCH, "\"a1\"")], true),
            (vec![(IF_NONE_MATCH, "\"x\", W/\"a1\"")], true),
            (vec![(IF_NONE_MATCH, "*")], true),
            (vec![(IF_NONE_MATCH, "\"x\"")], false),
            (
                vec![(IF_MODIFIED_SINCE, "Sun, 22 Nov 2026 10:00:00 GMT")],
                true,
            ),
            (
                vec![(IF_MODIFIED_SINCE, "Sun, 22 Nov 2026 09:59:59 GMT")],
                false,
            ),
            (vec![(IF_MODIFIED_SINCE, "yesterday")], false),
            (
                vec![
                    (IF_NONE_MATCH, "\"x\""),
                    (IF_MODIFIED_SINCE, "Sun, 22 Nov 2026 10:00:00 GMT"),
                ],
                false,
            ),
        ] {
            assert_eq!(
                is_not_modified(&headers(&request), &file),
                expected,
                "{request:?}"
            );
        }
    }
}
