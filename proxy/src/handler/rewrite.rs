//! Changes method and target (Caddy: `rewrite`, `uri`, `method`, the stripping of `handle_path`).

mod query;
mod target;

use caddyfile::document;
use http::Method;
use regex::Regex;

use self::query::QueryOperations;
use self::target::NewTarget;
use crate::compile::Scope;
use crate::exchange::Exchange;
use crate::matcher::regexp;
use crate::placeholder::{Template, Unknown};
use crate::uri::{self, path};

/// The handler. Its changes apply in the order of the fields.
#[derive(Debug, Default)]
pub struct Rewrite {
    method: Option<Template>,
    target: Option<NewTarget>,
    strip_prefix: Option<Template>,
    strip_suffix: Option<Template>,
    substrings: Box<[Substring]>,
    path_regexps: Box<[(Regex, Template)]>,
    query: Option<QueryOperations>,
}

#[derive(Debug)]
struct Substring {
    find: Template,
    replacement: Template,
    limit: usize,
    merges_slashes: bool,
}

impl Rewrite {
    /// Compiles a change of method and target.
    pub fn compile(document: &document::Rewrite, scope: &mut Scope) -> Self {
        let text = |text: &str, scope: &mut Scope| {
            (!text.is_empty()).then(|| scope.template(text, Unknown::Empty))
        };
        let substrings = document
            .uri_substring
            .iter()
            .filter(|one| !one.find.is_empty());
        let substrings = substrings.map(|one| Substring {
            find: scope.template(&one.find, Unknown::Empty),
            replacement: scope.template(&one.replace, Unknown::Empty),
            limit: usize::try_from(one.limit)
                .ok()
                .filter(|limit| *limit > 0)
                .unwrap_or(usize::MAX),
            merges_slashes: !one.find.contains("//"),
        });
        let substrings = substrings.collect();
        let path_regexps = document.path_regexp.iter().filter_map(|one| {
            let regex = scope.within(".path_regexp", |scope| regexp::regex(&one.find, scope))?;
            Some((regex, scope.template(&one.replace, Unknown::Empty)))
        });
        let path_regexps = path_regexps.collect();
        Self {
            method: text(&document.method, scope),
            target: (!document.uri.is_empty()).then(|| NewTarget::compile(&document.uri, scope)),
            strip_prefix: text(&document.strip_path_prefix, scope),
            strip_suffix: text(&document.strip_path_suffix, scope),
            substrings,
            path_regexps,
            query: document.query.as_ref().map(|query| {
                scope.within(".query", |scope| QueryOperations::compile(query, scope))
            }),
        }
    }

    /// Changes the request.
    pub fn handle(&self, exchange: &mut Exchange) {
        if let Some(method) = &self.method {
            let method = method.expand(exchange).to_uppercase();
            if let Ok(method) = Method::from_bytes(method.as_bytes()) {
                exchange.head.method = method;
            }
        }
        if let Some(target) = &self.target {
            target.apply(exchange);
        }
        if let Some(prefix) = &self.strip_prefix {
            let mut prefix = prefix.expand(exchange).into_owned();
            if !prefix.starts_with('/') {
                prefix.insert(0, '/');
            }
            strip(exchange, &prefix, strip_prefix);
        }
        if let Some(suffix) = &self.strip_suffix {
            let suffix = suffix.expand(exchange).into_owned();
            strip(exchange, &suffix, strip_suffix);
        }
        for substring in &self.substrings {
            substring.apply(exchange);
        }
        for (regex, replacement) in &self.path_regexps {
            let replacement = replacement.expand(exchange).into_owned();
            change_path(exchange, |path| {
                regex.replace_all(path, &*replacement).into_owned()
            });
        }
        if let Some(query) = &self.query {
            query.apply(exchange);
        }
    }
}

impl Substring {
    fn apply(&self, exchange: &mut Exchange) {
        let find = self.find.expand(exchange).into_owned();
        let replacement = self.replacement.expand(exchange).into_owned();
        change_path(exchange, |path| {
            path::clean(path, self.merges_slashes).replacen(&find, &replacement, self.limit)
        });
        if let Some(query) = exchange.head.uri.query() {
            let query = query.replacen(&find, &replacement, self.limit);
            uri::set_query(&mut exchange.head.uri, &query);
        }
    }
}

/// Changes the percent-encoded path, or the decoded one if the result would be no valid encoding.
fn change_path(exchange: &mut Exchange, change: impl Fn(&str) -> String) {
    let old = exchange.path();
    let changed = change(old);
    let new = if !changed.is_empty() && uri::has_valid_escapes(&changed) {
        if is_go_encoded(&changed) {
            changed
        } else {
            path::encode(&path::decode(&changed)).into()
        }
    } else {
        path::encode(&change(&path::decode(old))).into()
    };
    if new != old {
        uri::set_path(&mut exchange.head.uri, &new);
    }
}

/// Takes a prefix or suffix off the path; what is left is a path from the root, without dots.
fn strip(
    exchange: &mut Exchange,
    affix: &str,
    strip: impl for<'a> Fn(&'a str, &str) -> Option<&'a str>,
) {
    let old = exchange.path();
    let cleaned = path::clean(old, !affix.contains("//"));
    let new = match strip(&cleaned, affix) {
        None => cleaned.into_owned(),
        Some(rest) => {
            // Go: an encoding that is no path from the root is given up for that of what it means.
            let rooted = if rest.starts_with('/') {
                rest.to_owned()
            } else if path::decode(rest).starts_with('/') {
                path::encode(&path::decode(rest)).into()
            } else {
                format!("/{rest}")
            };
            let decoded = path::decode(&rooted);
            let canonical = path::clean(&decoded, false);
            if canonical == decoded {
                rooted
            } else {
                path::encode(&canonical).into()
            }
        }
    };
    if new != old {
        uri::set_path(&mut exchange.head.uri, &new);
    }
}

/// What follows `prefix` in a percent-encoded path, compared without regard to case. Where the
/// prefix has an escape the path must have the same one; elsewhere the path is decoded.
fn strip_prefix<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let bytes = path.as_bytes();
    let mut at = 0;
    for &wanted in prefix.as_bytes() {
        let (actual, width) = match (bytes.get(at)?, wanted) {
            (b'%', b'%') => (b'%', 1),
            (b'%', _) => (unescape(bytes.get(at..at + 3)?)?, 3),
            (&actual, _) => (actual, 1),
        };
        if !actual.eq_ignore_ascii_case(&wanted) {
            return None;
        }
        at += width;
    }
    path.get(at..)
}

/// What precedes `suffix` in a percent-encoded path, as [`strip_prefix`] compares.
fn strip_suffix<'a>(path: &'a str, suffix: &str) -> Option<&'a str> {
    let (bytes, wanted) = (path.as_bytes(), suffix.as_bytes());
    let mut end = bytes.len();
    for at in (0..wanted.len()).rev() {
        let is_escape_wanted = at >= 2 && wanted[at - 2] == b'%';
        let escape = end.checked_sub(3).map(|start| &bytes[start..end]);
        let (actual, width) = match escape.filter(|escape| escape[0] == b'%') {
            Some(escape) if !is_escape_wanted => (unescape(escape)?, 3),
            _ => (*bytes.get(end.checked_sub(1)?)?, 1),
        };
        if !actual.eq_ignore_ascii_case(&wanted[at]) {
            return None;
        }
        end -= width;
    }
    path.get(..end)
}

fn unescape(escape: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(&escape[1..]).ok()?, 16).ok()
}

/// Whether Go would keep this encoding of a path rather than make its own.
fn is_go_encoded(path: &str) -> bool {
    path.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@[]%/".contains(&byte))
}

#[cfg(test)]
mod tests;
