//! Changes of log entries before they are written (Caddy: `format filter`, `format append`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use regex::Regex;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::Node;
use crate::compile::Scope;
use crate::matcher::regexp;
use crate::uri::query::Query;

/// A change of one field.
#[derive(Debug)]
pub(super) struct Change {
    /// The field's name within that of the field before it, from the outside in.
    path: Box<[String]>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Append(Value),
    /// Changes of cookies by name.
    Cookie(Box<[(String, Action)]>),
    Delete,
    Hash,
    MaskIp {
        v4: u8,
        v6: u8,
    },
    /// Changes of values in a target's query by key.
    Query(Box<[(String, Action)]>),
    /// Replacements in this order.
    Regexp(Vec<(Regex, String)>),
    Rename(String),
    Replace(String),
}

/// Compiles the fields of a `filter` encoder.
pub(super) fn compile(fields: &BTreeMap<String, Value>, scope: &mut Scope) -> Vec<Change> {
    let compiled = fields.iter().filter_map(|(path, options)| {
        let kind = scope.within(format_args!(".fields.{path}"), |scope| {
            Kind::compile(options, scope)
        })?;
        Some(Change {
            path: path.split('>').map(str::to_owned).collect(),
            kind,
        })
    });
    compiled.collect()
}

/// Compiles the fields of an `append` encoder.
pub(super) fn appended(fields: &BTreeMap<String, Value>, scope: &mut Scope) -> Vec<Change> {
    let fields = fields.iter().map(|(name, value)| {
        let value = match value {
            Value::String(text) => Value::String(scope.constant(text)),
            other => other.clone(),
        };
        Change {
            path: [name.clone()].into(),
            kind: Kind::Append(value),
        }
    });
    fields.collect()
}

impl Kind {
    fn compile(options: &Value, scope: &mut Scope) -> Option<Self> {
        let text = |key: &str| options.get(key).and_then(Value::as_str).unwrap_or_default();
        let bits = |key: &str| {
            options
                .get(key)
                .and_then(Value::as_u64)
                .and_then(|bits| u8::try_from(bits).ok())
        };
        Some(match text("filter") {
            "cookie" => Self::Cookie(Action::compile(options, "name", scope)),
            "delete" => Self::Delete,
            "query" => Self::Query(Action::compile(options, "parameter", scope)),
            "hash" => Self::Hash,
            "ip_mask" => Self::MaskIp {
                v4: bits("ipv4_cidr").unwrap_or(32).min(32),
                v6: bits("ipv6_cidr").unwrap_or(128).min(128),
            },
            "multi_regexp" => {
                let operations = options.get("operations").and_then(Value::as_array);
                let operations = operations.into_iter().flatten();
                Self::Regexp(
                    operations
                        .filter_map(|one| replacement(one, scope))
                        .collect(),
                )
            }
            "regexp" => Self::Regexp(vec![replacement(options, scope)?]),
            "rename" => Self::Rename(text("name").to_owned()),
            "replace" => Self::Replace(text("value").to_owned()),
            other => {
                scope.error_with_hint(
                    format!("the log filter `{other}` is not supported"),
                    "use `delete`, `replace`, `rename`, `regexp`, `multi_regexp`, `ip_mask`, `hash`, \
                     `query` or `cookie`",
                );
                return None;
            }
        })
    }
}

/// A regular expression and what takes the place of its matches.
fn replacement(options: &Value, scope: &mut Scope) -> Option<(Regex, String)> {
    let text = |key: &str| options.get(key).and_then(Value::as_str).unwrap_or_default();
    Some((
        regexp::regex(text("regexp"), scope)?,
        text("value").to_owned(),
    ))
}

/// What happens to a value.
#[derive(Clone, Debug)]
enum Action {
    Delete,
    Hash,
    Replace(String),
}

impl Action {
    /// Reads a list of actions, each for the value that `key` names.
    fn compile(options: &Value, key: &str, scope: &mut Scope) -> Box<[(String, Self)]> {
        let actions = options.get("actions").and_then(Value::as_array);
        let actions = actions.into_iter().flatten().filter_map(|action| {
            let text = |key: &str| action.get(key).and_then(Value::as_str).unwrap_or_default();
            let kind = match text("type") {
                "delete" => Self::Delete,
                "hash" => Self::Hash,
                "replace" => Self::Replace(text("value").to_owned()),
                other => {
                    scope.error_with_hint(
                        format!("the action `{other}` is not supported"),
                        "use `delete`, `hash` or `replace`",
                    );
                    return None;
                }
            };
            Some((text(key).to_owned(), kind))
        });
        actions.collect()
    }

    /// The value afterwards, if it stays.
    fn apply(&self, value: &str) -> Option<String> {
        match self {
            Self::Delete => None,
            Self::Hash => Some(hash(value)),
            Self::Replace(value) => Some(value.clone()),
        }
    }
}

impl Change {
    /// Changes an entry.
    pub(super) fn apply(&self, entry: &mut Node) {
        if let Kind::Append(value) = &self.kind {
            if let (Some(fields), [name]) = (entry.fields_mut(), &*self.path) {
                fields.push((name.clone().into(), Node::Raw(value.clone())));
            }
            return;
        }
        let mut node = entry;
        let Some((last, parents)) = self.path.split_last() else {
            return;
        };
        for name in parents {
            let fields = node.fields_mut().into_iter().flatten();
            match fields.into_iter().find(|(known, _)| *known == *name) {
                Some((_, inner)) => node = inner,
                None => return,
            }
        }
        let Some(fields) = node.fields_mut() else {
            return;
        };
        let Some(at) = fields.iter().position(|(known, _)| *known == *last) else {
            return;
        };
        match &self.kind {
            Kind::Append(_) => {}
            Kind::Delete => {
                fields.remove(at);
            }
            Kind::Rename(name) => fields[at].0 = name.clone().into(),
            Kind::Replace(value) => fields[at].1 = Node::text(value.clone()),
            Kind::Cookie(actions) => {
                each_text(&mut fields[at].1, &|text| change_cookies(text, actions));
            }
            Kind::Query(actions) => {
                each_text(&mut fields[at].1, &|text| change_query(text, actions));
            }
            Kind::Hash => each_text(&mut fields[at].1, &hash),
            Kind::MaskIp { v4, v6 } => {
                each_text(&mut fields[at].1, &|text| mask(text, *v4, *v6));
            }
            Kind::Regexp(replacements) => {
                each_text(&mut fields[at].1, &|text| {
                    let mut text = text.to_owned();
                    for (regex, value) in replacements {
                        text = regex.replace_all(&text, value.as_str()).into_owned();
                    }
                    text
                });
            }
        }
    }
}

/// Changes a text, or each of a list of texts.
fn each_text(node: &mut Node, change: &dyn Fn(&str) -> String) {
    match node {
        Node::Text(text) => *text = change(text).into(),
        Node::List(values) => values.iter_mut().for_each(|value| each_text(value, change)),
        _ => {}
    }
}

/// Four bytes of a digest: enough to tell values apart, too few to find them again.
fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn change_query(target: &str, actions: &[(String, Action)]) -> String {
    let Some((path, query)) = target.split_once('?') else {
        return target.to_owned();
    };
    let mut query = Query::parse(query);
    for (key, action) in actions {
        let Some(values) = query.remove(key) else {
            continue;
        };
        let values: Vec<String> = values
            .iter()
            .filter_map(|value| action.apply(value))
            .collect();
        if !values.is_empty() {
            query.set(key, values);
        }
    }
    match query.encode() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

fn change_cookies(cookies: &str, actions: &[(String, Action)]) -> String {
    let changed = cookies.split(';').filter_map(|pair| {
        let pair = pair.trim();
        // Go: a cookie without a value has an empty one.
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name.is_empty() {
            return None;
        }
        let action = actions.iter().find(|(known, _)| known == name);
        let value = match action {
            Some((_, action)) => action.apply(value)?,
            None => value.to_owned(),
        };
        Some(format!("{name}={value}"))
    });
    changed.collect::<Vec<_>>().join("; ")
}

/// Leaves so many bits of each address in a list with commas.
fn mask(text: &str, v4: u8, v6: u8) -> String {
    let masked = text.split(',').map(|part| {
        let part = part.trim();
        match part.parse::<IpAddr>() {
            Ok(ip) => {
                let bits = if ip.is_ipv4() { v4 } else { v6 };
                IpNet::new(ip, bits)
                    .map_or_else(|_| part.to_owned(), |net| net.network().to_string())
            }
            Err(_) => part.to_owned(),
        }
    });
    masked.collect::<Vec<_>>().join(", ")
}
