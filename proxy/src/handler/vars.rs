//! Sets variables (Caddy: `vars`, `root`).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::compile::Scope;
use crate::exchange::Exchange;
use crate::placeholder::{Template, Unknown};

/// The handler.
#[derive(Debug)]
pub struct Vars {
    variables: Box<[(Template, Template)]>,
}

impl Vars {
    pub(super) fn compile(document: &BTreeMap<String, Value>, scope: &mut Scope) -> Self {
        let variables = document.iter().map(|(name, value)| {
            let value = match value {
                Value::String(text) => scope.template(text, Unknown::Empty),
                Value::Null => Template::literal(""),
                other => Template::literal(&other.to_string()),
            };
            (scope.template(name, Unknown::Empty), value)
        });
        Self {
            variables: variables.collect(),
        }
    }

    pub(super) fn handle(&self, exchange: &mut Exchange) {
        for (name, value) in &self.variables {
            let value = value.expand(exchange).into_owned();
            match name.as_literal() {
                Some(name) => exchange.variables.set(name, value),
                None => {
                    let name = name.expand(exchange).into_owned();
                    exchange.variables.set(&name, value);
                }
            }
        }
    }
}
