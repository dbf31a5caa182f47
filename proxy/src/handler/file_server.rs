//! Serves files by asking the static-server for them (Caddy: `file_server`).
//!
//! The static-server knows nothing of sites: which root and options apply travels with each
//! request, in a field that is put together here when the configuration is read, but for the
//! client's own path.

mod fetch;
mod kept;
mod probes;

use std::borrow::Cow;

use caddyfile::document;
use http::header::{ALLOW, CONTENT_TYPE, VARY};
use http::{HeaderValue, Method, Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use proto::file_request::{Browse, Coding, FILE_PATH, FileRequest, SortBy};

use self::fetch::Conditions;
pub(crate) use self::fetch::probe;
pub(crate) use self::probes::Probes;
use super::Answer;
use crate::body::ResponseBody;
use crate::compile::Scope;
use crate::compile::scope::Status;
use crate::error::{Error, Side};
use crate::exchange::Exchange;
use crate::placeholder::{Template, Unknown, status_text};

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
    pub(super) fn compile(document: &document::FileServer, scope: &mut Scope) -> Self {
        refuse(document, scope);
        let root = match document.root.as_str() {
            "" => "{http.vars.root}",
            root => root,
        };
        let root = scope.template(root, Unknown::Empty);
        let hide = templates(&document.hide, scope);
        let index = match &document.index_names {
            None => templates(&["index.html".to_owned(), "index.txt".to_owned()], scope),
            Some(names) => templates(names, scope),
        };
        let tried = scope.tried.take().map(|tried| tried.try_files);
        let tried = tried.unwrap_or_default();
        let tried = tried.iter().map(|name| Candidate::compile(name, scope));
        let tried = tried.collect();
        let mut options = FileRequest {
            precompressed: precompressed(document, scope),
            browse: document.browse.as_ref().map(browse),
            ..FileRequest::default()
        };
        let mut known = Vec::new();
        if let (Some(hide), Some(index)) = (literals(&hide), literals(&index)) {
            (options.hide, options.index) = (hide, index);
            let literal = root.as_literal().map(str::to_owned);
            let roots = match literal {
                Some(root) => vec![root],
                None => scope.roots.clone(),
            };
            for root in roots {
                options.root = absolute(&root).into_owned();
                if let Some(value) = field(&options) {
                    known.push((root, value));
                }
            }
        }
        Self {
            root,
            hide,
            index,
            tried,
            options,
            known: known.into(),
            redirects: document.canonical_uris.unwrap_or(true),
            passes_on: document.pass_thru,
            status: scope.within(".status_code", |scope| {
                scope.status(document.status_code.as_str())
            }),
        }
    }

    /// What is known already; else what the static-server must be asked, by [`Self::fetch`].
    pub(super) fn lookup(&self, exchange: &mut Exchange) -> Result<Result<Answer, Asked>, Error> {
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
        let mut kept = kept::Request::new(exchange, &method, &options, self.varies(), is_whole);
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
        asked: Asked,
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
    fn options(&self, exchange: &Exchange) -> Result<HeaderValue, Error> {
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
            .map_err(|_| unusable(exchange.path()))
    }

    fn options_of_root(&self, exchange: &Exchange) -> Result<HeaderValue, Error> {
        let root = self.root.expand(exchange);
        let known = self.known.iter().find(|(known, _)| **known == *root);
        if let Some((_, value)) = known {
            return Ok(value.clone());
        }
        let mut options = self.options.clone();
        options.root = absolute(&root).into_owned();
        let expand = |template: &Template| template.expand(exchange).into_owned();
        options.hide = self.hide.iter().map(expand).collect();
        options.index = self.index.iter().map(expand).collect();
        field(&options).ok_or_else(|| unusable(&root))
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
pub(super) struct Asked {
    method: Method,
    field: HeaderValue,
    /// The status in place of the file's own; conditions do not count then.
    status: Option<StatusCode>,
    kept: Option<kept::Request>,
}

/// Gets a file from the static-server, and keeps it where it may be kept.
async fn fetch_and_keep(
    exchange: &mut Exchange,
    asked: Asked,
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

/// Refuses what Caddy's file server does and this one does not.
fn refuse(document: &document::FileServer, scope: &mut Scope) {
    let browse = document.browse.as_ref();
    let has_template = browse.is_some_and(|browse| !browse.template_file.is_empty());
    for (is_used, name, hint) in [
        (
            !document.fs.is_empty(),
            ".fs",
            "files are served from the static-server's volumes",
        ),
        (
            has_template,
            ".browse.template_file",
            "listings have a page of their own; an app can make another from the JSON that they are \
             with `Accept: application/json`",
        ),
        (
            !document.etag_file_extensions.is_empty(),
            ".etag_file_extensions",
            "the static-server makes ETags itself; remove it",
        ),
    ] {
        if is_used {
            scope.within(name, |scope| {
                scope.error_with_hint("this is not supported", hint)
            });
        }
    }
}

/// How folders are listed.
fn browse(document: &document::Browse) -> Browse {
    let mut browse = Browse {
        reveals_links: document.reveal_symlinks,
        limit: match document.file_limit {
            0 => None,
            // Caddy: without a limit when negative. The static-server has one.
            limit => Some(u32::try_from(limit).unwrap_or(u32::MAX)),
        },
        ..Browse::default()
    };
    // Caddy: two are looked at, in any order.
    for option in document.sort.iter().take(2) {
        match option.as_str() {
            "asc" => browse.is_descending = false,
            "desc" => browse.is_descending = true,
            other => browse.sort = SortBy::parse(other).unwrap_or(browse.sort),
        }
    }
    browse
}

fn precompressed(document: &document::FileServer, scope: &mut Scope) -> Vec<Coding> {
    // Caddy prefers in the order that is given, and what is not in it afterwards.
    let rest = document.precompressed.keys();
    let rest = rest.filter(|name| !document.precompressed_order.contains(name));
    let mut codings = Vec::new();
    for name in document.precompressed_order.iter().chain(rest) {
        match Coding::parse(name) {
            Some(coding) => codings.push(coding),
            None => scope.within(".precompressed", |scope| {
                scope.error_with_hint(
                    format!("the encoding `{name}` is not supported"),
                    "use `zstd`, `br` or `gzip`",
                );
            }),
        }
    }
    codings
}

fn templates(texts: &[String], scope: &mut Scope) -> Box<[Template]> {
    let texts = texts.iter();
    texts
        .map(|text| scope.template(text, Unknown::Empty))
        .collect()
}

fn literals(templates: &[Template]) -> Option<Vec<String>> {
    templates
        .iter()
        .map(|template| template.as_literal().map(str::to_owned))
        .collect()
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

/// A path that is tried, or the status (`=404`) where all others are not there.
#[derive(Debug)]
pub(crate) struct Candidate {
    path: Template,
    /// Whether it is for folders: only what is written says so, not a placeholder's value.
    is_folder: bool,
}

impl Candidate {
    pub(crate) fn compile(name: &str, scope: &mut Scope) -> Self {
        Self {
            path: scope.template(name, Unknown::Empty),
            is_folder: name.ends_with('/'),
        }
    }

    /// The path from the root, cleaned as Caddy cleans what is to be tried.
    pub(crate) fn expand(&self, exchange: &Exchange) -> String {
        let name = self.path.expand(exchange);
        if name.starts_with('=') {
            return name.into_owned();
        }
        let mut path = crate::uri::path::clean(&format!("/{name}"), true).into_owned();
        if !self.is_folder {
            path.truncate(path.trim_end_matches('/').len().max(1));
        }
        path
    }

    /// Whether nothing can be there: the root is a folder, and a file is asked for.
    pub(crate) fn is_vain(&self, path: &str) -> bool {
        path == "/" && !self.is_folder
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
