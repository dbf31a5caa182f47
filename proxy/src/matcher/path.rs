//! The `path` and `path_regexp` matchers.

use std::borrow::Cow;

use caddyfile::document;

use super::regexp::Regexp;
use crate::compile::Scope;
use crate::exchange::Exchange;
use crate::placeholder::{Template, Unknown};
use crate::uri::{glob, path};

/// Matches the path without regard to case, decoded and cleaned, so that no odd way of writing it
/// gets past. A `*` is any text at an end of the pattern, and any text without a slash within it.
#[derive(Debug)]
pub struct PathMatcher {
    patterns: Box<[Pattern]>,
}

/// Matches the decoded and cleaned path with a regular expression.
#[derive(Debug)]
pub struct PathRegexpMatcher {
    regexp: Regexp,
}

#[derive(Debug)]
struct Pattern {
    kind: Kind,
    /// Whether `//` in the path counts as `/`: unless the pattern has one itself.
    merges_slashes: bool,
}

/// What is compared; texts are in lower case.
#[derive(Debug)]
enum Kind {
    Any,
    Contains(Box<str>),
    Equals(Box<str>),
    /// A pattern with `%`, whose escapes must be in the path as they are.
    Escaped(Box<str>),
    Glob(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
    /// A pattern with placeholders, which is read for each request.
    Template(Template),
}

impl PathMatcher {
    /// Compiles path patterns.
    pub fn compile(patterns: &[String], scope: &mut Scope) -> Self {
        if patterns.iter().any(|pattern| pattern == "*") {
            return Self {
                patterns: [Pattern {
                    kind: Kind::Any,
                    merges_slashes: true,
                }]
                .into(),
            };
        }
        let compile = |pattern: &String| {
            let template = scope.template(&pattern.to_lowercase(), Unknown::Empty);
            match template.as_literal() {
                Some(literal) => Pattern::new(literal),
                None => Pattern {
                    kind: Kind::Template(template),
                    merges_slashes: true,
                },
            }
        };
        Self {
            patterns: patterns.iter().map(compile).collect(),
        }
    }

    /// Whether the request's path matches one of the patterns.
    pub fn matches(&self, exchange: &Exchange) -> bool {
        let raw = exchange.path();
        let merged = normalized(raw, true);
        self.patterns.iter().any(|pattern| match &pattern.kind {
            Kind::Template(template) => {
                let pattern = Pattern::new(&template.expand(exchange));
                pattern.matches(raw, &merged)
            }
            _ => pattern.matches(raw, &merged),
        })
    }
}

impl PathRegexpMatcher {
    /// Compiles a regular expression.
    pub fn compile(document: &document::RegexpMatcher, scope: &mut Scope) -> Option<Self> {
        Some(Self {
            regexp: Regexp::compile(document, scope)?,
        })
    }

    pub(super) fn matches(&self, exchange: &mut Exchange) -> bool {
        let decoded = path::decode(exchange.path());
        let captured = self.regexp.captures(&path::clean(&decoded, true));
        let is_match = captured.is_some();
        exchange.captures.extend(captured);
        is_match
    }
}

impl Pattern {
    fn new(pattern: &str) -> Self {
        let stars = pattern.matches('*').count();
        let kind = if pattern == "*" {
            Kind::Any
        } else if pattern.contains('%') {
            Kind::Escaped(pattern.into())
        } else if let (2, Some(inner)) = (stars, within_stars(pattern)) {
            Kind::Contains(inner.into())
        } else if let (1, Some(suffix)) = (stars, pattern.strip_prefix('*')) {
            Kind::Suffix(suffix.into())
        } else if let (1, Some(prefix)) = (stars, pattern.strip_suffix('*')) {
            Kind::Prefix(prefix.into())
        } else if pattern.contains(['*', '?', '[', '\\']) {
            Kind::Glob(pattern.into())
        } else {
            Kind::Equals(pattern.into())
        };
        Self {
            kind,
            merges_slashes: !pattern.contains("//"),
        }
    }

    fn matches(&self, raw: &str, merged: &str) -> bool {
        let unmerged;
        let path = if self.merges_slashes {
            merged
        } else {
            unmerged = normalized(raw, false);
            &unmerged
        };
        match &self.kind {
            Kind::Any => true,
            Kind::Contains(text) => path.contains(&**text),
            Kind::Equals(text) => *path == **text,
            Kind::Escaped(pattern) => {
                matches_escaped(&path::clean(raw, self.merges_slashes), pattern)
            }
            Kind::Glob(pattern) => glob::matches(pattern, path),
            Kind::Prefix(text) => path.starts_with(&**text),
            Kind::Suffix(text) => path.ends_with(&**text),
            // Read before it gets here.
            Kind::Template(_) => false,
        }
    }
}

fn within_stars(pattern: &str) -> Option<&str> {
    pattern.strip_prefix('*')?.strip_suffix('*')
}

/// The decoded path in lower case, cleaned.
fn normalized(raw: &str, merges_slashes: bool) -> Cow<'_, str> {
    let decoded = path::decode(raw);
    if !decoded
        .bytes()
        .any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii())
    {
        return match decoded {
            Cow::Borrowed(decoded) => path::clean(decoded, merges_slashes),
            Cow::Owned(decoded) => path::clean(&decoded, merges_slashes).into_owned().into(),
        };
    }
    path::clean(&decoded.to_lowercase(), merges_slashes)
        .into_owned()
        .into()
}

/// Matches a pattern with escapes: wherever the pattern has an escape or `%*`, the path is compared
/// as it is written, elsewhere decoded.
fn matches_escaped(escaped: &str, pattern: &str) -> bool {
    let (path, wanted) = (escaped.as_bytes(), pattern.as_bytes());
    let mut text = Vec::with_capacity(path.len());
    let (mut at, mut in_pattern) = (0, 0);
    while in_pattern < wanted.len() && at < path.len() {
        let escape = (path[at] == b'%').then(|| path.get(at..at + 3)).flatten();
        match wanted[in_pattern] {
            b'%' if wanted.get(in_pattern + 1) != Some(&b'*') && in_pattern + 3 <= wanted.len() => {
                // Escapes are compared as written; where the path has none there is no match.
                let Some(escape) = escape else { return false };
                text.extend(escape.iter().map(u8::to_ascii_lowercase));
                at += 3;
                in_pattern += 3;
                continue;
            }
            sign @ (b'%' | b'*') => {
                let star = if sign == b'%' {
                    in_pattern + 1
                } else {
                    in_pattern
                };
                let rest = &path[at..];
                let length = match wanted.get(star + 1) {
                    None => rest.len(),
                    Some(next) => match memchr::memchr(*next, rest) {
                        Some(length) => length,
                        None => return false,
                    },
                };
                if sign == b'%' {
                    text.extend_from_slice(&rest[..length]);
                } else {
                    text.extend(percent_encoding::percent_decode(&rest[..length]));
                }
                at += length;
                in_pattern = star;
            }
            _ => match escape {
                Some(escape) => {
                    text.extend(percent_encoding::percent_decode(escape));
                    at += 3;
                }
                None => {
                    text.push(path[at]);
                    at += 1;
                }
            },
        }
        in_pattern += 1;
    }
    // What the pattern did not reach keeps the path from matching.
    text.extend_from_slice(&path[at..]);
    glob::matches(
        &pattern.replace("%*", "*"),
        &String::from_utf8_lossy(&text).to_lowercase(),
    )
}
