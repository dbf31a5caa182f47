//! From the document to the handler.

use caddyfile::document;
use proto::file_request::{Browse, Coding, FileRequest, SortBy};

use super::{Candidate, FileServer, absolute, field};
use crate::compile::Scope;
use crate::placeholder::{Template, Unknown};

impl FileServer {
    pub(in crate::handler) fn compile(document: &document::FileServer, scope: &mut Scope) -> Self {
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
