//! Placeholders: `{http.request.host}` and the like within texts of the configuration.
//!
//! A text is parsed once into a [`Template`]; a request only puts the pieces together, and a text
//! without placeholders costs nothing. What a name means is decided in [`key`], what its value
//! is in a request in [`resolve`](Key::resolve).

pub mod client_certificate;
pub mod key;
mod resolve;
pub mod time;

use std::borrow::Cow;
use std::fmt::Write as _;

use http::HeaderMap;

pub use self::key::Key;
pub(crate) use self::resolve::{path_and_query, protocol, status_text};
pub(crate) use self::time::go_duration;
use crate::exchange::Exchange;

/// A text with placeholders, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Box<[Part]>,
}

/// What becomes of a placeholder that means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It is left out (Caddy: `ReplaceAll`).
    Empty,
    /// It stays as it is written (Caddy: `ReplaceKnown`).
    Keep,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    /// A placeholder, and what is written where it has no value in a request.
    Value(Key, Box<str>),
}

impl Template {
    /// Parses a text. A backslash in front of a brace takes its meaning away; a brace that is
    /// never closed is text.
    pub fn compile(text: &str, unknown: Unknown) -> Self {
        Self::compile_with(text, unknown, &|_| false)
    }

    /// Parses a text in which also those names mean something that handlers set (`map`).
    pub fn compile_with(text: &str, unknown: Unknown, is_set: &dyn Fn(&str) -> bool) -> Self {
        let mut parts = Vec::new();
        let mut literal = String::new();
        // Text before this has been taken over.
        let mut done = 0;
        let mut at = 0;
        while let Some(brace) = text[at..].find(['{', '}']) {
            let brace = at + brace;
            at = brace + 1;
            if brace > done && text.as_bytes()[brace - 1] == b'\\' {
                literal.push_str(&text[done..brace - 1]);
                done = brace;
                continue;
            }
            if text.as_bytes()[brace] == b'}' {
                continue;
            }
            let Some(end) = closing_brace(text, brace) else {
                continue;
            };
            literal.push_str(&text[done..brace]);
            done = brace;
            let name = &text[brace + 1..end];
            let written = &text[brace..=end];
            let key =
                Key::parse(name).or_else(|| is_set(name).then(|| Key::Replacement(name.into())));
            match (key, unknown) {
                // A name that means nothing may hold one that does, as in JSON text.
                (None, Unknown::Keep) => continue,
                (None, Unknown::Empty) => {}
                (Some(Key::Constant(value)), _) => literal.push_str(&value),
                (Some(key), _) => {
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal).into()));
                    }
                    let fallback = match unknown {
                        Unknown::Empty => "",
                        Unknown::Keep => written,
                    };
                    parts.push(Part::Value(key, fallback.into()));
                }
            }
            at = end + 1;
            done = at;
        }
        literal.push_str(&text[done..]);
        if !literal.is_empty() || parts.is_empty() {
            parts.push(Part::Text(literal.into()));
        }
        Self {
            parts: parts.into(),
        }
    }

    /// A text that is taken as it is.
    pub fn literal(text: &str) -> Self {
        Self {
            parts: [Part::Text(text.into())].into(),
        }
    }

    /// The text, if it has no placeholders.
    pub fn as_literal(&self) -> Option<&str> {
        match &*self.parts {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The placeholders in it.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Value(key, _) => Some(key),
        })
    }

    /// The text for a request.
    pub fn expand<'a>(&'a self, exchange: &'a Exchange) -> Cow<'a, str> {
        self.expand_each(|key| key.resolve(exchange, None))
    }

    /// The text for a response with these fields, for `{http.response.header.*}`.
    pub fn expand_in<'a>(
        &'a self,
        exchange: &'a Exchange,
        response: &'a HeaderMap,
    ) -> Cow<'a, str> {
        self.expand_each(|key| key.resolve(exchange, Some(response)))
    }

    /// The text with each placeholder's value as `resolve` gives it.
    pub fn expand_each<'a>(
        &'a self,
        mut resolve: impl FnMut(&'a Key) -> Option<Cow<'a, str>>,
    ) -> Cow<'a, str> {
        if let [part] = &*self.parts {
            return match part {
                Part::Text(text) => Cow::Borrowed(text),
                Part::Value(key, fallback) => resolve(key).unwrap_or(Cow::Borrowed(fallback)),
            };
        }
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Value(key, fallback) => {
                    text.push_str(&resolve(key).unwrap_or(Cow::Borrowed(fallback)));
                }
            }
        }
        text.into()
    }
}

/// The position of the brace that closes the one at `open`: the first that is not escaped.
fn closing_brace(text: &str, open: usize) -> Option<usize> {
    let mut from = open;
    loop {
        let end = from + text[from..].find('}')?;
        if text.as_bytes()[end - 1] != b'\\' || end + 1 == text.len() {
            return Some(end);
        }
        from = end + 1;
    }
}

/// Writes a value that displays itself.
fn display(value: impl std::fmt::Display) -> Cow<'static, str> {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write!(text, "{value}");
    text.into()
}

#[cfg(test)]
mod tests;
