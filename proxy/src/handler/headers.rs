//! Changes of fields (Caddy: `http.handlers.headers`, `header`, `request_header`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use caddyfile::document::{self, Replacement};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use regex::Regex;

use super::Filter;
use crate::body::ResponseBody;
use crate::compile::Scope;
use crate::exchange::Exchange;
use crate::matcher::regexp;
use crate::matcher::response::ResponseMatcher;
use crate::placeholder::{Template, Unknown};

/// The handler.
#[derive(Debug)]
pub struct Headers {
    request: HeaderOperations,
    response: Option<ResponseHeaders>,
}

/// Changes of a response's fields.
#[derive(Debug)]
pub struct ResponseHeaders {
    operations: HeaderOperations,
    require: Option<ResponseMatcher>,
    is_deferred: bool,
}

/// Changes of fields, in Caddy's order: delete all, add, set, delete, replace.
#[derive(Debug, Default)]
pub struct HeaderOperations {
    deletes_all: bool,
    add: Box<[(Name, Box<[Value]>)]>,
    set: Box<[(Name, Value)]>,
    delete: Box<[Deletion]>,
    replace: Box<[(Name, Box<[Substitution]>)]>,
}

#[derive(Debug)]
enum Name {
    Fixed(HeaderName),
    Template(Template),
}

#[derive(Debug)]
enum Value {
    Fixed(HeaderValue),
    Template(Template),
}

/// Fields to delete; texts are in lower case.
#[derive(Debug)]
enum Deletion {
    Contains(Box<str>),
    Field(Name),
    Prefix(Box<str>),
    Suffix(Box<str>),
}

/// A replacement within values.
#[derive(Debug)]
struct Substitution {
    search: Search,
    replacement: Template,
}

#[derive(Debug)]
enum Search {
    Regex(Regex),
    Text(Template),
}

impl Headers {
    pub(super) fn compile(document: &document::Headers, scope: &mut Scope) -> Self {
        let request = document.request.as_ref();
        let response = document.response.as_ref();
        Self {
            request: scope.within(".request", |scope| {
                request
                    .map(|ops| HeaderOperations::compile(ops, scope))
                    .unwrap_or_default()
            }),
            response: scope.within(".response", |scope| {
                response.map(|ops| ResponseHeaders::compile(ops, scope))
            }),
        }
    }

    pub(super) fn handle(&self, exchange: &mut Exchange) -> Option<Filter<'_>> {
        self.request.apply_to_request(exchange);
        let response = self.response.as_ref()?;
        if response.is_deferred {
            return Some(Filter::Headers(response));
        }
        let mut headers = std::mem::take(exchange.response_headers_mut());
        response.operations.apply(&mut headers, exchange);
        *exchange.response_headers_mut() = headers;
        None
    }
}

impl ResponseHeaders {
    /// Compiles changes of a response's fields.
    pub fn compile(document: &document::ResponseHeaderOps, scope: &mut Scope) -> Self {
        let operations = document::HeaderOps {
            add: document.add.clone(),
            set: document.set.clone(),
            delete: document.delete.clone(),
            replace: document.replace.clone(),
        };
        Self {
            operations: HeaderOperations::compile(&operations, scope),
            require: document.require.as_ref().map(|require| {
                scope.within(".require", |scope| ResponseMatcher::compile(require, scope))
            }),
            is_deferred: document.deferred || document.require.is_some(),
        }
    }

    /// Changes the fields of a response, if it is one of those.
    pub fn apply(&self, response: &mut Response<ResponseBody>, exchange: &Exchange) {
        let status = response.status();
        let headers = response.headers_mut();
        if self
            .require
            .as_ref()
            .is_none_or(|require| require.matches(status, headers))
        {
            self.operations.apply(headers, exchange);
        }
    }
}

impl HeaderOperations {
    /// Compiles changes of fields.
    pub fn compile(document: &document::HeaderOps, scope: &mut Scope) -> Self {
        let add = document.add.iter().filter_map(|(name, values)| {
            let name = Name::compile(name, scope)?;
            let values = values
                .iter()
                .filter_map(|value| Value::compile(value, scope));
            Some((name, values.collect()))
        });
        let add = add.collect();
        let set = document.set.iter().filter_map(|(name, values)| {
            Some((
                Name::compile(name, scope)?,
                Value::compile(&values.join(","), scope)?,
            ))
        });
        let set = set.collect();
        let deletes_all = document.delete.iter().any(|name| name == "*");
        let delete = document.delete.iter().filter(|name| *name != "*");
        let delete = delete
            .filter_map(|name| Deletion::compile(name, scope))
            .collect();
        let replace = document.replace.iter().filter_map(|(name, replacements)| {
            let name = match name.as_str() {
                "*" => Name::Template(Template::literal("*")),
                name => Name::compile(name, scope)?,
            };
            let replacements = replacements.iter();
            Some((
                name,
                replacements
                    .filter_map(|one| Substitution::compile(one, scope))
                    .collect(),
            ))
        });
        Self {
            deletes_all,
            add,
            set,
            delete,
            replace: replace.collect(),
        }
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        !self.deletes_all
            && self.add.is_empty()
            && self.set.is_empty()
            && self.delete.is_empty()
            && self.replace.is_empty()
    }

    /// Changes `headers`, a message of `exchange`. Values that cannot stand in a field are left
    /// out.
    pub fn apply(&self, headers: &mut HeaderMap, exchange: &Exchange) {
        if self.deletes_all {
            headers.clear();
        }
        for (name, values) in &self.add {
            let Some(name) = name.of(exchange) else {
                continue;
            };
            for value in values {
                if let Some(value) = value.of(headers, exchange) {
                    headers.append(&*name, value);
                }
            }
        }
        for (name, value) in &self.set {
            if let (Some(name), Some(value)) = (name.of(exchange), value.of(headers, exchange)) {
                headers.insert(&*name, value);
            }
        }
        for deletion in &self.delete {
            deletion.apply(headers, exchange);
        }
        for (name, substitutions) in &self.replace {
            let name = match name {
                Name::Template(all) if all.as_literal() == Some("*") => None,
                name => match name.of(exchange) {
                    Some(name) => Some(name),
                    None => continue,
                },
            };
            for substitution in substitutions {
                substitution.apply(headers, name.as_deref(), exchange);
            }
        }
    }

    /// Changes the fields of the request itself. `Host` counts as a field.
    pub fn apply_to_request(&self, exchange: &mut Exchange) {
        if self.is_empty() {
            return;
        }
        // Placeholders read the fields while others are written.
        let mut headers = exchange.head.headers.clone();
        self.apply(&mut headers, exchange);
        exchange.head.headers = headers;
    }
}

impl Name {
    fn compile(name: &str, scope: &mut Scope) -> Option<Self> {
        let template = scope.template(name, Unknown::Keep);
        match template.as_literal() {
            Some(literal) => scope.header_name(literal).map(Self::Fixed),
            None => Some(Self::Template(template)),
        }
    }

    fn of<'a>(&'a self, exchange: &Exchange) -> Option<Cow<'a, HeaderName>> {
        match self {
            Self::Fixed(name) => Some(Cow::Borrowed(name)),
            Self::Template(template) => template.expand(exchange).parse().ok().map(Cow::Owned),
        }
    }
}

impl Value {
    fn compile(value: &str, scope: &mut Scope) -> Option<Self> {
        let template = scope.template(value, Unknown::Keep);
        match template.as_literal() {
            Some(literal) => scope.header_value(literal).map(Self::Fixed),
            None => Some(Self::Template(template)),
        }
    }

    fn of(&self, headers: &HeaderMap, exchange: &Exchange) -> Option<HeaderValue> {
        match self {
            Self::Fixed(value) => Some(value.clone()),
            Self::Template(template) => {
                HeaderValue::from_str(&template.expand_in(exchange, headers)).ok()
            }
        }
    }
}

impl Deletion {
    fn compile(name: &str, scope: &mut Scope) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        Some(match (lower.strip_prefix('*'), lower.strip_suffix('*')) {
            (Some(_), Some(_)) => Self::Contains(lower[1..lower.len() - 1].into()),
            (Some(suffix), None) => Self::Suffix(suffix.into()),
            (None, Some(prefix)) => Self::Prefix(prefix.into()),
            (None, None) => Self::Field(Name::compile(name, scope)?),
        })
    }

    fn apply(&self, headers: &mut HeaderMap, exchange: &Exchange) {
        let is_meant = |name: &HeaderName| match self {
            Self::Contains(text) => name.as_str().contains(&**text),
            Self::Field(_) => false,
            Self::Prefix(text) => name.as_str().starts_with(&**text),
            Self::Suffix(text) => name.as_str().ends_with(&**text),
        };
        if let Self::Field(name) = self {
            if let Some(name) = name.of(exchange) {
                headers.remove(&*name);
            }
            return;
        }
        let names: Vec<HeaderName> = headers
            .keys()
            .filter(|name| is_meant(name))
            .cloned()
            .collect();
        for name in names {
            headers.remove(name);
        }
    }
}

impl Substitution {
    fn compile(document: &Replacement, scope: &mut Scope) -> Option<Self> {
        let search = if document.search_regexp.is_empty() {
            Search::Text(scope.template(&document.search, Unknown::Keep))
        } else {
            Search::Regex(regexp::regex(&document.search_regexp, scope)?)
        };
        Some(Self {
            search,
            replacement: scope.template(&document.replace, Unknown::Keep),
        })
    }

    /// Replaces within the values of one field, or of all.
    fn apply(&self, headers: &mut HeaderMap, name: Option<&HeaderName>, exchange: &Exchange) {
        let replacement = self.replacement.expand_in(exchange, headers).into_owned();
        let search = match &self.search {
            Search::Regex(_) => String::new(),
            Search::Text(text) => text.expand_in(exchange, headers).into_owned(),
        };
        for (field, value) in headers.iter_mut() {
            if name.is_some_and(|name| name != field) {
                continue;
            }
            let old = String::from_utf8_lossy(value.as_bytes());
            let new = match &self.search {
                Search::Regex(regex) => regex.replace_all(&old, &replacement).into_owned(),
                Search::Text(_) if search.is_empty() => continue,
                Search::Text(_) => old.replace(&search, &replacement),
            };
            if let Ok(new) = HeaderValue::from_str(&new) {
                *value = new;
            }
        }
    }
}

/// Compiles a map of fields to values that a response is given, as `static_response` has.
pub(super) fn fields(
    document: &BTreeMap<String, Vec<String>>,
    scope: &mut Scope,
) -> HeaderOperations {
    let add = document.clone();
    HeaderOperations::compile(
        &document::HeaderOps {
            add,
            ..Default::default()
        },
        scope,
    )
}
