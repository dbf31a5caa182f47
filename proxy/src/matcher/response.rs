//! Which responses something is done with (Caddy: `ResponseMatcher`).

use caddyfile::document;
use http::{HeaderMap, HeaderName, StatusCode};

use super::header::has_value;
use crate::compile::Scope;

/// Matches responses by status and fields.
#[derive(Debug)]
pub struct ResponseMatcher {
    statuses: Box<[u16]>,
    fields: Box<[(HeaderName, Values)]>,
}

/// Values of which one is wanted; no list wants the field absent, an empty one present.
type Values = Option<Box<[Box<str>]>>;

impl ResponseMatcher {
    /// Compiles a response matcher.
    pub fn compile(document: &document::ResponseMatcher, scope: &mut Scope) -> Self {
        let mut statuses = Vec::new();
        for status in &document.status_code {
            match u16::try_from(*status) {
                Ok(status @ (1..=5 | 100..=999)) => statuses.push(status),
                _ => scope.error_with_hint(
                    format!("`{status}` is no status"),
                    "write a status such as 404, or a class as one digit: 4 for 4xx",
                ),
            }
        }
        let mut fields = Vec::new();
        for (name, values) in &document.headers {
            let Some(name) = scope.header_name(name) else {
                continue;
            };
            let values = values.as_ref().map(|values| {
                values
                    .iter()
                    .map(|value| value.as_str().into())
                    .collect::<Box<[Box<str>]>>()
            });
            fields.push((name, values));
        }
        Self {
            statuses: statuses.into(),
            fields: fields.into(),
        }
    }

    /// Matches responses of which `name` begins with one of `prefixes`.
    pub fn by_prefixes(name: HeaderName, prefixes: &[&str]) -> Self {
        let values = prefixes
            .iter()
            .map(|prefix| format!("{prefix}*").into())
            .collect();
        Self {
            statuses: [].into(),
            fields: [(name, Some(values))].into(),
        }
    }

    /// Whether a response is one of those.
    pub fn matches(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let status = status.as_u16();
        let has_status = self.statuses.is_empty()
            || self
                .statuses
                .iter()
                .any(|&wanted| wanted == status || wanted == status / 100);
        has_status
            && self
                .fields
                .iter()
                .all(|(name, values)| match values.as_deref() {
                    None => !headers.contains_key(name),
                    Some([]) => headers.contains_key(name),
                    Some(values) => values.iter().any(|value| has_value(headers, name, value)),
                })
    }
}
