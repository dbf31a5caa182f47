//! A new request target (Caddy: `rewrite`'s `uri`).

use std::borrow::Cow;

use crate::compile::Scope;
use crate::exchange::Exchange;
use crate::placeholder::key::UriKey;
use crate::placeholder::{Key, Template, Unknown};
use crate::uri::{self, path, query};

/// A new target: a path, a query, or both; a part that is not given stays as it is.
#[derive(Debug)]
pub(super) struct NewTarget {
    path: Option<Template>,
    query: Option<Box<[Component]>>,
}

/// A key or a value of the new query.
#[derive(Debug)]
struct Component {
    is_value: bool,
    text: Template,
}

impl NewTarget {
    pub(super) fn compile(text: &str, scope: &mut Scope) -> Self {
        // A fragment never goes to a server.
        let text = text.split_once('#').map_or(text, |(text, _)| text);
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        Self {
            path: (!path.is_empty()).then(|| scope.template(path, Unknown::Empty)),
            query: query.map(|query| components(query, scope)),
        }
    }

    pub(super) fn apply(&self, exchange: &mut Exchange) {
        let mut new_query = self.query.as_ref().map(|query| build(query, exchange));
        let new_path = self.path.as_ref().map(|template| {
            let expanded = template.expand_each(|key| path_value(key, exchange));
            let expanded = expanded
                .split_once('#')
                .map_or(&*expanded, |(path, _)| path);
            match expanded.split_once('?') {
                None => encode(expanded),
                Some((path, injected)) => {
                    // A query that came with a placeholder's value does not replace one that is
                    // configured.
                    if new_query.as_ref().is_none_or(String::is_empty) {
                        new_query = Some(injected.to_owned());
                    }
                    encode(path)
                }
            }
        });
        let current = &exchange.head.uri;
        let path = new_path.unwrap_or_else(|| current.path().to_owned());
        let query = match new_query {
            Some(query) => Some(query).filter(|query| !query.is_empty()),
            None => current.query().map(str::to_owned),
        };
        uri::replace(&mut exchange.head.uri, &path, query.as_deref());
    }
}

/// The path as Go would write it after reading it.
fn encode(text: &str) -> String {
    if uri::has_valid_escapes(text) {
        path::encode(&path::decode(text)).into()
    } else {
        path::encode(text).into()
    }
}

/// A placeholder's value within a path: values that are paths are escaped, so that a `?` or `%` in
/// them stays part of the path.
fn path_value<'a>(key: &'a Key, exchange: &'a Exchange) -> Option<Cow<'a, str>> {
    match key {
        Key::Uri(UriKey::Path) => Some(Cow::Borrowed(exchange.path())),
        Key::Replacement(name) if **name == *"http.matchers.file.relative" => {
            let value = key.resolve(exchange, None)?;
            Some(path::encode_segments(&value).into_owned().into())
        }
        key => key.resolve(exchange, None),
    }
}

/// Cuts a query into keys and values before placeholders are filled in, so that a value cannot
/// bring in further pairs.
fn components(query: &str, scope: &mut Scope) -> Box<[Component]> {
    let mut components = Vec::new();
    for pair in query.split('&') {
        let (key, value) = match pair.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (pair, None),
        };
        components.push(Component {
            is_value: false,
            text: scope.template(key, Unknown::Empty),
        });
        if let Some(value) = value {
            components.push(Component {
                is_value: true,
                text: scope.template(value, Unknown::Empty),
            });
        }
    }
    components.into()
}

fn build(components: &[Component], exchange: &Exchange) -> String {
    let mut query = String::new();
    for component in components {
        let text = component.text.expand_each(|key| {
            let value = key.resolve(exchange, None)?;
            // The present query is no key: it is pairs, which are escaped already.
            if !component.is_value && *key == Key::Uri(UriKey::Query) {
                return Some(value);
            }
            Some(query::encode(&value).into())
        });
        if component.is_value {
            query.push('=');
        } else if !query.is_empty() && !text.is_empty() {
            query.push('&');
        }
        query.push_str(&text);
    }
    query
}
