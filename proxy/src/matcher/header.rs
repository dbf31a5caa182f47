//! The `header` and `header_regexp` matchers.

use std::collections::BTreeMap;

use caddyfile::document;
use http::{HeaderMap, HeaderName};

use super::regexp::Regexp;
use crate::compile::Scope;
use crate::exchange::Exchange;
use crate::placeholder::{Template, Unknown};

/// Matches fields by their values; all fields must match.
#[derive(Debug)]
pub(super) struct HeaderMatcher {
    fields: Box<[(HeaderName, Wanted)]>,
}

/// Matches fields by regular expressions; all fields must match.
#[derive(Debug)]
pub(super) struct HeaderRegexpMatcher {
    fields: Box<[(HeaderName, Regexp)]>,
}

#[derive(Debug)]
enum Wanted {
    Absent,
    AnyOf(Box<[Template]>),
    Present,
}

impl HeaderMatcher {
    pub(super) fn compile(
        fields: &BTreeMap<String, Option<Vec<String>>>,
        scope: &mut Scope,
    ) -> Self {
        let mut compiled = Vec::new();
        for (name, values) in fields {
            let Some(name) = scope.header_name(name) else {
                continue;
            };
            let wanted = match values.as_deref() {
                None => Wanted::Absent,
                Some([]) => Wanted::Present,
                Some(values) => {
                    let values = values.iter();
                    Wanted::AnyOf(
                        values
                            .map(|value| scope.template(value, Unknown::Empty))
                            .collect(),
                    )
                }
            };
            compiled.push((name, wanted));
        }
        Self {
            fields: compiled.into(),
        }
    }

    pub(super) fn matches(&self, exchange: &Exchange) -> bool {
        let headers = &exchange.head.headers;
        self.fields.iter().all(|(name, wanted)| match wanted {
            Wanted::Absent => !headers.contains_key(name),
            Wanted::Present => headers.contains_key(name),
            Wanted::AnyOf(patterns) => patterns.iter().any(|pattern| {
                let pattern = pattern.expand(exchange);
                has_value(headers, name, &pattern)
            }),
        })
    }
}

impl HeaderRegexpMatcher {
    pub(super) fn compile(
        fields: &BTreeMap<String, document::RegexpMatcher>,
        scope: &mut Scope,
    ) -> Self {
        let mut compiled = Vec::new();
        for (name, regexp) in fields {
            let Some(name) = scope.header_name(name) else {
                continue;
            };
            compiled.extend(Regexp::compile(regexp, scope).map(|regexp| (name, regexp)));
        }
        Self {
            fields: compiled.into(),
        }
    }

    pub(super) fn matches(&self, exchange: &mut Exchange) -> bool {
        self.fields.iter().all(|(name, regexp)| {
            let captured = exchange
                .head
                .headers
                .get_all(name)
                .iter()
                .find_map(|value| regexp.captures(&String::from_utf8_lossy(value.as_bytes())));
            let is_match = captured.is_some();
            exchange.captures.extend(captured);
            is_match
        })
    }
}

/// Whether a field has a value like `pattern`, which may have a `*` at either end.
pub(super) fn has_value(headers: &HeaderMap, name: &HeaderName, pattern: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .any(|value| is_like(value.as_bytes(), pattern))
}

fn is_like(value: &[u8], pattern: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(_), Some(_)) => {
            let inner = &pattern[1..pattern.len() - 1];
            memchr::memmem::find(value, inner.as_bytes()).is_some()
        }
        (Some(suffix), None) => value.ends_with(suffix.as_bytes()),
        (None, Some(prefix)) => value.starts_with(prefix.as_bytes()),
        (None, None) => value == pattern.as_bytes(),
    }
}
