//! Changes of a query (Caddy: `uri query`).

use caddyfile::document::{QueryOps, QueryRename, QueryReplacement};
use regex::Regex;

use crate::compile::Scope;
use crate::exchange::Exchange;
use crate::matcher::regexp;
use crate::placeholder::{Template, Unknown};
use crate::uri::{self, query::Query};

/// Changes of a query, in the order of the fields.
#[derive(Debug)]
pub(super) struct QueryOperations {
    rename: Box<[(Template, Template)]>,
    set: Box<[(Template, Template)]>,
    add: Box<[(Template, Template)]>,
    replace: Box<[Replacement]>,
    delete: Box<[Template]>,
}

#[derive(Debug)]
struct Replacement {
    key: Template,
    search: Template,
    regex: Option<Regex>,
    replacement: Template,
}

impl QueryOperations {
    pub(super) fn compile(document: &QueryOps, scope: &mut Scope) -> Self {
        let mut pairs = |pairs: &[QueryRename]| -> Box<[(Template, Template)]> {
            pairs
                .iter()
                .map(|pair| {
                    let key = scope.template(&pair.key, Unknown::Empty);
                    (key, scope.template(&pair.val, Unknown::Empty))
                })
                .collect()
        };
        let (rename, set, add) = (
            pairs(&document.rename),
            pairs(&document.set),
            pairs(&document.add),
        );
        let replace = document.replace.iter();
        Self {
            rename,
            set,
            add,
            replace: replace
                .filter_map(|one| Replacement::compile(one, scope))
                .collect(),
            delete: document
                .delete
                .iter()
                .map(|key| scope.template(key, Unknown::Empty))
                .collect(),
        }
    }

    pub(super) fn apply(&self, exchange: &mut Exchange) {
        let mut query = Query::parse(exchange.head.uri.query().unwrap_or_default());
        for (from, to) in &self.rename {
            let (from, to) = (from.expand(exchange), to.expand(exchange));
            if !to.is_empty()
                && from != to
                && let Some(values) = query.remove(&from)
            {
                query.set(&to, values);
            }
        }
        for (key, value) in &self.set {
            let key = key.expand(exchange);
            if !key.is_empty() {
                query.set(&key, vec![value.expand(exchange).into_owned()]);
            }
        }
        for (key, value) in &self.add {
            let key = key.expand(exchange);
            if !key.is_empty() {
                query.add(&key, value.expand(exchange).into_owned());
            }
        }
        for replacement in &self.replace {
            replacement.apply(&mut query, exchange);
        }
        for key in &self.delete {
            query.remove(&key.expand(exchange));
        }
        let query = query.encode();
        uri::set_query(&mut exchange.head.uri, &query);
    }
}

impl Replacement {
    fn compile(document: &QueryReplacement, scope: &mut Scope) -> Option<Self> {
        let regex = match document.search_regexp.as_str() {
            "" => None,
            pattern => Some(regexp::regex(pattern, scope)?),
        };
        Some(Self {
            key: scope.template(&document.key, Unknown::Empty),
            search: scope.template(&document.search, Unknown::Keep),
            regex,
            replacement: scope.template(&document.replace, Unknown::Keep),
        })
    }

    fn apply(&self, query: &mut Query, exchange: &Exchange) {
        let wanted = self.key.expand(exchange);
        let search = self.search.expand(exchange);
        let replacement = self.replacement.expand(exchange);
        for (key, value) in query.values_mut() {
            if wanted != "*" && wanted != key {
                continue;
            }
            *value = match &self.regex {
                Some(regex) => regex.replace_all(value, &*replacement).into_owned(),
                None => value.replace(&*search, &replacement),
            };
        }
    }
}
