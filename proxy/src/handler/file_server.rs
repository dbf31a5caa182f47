//! Serves files by asking the static-server for them (Caddy: `file_server`).
//!
//! The static-server knows nothing of sites: which root and options apply travels with each
//! request, in a field that is put together here when the configuration is read, but for the
//! client's own path.

mod candidate;
mod compile;
mod fetch;
mod kept;
mod probes;

use std::borrow::Cow;

use http::header::{ALLOW, CONTENT_TYPE, VARY};
use http::{HeaderValue, Method, Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use proto::file_request::{FILE_PATH, FileRequest};

pub(crate) use self::candidate::Candidate;
use self::fetch::Conditions;
pub(crate) use self::fetch::probe;
pub(crate) use self::probes::Probes;
use super::Answer;
use crate::body::ResponseBody;
use crate::compile::scope::Status;
use crate::error::{Error, Side};
use crate::exchange::Exchange;
use crate::placeholder::{Template, status_text};

/// The handler.
#[derive(Debug)]
pub struct FileServer {
    root: Template,
    hide: Box<[Template]>,
    index: Box<[Template]>,
    /// What is tried in place of the path.
    tried: Box<[Candidate]>,
    /// The options but for what changes with each request.
    options: FileRequest,
    /// Field values that are known already, by root.
    known: Box<[(String, HeaderValue)]>,
    redirects: bool,
    passes_on: bool,
    status: Option<Status>,
}

/// Where relative roots begin: the folder that Caddy's image works in, and that of the volumes.
const WORKING_FOLDER: &str = "/srv";

impl FileServer {
    /// What is known already; else what the static-server must be asked, by [`Self::fetch`].
    pub(super) fn lookup(
        &self,
        exchange: &mut Exchange,
    ) -> Result<Result<Answer, Asked<'_>>, Error> {
        let status = match (&self.status, &exchange.error) {
            (Some(status), _) => Some(status.of(exchange)?),
            (None, Some(error)) => Some(error.status()),
            (None, None) => None,
        };
        let is_read = matches!(exchange.head.method, Method::GET | Method::HEAD);
        let method = match (is_read, &exchange.error) {
            (true, _) => exchange.head.method.clone(),
            // The page of an error is sent whatever was asked for.
            (false, Some(_)) => Method::GET,
            // Caddy: 404 comes before 405.
            (false, None) => Method::HEAD,
        };
        let options = self.options(exchange)?;
        let is_whole = status.is_some();
        let varies = self.varies();
        let mut kept = kept::Request::new(exchange, &method, options.clone(), varies, is_whole);
        match kept.as_mut().and_then(|kept| kept.lookup(exchange)) {
            Some(response) => finish(response, status, exchange).map(Ok),
            None => Ok(Err(Asked {
                field: self.field(exchange, &options)?,
                method,
                status,
                kept,
            })),
        }
    }

    /// Asks the static-server. Apart from [`Self::lookup`], for what is kept needs no room for it.
    pub(super) async fn fetch(
        &self,
        asked: Asked<'_>,
        exchange: &mut Exchange,
    ) -> Result<Answer, Error> {
        let status = asked.status;
        match fetch_and_keep(exchange, asked).await {
            Ok(response) => finish(response, status, exchange),
            Err(error) if error.status() == StatusCode::NOT_FOUND && self.passes_on => {
                Ok(Answer::Next)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the answer depends on the codings that the client takes.
    fn varies(&self) -> bool {
        !self.options.precompressed.is_empty()
    }

    /// The part of the field that is the same for all requests with the same root and, where
    /// several files are tried, the same path.
    fn options(&self, exchange: &Exchange) -> Result<Cow<'_, HeaderValue>, Error> {
        let options = self.options_of_root(exchange)?;
        if self.tried.is_empty() {
            return Ok(options);
        }
        let mut text = options.as_bytes().to_vec();
        text.extend_from_slice(b", try=(");
        for (index, candidate) in self.tried.iter().enumerate() {
            text.extend_from_slice(if index == 0 { b"\"" } else { b" \"" });
            push_string(&candidate.expand(exchange), &mut text);
            text.push(b'"');
        }
        text.push(b')');
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
            .map(Cow::Owned)
            .map_err(|_| unusable(exchange.path()))
    }

    fn options_of_root(&self, exchange: &Exchange) -> Result<Cow<'_, HeaderValue>, Error> {
        let root = self.root.expand(exchange);
        let known = self.known.iter().find(|(known, _)| **known == *root);
        if let Some((_, value)) = known {
            return Ok(Cow::Borrowed(value));
        }
        let mut options = self.options.clone();
        options.root = absolute(&root).into_owned();
        let expand = |template: &Template| template.expand(exchange).into_owned();
        options.hide = self.hide.iter().map(expand).collect();
        options.index = self.index.iter().map(expand).collect();
        let options = field(&options).ok_or_else(|| unusable(&root))?;
        Ok(Cow::Owned(options))
    }

    /// The field that tells the static-server what to do.
    fn field(&self, exchange: &Exchange, options: &HeaderValue) -> Result<HeaderValue, Error> {
        // Caddy: listings are redirected also where files are not, for their links are relative.
        if !self.redirects && self.options.browse.is_none() {
            return Ok(options.clone());
        }
        let own = exchange.original.uri.path();
        let mut text = Vec::with_capacity(options.len() + own.len() + 16);
        text.extend_from_slice(options.as_bytes());
        text.extend_from_slice(b", canonical=\"");
        push_string(own, &mut text);
        text.push(b'"');
        if !self.redirects {
            text.extend_from_slice(b";listings");
        }
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).map_err(|_| unusable(own))
    }
}

/// Makes the response of a file what the site wants of it.
fn finish(
    mut response: Response<ResponseBody>,
    status: Option<StatusCode>,
    exchange: &mut Exchange,
) -> Result<Answer, Error> {
    let is_read = matches!(exchange.head.method, Method::GET | Method::HEAD);
    if !is_read && exchange.error.is_none() {
        let asks_methods = exchange.head.method == Method::OPTIONS;
        let headers = exchange.response_headers_mut();
        headers.append(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
        if asks_methods {
            let mut answer = Response::new(ResponseBody::Empty);
            *answer.status_mut() = StatusCode::NO_CONTENT;
            exchange.finish_own_headers(answer.headers_mut());
            return Ok(Answer::Response(answer));
        }
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
        return Err(Error::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Side::Downstream,
            status_text(StatusCode::METHOD_NOT_ALLOWED),
        ));
    }
    if let (Some(status), true) = (status, response.status().is_success()) {
        *response.status_mut() = status;
    }
    // Caddy: a type that is set before stays, and a `Vary` is added to.
    let headers = response.headers_mut();
    if exchange.response_header(&CONTENT_TYPE).is_some() {
        headers.remove(CONTENT_TYPE);
    }
    if let Some(vary) = exchange.response_header(&VARY) {
        headers.append(VARY, vary.clone());
    }
    exchange.finish_own_headers(headers);
    Ok(Answer::Response(response))
}

/// A request that the static-server is to answer.
pub(super) struct Asked<'a> {
    method: Method,
    field: HeaderValue,
    /// The status in place of the file's own; conditions do not count then.
    status: Option<StatusCode>,
    kept: Option<kept::Request<'a>>,
}

/// Gets a file from the static-server, and keeps it where it may be kept.
async fn fetch_and_keep(
    exchange: &mut Exchange,
    asked: Asked<'_>,
) -> Result<Response<ResponseBody>, Error> {
    let Asked {
        method,
        field,
        status,
        kept,
    } = asked;
    if let Some(kept) = kept {
        return kept.fetch(exchange, field).await;
    }
    let conditions = match status {
        None => Conditions::Clients,
        Some(_) => Conditions::Whole,
    };
    let response = fetch::file(exchange, method, field, conditions).await;
    let mut response = response.map_err(|failure| failure.error)?;
    response.headers_mut().remove(FILE_PATH);
    Ok(response)
}

/// Writes text into a structured-field string as [`FileRequest`] does: percent-encoded where the
/// string could not hold it, with quotes and backslashes escaped.
fn push_string(text: &str, into: &mut Vec<u8>) {
    const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

    for piece in utf8_percent_encode(text, ESCAPED) {
        for &byte in piece.as_bytes() {
            if matches!(byte, b'"' | b'\\') {
                into.push(b'\\');
            }
            into.push(byte);
        }
    }
}

/// A root as the static-server knows it.
pub(crate) fn absolute(root: &str) -> Cow<'_, str> {
    if root.starts_with('/') {
        return root.into();
    }
    match root.strip_prefix("./").unwrap_or(root) {
        "" | "." => WORKING_FOLDER.into(),
        relative => format!("{WORKING_FOLDER}/{relative}").into(),
    }
}

fn field(options: &FileRequest) -> Option<HeaderValue> {
    HeaderValue::from_str(&options.to_header().ok()?).ok()
}

fn unusable(root: &str) -> Error {
    Error::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        Side::Internal,
        format!("the root `{root}` cannot be sent to the static-server"),
    )
}
