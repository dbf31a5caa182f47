//! Compresses responses (Caddy: `encode`).

mod negotiate;

use caddyfile::document;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body as _;
use serde_json::Value;

use super::Filter;
use crate::body::{Coder, ResponseBody};
use crate::compile::Scope;
use crate::edge::Worker;
use crate::exchange::Exchange;
use crate::matcher::response::ResponseMatcher;

/// The handler.
#[derive(Debug)]
pub struct Encode {
    /// Codings that are offered, with their levels.
    codings: Box<[(Coding, i32)]>,
    prefer: Box<[Coding]>,
    minimum_length: u64,
    matcher: ResponseMatcher,
}

/// A content coding that responses are compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// Brotli.
    Br,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// Caddy: `defaultMinLength`.
const MINIMUM_LENGTH: u64 = 512;

/// What Caddy compresses if nothing else is said: texts, and formats that are not compressed in
/// themselves.
const COMPRESSIBLE: [&str; 34] = [
    "application/atom+xml",
    "application/eot",
    "application/font",
    "application/geo+json",
    "application/graphql+json",
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/opentype",
    "application/otf",
    "application/rss+xml",
    "application/truetype",
    "application/ttf",
    "application/vnd.api+json",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-httpd-cgi",
    "application/x-javascript",
    "application/x-opentype",
    "application/x-otf",
    "application/x-perl",
    "application/x-protobuf",
    "application/x-ttf",
    "application/xhtml+xml",
    "application/xml",
    "font/ttf",
    "font/otf",
    "image/svg+xml",
    "image/vnd.microsoft.icon",
    "image/x-icon",
    "multipart/bag",
    "multipart/mixed",
    "text/",
];

impl Coding {
    /// The name in `Content-Encoding` and in the document.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Br => "br",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    fn coder(self, level: i32) -> Coder {
        match self {
            Self::Br => Coder::br(level),
            Self::Gzip => Coder::gzip(level),
            Self::Zstd => Coder::zstd(level),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Br, Self::Gzip, Self::Zstd]
            .into_iter()
            .find(|coding| coding.as_str() == name)
    }

    /// Reads the level from a coding's options.
    fn level(self, options: &Value, scope: &mut Scope) -> i32 {
        let (default, most) = match self {
            Self::Br => (4, 11),
            Self::Gzip => (5, 9),
            Self::Zstd => (3, 22),
        };
        let key = if self == Self::Br { "quality" } else { "level" };
        match options.get(key) {
            None => default,
            Some(Value::String(name)) if self == Self::Zstd => match name.as_str() {
                "" | "default" => default,
                "fastest" => 1,
                "better" => 7,
                "best" => 11,
                _ => {
                    scope.error_with_hint(
                        format!("`{name}` is no level of zstd"),
                        "use `fastest`, `default`, `better` or `best`",
                    );
                    default
                }
            },
            Some(level) => match level.as_i64().and_then(|level| i32::try_from(level).ok()) {
                Some(0) => default,
                Some(level) if (1..=most).contains(&level) => level,
                _ => {
                    scope.error(format!("`{level}` is no level from 1 to {most}"));
                    default
                }
            },
        }
    }
}

impl Encode {
    pub(super) fn compile(document: &document::Encode, scope: &mut Scope) -> Self {
        let mut codings = Vec::new();
        for (name, options) in &document.encodings {
            scope.within(
                format_args!(".encodings.{name}"),
                |scope| match Coding::parse(name) {
                    Some(coding) => codings.push((coding, coding.level(options, scope))),
                    None => scope.error_with_hint(
                        format!("the encoding `{name}` is not supported"),
                        "use `zstd`, `br` or `gzip`",
                    ),
                },
            );
        }
        let mut prefer = Vec::new();
        for name in &document.prefer {
            match Coding::parse(name) {
                Some(coding) if codings.iter().any(|(offered, _)| *offered == coding) => {
                    prefer.push(coding);
                }
                _ => scope.within(".prefer", |scope| {
                    scope.error(format!("the encoding `{name}` is not enabled"));
                }),
            }
        }
        let minimum_length = u64::try_from(document.minimum_length).unwrap_or(0);
        Self {
            codings: codings.into(),
            prefer: prefer.into(),
            minimum_length: if minimum_length == 0 {
                MINIMUM_LENGTH
            } else {
                minimum_length
            },
            matcher: match &document.r#match {
                Some(matcher) => {
                    scope.within(".match", |scope| ResponseMatcher::compile(matcher, scope))
                }
                None => ResponseMatcher::by_prefixes(CONTENT_TYPE, &COMPRESSIBLE),
            },
        }
    }

    /// The filter that compresses the answer, if the client wants that.
    pub(super) fn filter(&self, exchange: &mut Exchange) -> Option<Filter<'_>> {
        let headers = &mut exchange.head.headers;
        if !may_transform(headers) {
            return None;
        }
        let offered = |coding| self.codings.iter().any(|(offered, _)| *offered == coding);
        let coding = negotiate::preferred(headers, &self.prefer, offered)?;
        // The client knows the ETag with our suffix; who made the ETag knows it without.
        if let Some(etag) = headers
            .get(IF_NONE_MATCH)
            .and_then(|etag| etag.to_str().ok())
            && !etag.starts_with("W/")
            && let Some(stem) = etag.strip_suffix(&format!("-{}\"", coding.as_str()))
            && let Ok(etag) = HeaderValue::from_str(&format!("{stem}\""))
        {
            headers.insert(IF_NONE_MATCH, etag);
        }
        Some(Filter::Encode(self, coding))
    }

    /// Compresses the answer, if it is one of those and large enough. Where its length is not
    /// announced, the first piece of it decides, as in Caddy.
    pub(super) async fn apply(
        &self,
        coding: Coding,
        mut response: Response<ResponseBody>,
        worker: &Worker,
    ) -> Response<ResponseBody> {
        if response.status() == StatusCode::NOT_MODIFIED {
            add_vary(response.headers_mut());
            return response;
        }
        let headers = response.headers();
        if headers.contains_key(CONTENT_ENCODING)
            || headers.contains_key(CONTENT_RANGE)
            || !headers.contains_key(CONTENT_TYPE)
            || !may_transform(headers)
            || !self.matcher.matches(response.status(), headers)
        {
            return response;
        }
        let announced = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok());
        let length = match announced.and_then(|length| length.parse().ok()) {
            Some(length) => length,
            None => match response.body().size_hint().exact() {
                Some(length) => length,
                // An event is to arrive when it happens, and the first may be long in coming.
                None if is_event_stream(headers) => return response,
                None => response.body_mut().first_length().await,
            },
        };
        if length <= self.minimum_length {
            return response;
        }
        let level = self.codings.iter().find(|(offered, _)| *offered == coding);
        let level = level.map_or(1, |(_, level)| *level);
        let kept = match response.body() {
            ResponseBody::Kept(Some(bytes)) => {
                let entry = worker.compressed.borrow_mut().entry(bytes, coding, level);
                // What cannot be kept is compressed as it streams.
                entry
                    .compressed(coding.coder(level))
                    .await
                    .inspect_err(
                        |error| tracing::warn!(%error, "a file cannot be compressed at once"),
                    )
                    .ok()
            }
            _ => None,
        };
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.remove(ACCEPT_RANGES);
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
        add_vary(headers);
        add_suffix(headers, coding);
        // The answer to HEAD has the fields of the compressed answer, and no body either.
        if response.body().is_end_stream() {
            return response;
        }
        let headers = response.headers_mut();
        if let Some(kept) = kept {
            headers.insert(CONTENT_LENGTH, kept.len().into());
            *response.body_mut() = ResponseBody::full(kept);
            return response;
        }
        let (head, body) = response.into_parts();
        Response::from_parts(head, body.encoded(coding.coder(level)).await)
    }
}

fn may_transform(headers: &HeaderMap) -> bool {
    headers
        .get(CACHE_CONTROL)
        .is_none_or(|value| memchr::memmem::find(value.as_bytes(), b"no-transform").is_none())
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

fn add_vary(headers: &mut HeaderMap) {
    let has_it = headers
        .get_all(VARY)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            value
                .split(',')
                .any(|name| name.trim().eq_ignore_ascii_case("accept-encoding"))
        });
    if !has_it {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// Tells a strong ETag of the compressed form from that of the plain one (RFC 9110 section
/// 8.8.3.3).
fn add_suffix(headers: &mut HeaderMap, coding: Coding) {
    let Some(etag) = headers.get(ETAG).and_then(|etag| etag.to_str().ok()) else {
        return;
    };
    if etag.starts_with("W/") {
        return;
    }
    let stem = etag.strip_suffix('"').unwrap_or(etag);
    if let Ok(etag) = HeaderValue::from_str(&format!("{stem}-{}\"", coding.as_str())) {
        headers.insert(ETAG, etag);
    }
}
