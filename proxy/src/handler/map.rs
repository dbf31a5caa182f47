//! Sets placeholders by looking up another one (Caddy: `map`).

use caddyfile::document;
use regex::Regex;
use serde_json::Value;

use crate::compile::Scope;
use crate::exchange::Exchange;
use crate::matcher::regexp;
use crate::placeholder::{Template, Unknown};

/// The handler. Unlike Caddy's it looks up at once, not when a destination is first read.
#[derive(Debug)]
pub struct Map {
    source: Template,
    destinations: Box<[Destination]>,
    inputs: Box<[Input]>,
}

#[derive(Debug)]
struct Destination {
    name: Box<str>,
    /// By row; `None` leaves it to later rows.
    outputs: Box<[Option<Output>]>,
    default: Template,
}

#[derive(Debug)]
enum Input {
    Regex(Regex),
    Text(Box<str>),
}

/// What a row gives: for a regular expression a text in which `$1` is a group.
#[derive(Debug)]
enum Output {
    Expansion(Box<str>),
    Template(Template),
}

impl Map {
    pub(super) fn compile(document: &document::MapHandler, scope: &mut Scope) -> Self {
        let mut inputs = Vec::new();
        for mapping in &document.mappings {
            inputs.push(if mapping.input_regexp.is_empty() {
                Input::Text(mapping.input.as_str().into())
            } else {
                match regexp::regex(&mapping.input_regexp, scope) {
                    Some(regex) => Input::Regex(regex),
                    None => continue,
                }
            });
        }
        let destinations = document
            .destinations
            .iter()
            .enumerate()
            .map(|(column, name)| {
                let outputs = document.mappings.iter().map(|mapping| {
                    let text = match mapping.outputs.get(column)? {
                        Value::Null => return None,
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    };
                    Some(if mapping.input_regexp.is_empty() {
                        Output::Template(scope.template(&text, Unknown::Empty))
                    } else {
                        Output::Expansion(text.into())
                    })
                });
                let outputs = outputs.collect();
                let default = document.defaults.get(column).map_or("", String::as_str);
                Destination {
                    name: name.trim_matches(['{', '}']).into(),
                    outputs,
                    default: scope.template(default, Unknown::Empty),
                }
            });
        let destinations = destinations.collect();
        Self {
            source: scope.template(&document.source, Unknown::Empty),
            destinations,
            inputs: inputs.into(),
        }
    }

    pub(super) fn handle(&self, exchange: &mut Exchange) {
        let source = self.source.expand(exchange).into_owned();
        for destination in &self.destinations {
            let rows = self.inputs.iter().zip(&destination.outputs);
            let found = rows
                .filter_map(|(input, output)| Some((input, output.as_ref()?)))
                .find_map(|(input, output)| match (input, output) {
                    (Input::Regex(regex), Output::Expansion(text)) => {
                        let captures = regex.captures(&source)?;
                        let mut expanded = String::new();
                        captures.expand(text, &mut expanded);
                        Some(expanded)
                    }
                    (Input::Text(text), Output::Template(template)) if **text == *source => {
                        Some(template.expand(exchange).into_owned())
                    }
                    _ => None,
                });
            let value = found.unwrap_or_else(|| destination.default.expand(exchange).into_owned());
            exchange.set_replacement(destination.name.to_string(), value);
        }
    }
}
