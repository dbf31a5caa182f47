//! Regular expressions and what they capture, for `{http.regexp.*}`.

use std::ops::Range;
use std::sync::Arc;

use caddyfile::document;
use regex::Regex;

use crate::compile::Scope;
use crate::exchange::Exchange;

/// A regular expression with the name that its captures go by.
#[derive(Debug)]
pub struct Regexp {
    regex: Regex,
    name: Arc<str>,
    groups: Arc<[Option<Box<str>>]>,
}

/// What a regular expression captured.
#[derive(Clone, Debug)]
pub struct Captured {
    name: Arc<str>,
    groups: Arc<[Option<Box<str>>]>,
    text: Box<str>,
    ranges: Box<[Option<Range<usize>>]>,
}

impl Regexp {
    /// Compiles a regular expression in Go's syntax.
    pub fn compile(document: &document::RegexpMatcher, scope: &mut Scope) -> Option<Self> {
        let regex = regex(&document.pattern, scope)?;
        let groups = regex
            .capture_names()
            .map(|name| name.map(Into::into))
            .collect();
        Some(Self {
            name: document.name.as_str().into(),
            groups,
            regex,
        })
    }

    /// What it captures in `text`, if it matches anywhere.
    pub fn captures(&self, text: &str) -> Option<Captured> {
        let captures = self.regex.captures(text)?;
        Some(Captured {
            name: Arc::clone(&self.name),
            groups: Arc::clone(&self.groups),
            text: text.into(),
            ranges: captures
                .iter()
                .map(|group| group.map(|group| group.range()))
                .collect(),
        })
    }

    /// Matches `text` and remembers the captures.
    pub fn matches(&self, text: &str, exchange: &mut Exchange) -> bool {
        let captured = self.captures(text);
        let is_match = captured.is_some();
        exchange.captures.extend(captured);
        is_match
    }
}

impl Captured {
    /// The text of `NAME.GROUP`, or of `GROUP` of whatever expression matched last. A group that
    /// took no part in the match is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let own = name
            .strip_prefix(&*self.name)
            .and_then(|rest| rest.strip_prefix('.'));
        own.and_then(|group| self.group(group))
            .or_else(|| self.group(name))
    }

    fn group(&self, group: &str) -> Option<&str> {
        let index = match group.parse() {
            Ok(index) => index,
            Err(_) => self
                .groups
                .iter()
                .position(|name| name.as_deref() == Some(group))?,
        };
        let range = self.ranges.get(index)?;
        Some(range.as_ref().map_or("", |range| &self.text[range.clone()]))
    }
}

/// Compiles a regular expression; one that is no good is an error of the document.
pub fn regex(pattern: &str, scope: &mut Scope) -> Option<Regex> {
    match caddyfile::regexp::compile(pattern) {
        Ok(regex) => Some(regex),
        Err(error) => {
            scope.error(format!("`{pattern}` is no regular expression: {error}"));
            None
        }
    }
}
