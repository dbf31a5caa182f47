//! The `query`, `vars` and `vars_regexp` matchers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use caddyfile::document;

use super::regexp::Regexp;
use crate::compile::Scope;
use crate::exchange::Exchange;
use crate::placeholder::{Template, Unknown};
use crate::uri::query::Query;

/// Matches the query: every key must have one of its values; `*` is any value. Without keys it
/// matches an empty query.
#[derive(Debug)]
pub(super) struct QueryMatcher {
    keys: Box<[(Template, Box<[Template]>)]>,
}

/// Matches variables or placeholders by their values; all must match.
#[derive(Debug)]
pub(super) struct VariableMatcher {
    variables: Box<[(Source, Box<[Template]>)]>,
}

/// Matches variables or placeholders by regular expressions; all must match.
#[derive(Debug)]
pub(super) struct VariableRegexpMatcher {
    variables: Box<[(Source, Regexp)]>,
}

/// Where a compared value comes from.
#[derive(Debug)]
enum Source {
    Template(Template),
    Variable(Box<str>),
}

impl QueryMatcher {
    pub(super) fn compile(keys: &BTreeMap<String, Vec<String>>, scope: &mut Scope) -> Self {
        let keys = keys.iter().map(|(key, values)| {
            let key = scope.template(key, Unknown::Empty);
            (key, templates(values, scope))
        });
        Self {
            keys: keys.collect(),
        }
    }

    pub(super) fn matches(&self, exchange: &Exchange) -> bool {
        let query = Query::parse(exchange.head.uri.query().unwrap_or_default());
        if self.keys.is_empty() {
            return query.is_empty();
        }
        !query.is_malformed()
            && self.keys.iter().all(|(key, wanted)| {
                let Some(values) = query.get(&key.expand(exchange)) else {
                    return false;
                };
                wanted.iter().any(|wanted| {
                    let wanted = wanted.expand(exchange);
                    wanted == "*" || values.iter().any(|value| *value == wanted)
                })
            })
    }
}

impl VariableMatcher {
    pub(super) fn compile(variables: &BTreeMap<String, Vec<String>>, scope: &mut Scope) -> Self {
        let variables = variables.iter();
        Self {
            variables: variables
                .map(|(name, values)| (Source::compile(name, scope), templates(values, scope)))
                .collect(),
        }
    }

    pub(super) fn matches(&self, exchange: &Exchange) -> bool {
        self.variables.iter().all(|(source, wanted)| {
            let value = source.value(exchange);
            wanted.iter().any(|wanted| wanted.expand(exchange) == value)
        })
    }
}

impl VariableRegexpMatcher {
    pub(super) fn compile(
        variables: &BTreeMap<String, document::RegexpMatcher>,
        scope: &mut Scope,
    ) -> Self {
        let mut compiled = Vec::new();
        for (name, regexp) in variables {
            let source = Source::compile(name, scope);
            compiled.extend(Regexp::compile(regexp, scope).map(|regexp| (source, regexp)));
        }
        Self {
            variables: compiled.into(),
        }
    }

    pub(super) fn matches(&self, exchange: &mut Exchange) -> bool {
        self.variables.iter().all(|(source, regexp)| {
            let captured = regexp.captures(&source.value(exchange));
            let is_match = captured.is_some();
            exchange.captures.extend(captured);
            is_match
        })
    }
}

impl Source {
    /// A name in braces is a placeholder, any other one a variable.
    fn compile(name: &str, scope: &mut Scope) -> Self {
        if name.starts_with('{') && name.ends_with('}') {
            Self::Template(scope.template(name, Unknown::Empty))
        } else {
            Self::Variable(name.into())
        }
    }

    fn value<'a>(&'a self, exchange: &'a Exchange) -> Cow<'a, str> {
        match self {
            Self::Template(template) => template.expand(exchange),
            Self::Variable(name) => exchange.variables.get(name).unwrap_or_default().into(),
        }
    }
}

fn templates(texts: &[String], scope: &mut Scope) -> Box<[Template]> {
    texts
        .iter()
        .map(|text| scope.template(text, Unknown::Empty))
        .collect()
}
