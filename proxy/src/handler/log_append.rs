//! Adds a field to the access log (Caddy: `log_append`).

use caddyfile::document;

use super::Filter;
use crate::compile::Scope;
use crate::exchange::Exchange;
use crate::placeholder::{Template, Unknown};

/// The handler.
#[derive(Debug)]
pub struct LogAppend {
    key: Box<str>,
    value: Value,
    is_early: bool,
}

#[derive(Debug)]
enum Value {
    Template(Template),
    /// A variable's value where there is one of that name, else the text.
    Variable(Box<str>),
}

impl LogAppend {
    pub(super) fn compile(document: &document::LogAppend, scope: &mut Scope) -> Self {
        let value = if document.value.contains('{') {
            Value::Template(scope.template(&document.value, Unknown::Empty))
        } else {
            Value::Variable(document.value.as_str().into())
        };
        Self {
            key: document.key.as_str().into(),
            value,
            is_early: document.early,
        }
    }

    /// Records the field at once or when there is an answer.
    pub(super) fn handle(&self, exchange: &mut Exchange) -> Option<Filter<'_>> {
        if !self.is_early {
            return Some(Filter::LogAppend(self));
        }
        self.record(exchange);
        None
    }

    pub(super) fn record(&self, exchange: &mut Exchange) {
        let value = match &self.value {
            Value::Template(template) => template.expand(exchange).into_owned(),
            Value::Variable(name) => exchange.variables.get(name).unwrap_or(name).to_owned(),
        };
        exchange
            .rare_mut()
            .log_fields
            .push((self.key.clone(), value.into()));
    }
}
