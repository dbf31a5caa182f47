//! Matchers: whether a route is for a request (Caddy: `http.matchers`).
//!
//! A matcher looks at the request as it is when the route is reached, after earlier rewrites. Only
//! the `file` matcher has to ask somebody; all others answer at once.

pub mod address;
mod expression;
mod file;
mod header;
pub mod host;
pub mod path;
pub mod regexp;
pub mod response;
mod variable;

use caddyfile::document;
use http::Version;

use self::expression::ExpressionMatcher;
pub use self::file::FileMatcher;
use self::header::{HeaderMatcher, HeaderRegexpMatcher};
pub use self::host::HostMatcher;
use self::path::{PathMatcher, PathRegexpMatcher};
use self::variable::{QueryMatcher, VariableMatcher, VariableRegexpMatcher};
use crate::compile::Scope;
use crate::error::Error;
use crate::exchange::Exchange;

/// Sets of matchers of which one must match; none at all match everything.
#[derive(Debug, Default)]
pub struct MatcherSets {
    sets: Box<[MatcherSet]>,
}

/// Matchers that must all match; the cheapest are asked first.
#[derive(Debug)]
struct MatcherSet {
    matchers: Box<[Matcher]>,
}

#[derive(Debug)]
enum Matcher {
    ClientIp(address::Ranges),
    Expression(ExpressionMatcher),
    File(Box<FileMatcher>),
    Header(HeaderMatcher),
    HeaderRegexp(HeaderRegexpMatcher),
    Host(HostMatcher),
    Method(Box<[Box<str>]>),
    Not(MatcherSets),
    Path(PathMatcher),
    PathRegexp(PathRegexpMatcher),
    Protocol(Protocol),
    Query(QueryMatcher),
    RemoteIp(address::Ranges),
    /// Whether the handshake must be complete: a connection without early data always is.
    Tls(Option<bool>),
    Variable(VariableMatcher),
    VariableRegexp(VariableRegexpMatcher),
}

#[derive(Clone, Copy, Debug)]
enum Protocol {
    Exactly(Version),
    Grpc,
    Http,
    Https,
    Least(Version),
}

impl MatcherSets {
    /// Compiles matcher sets.
    pub fn compile(sets: &[document::MatcherSet], scope: &mut Scope) -> Self {
        let sets = sets.iter().enumerate();
        Self {
            sets: sets
                .map(|(index, set)| {
                    scope.written(set.written.0, |scope| {
                        scope.within(format_args!("[{index}]"), |scope| {
                            MatcherSet::compile(set, scope)
                        })
                    })
                })
                .collect(),
        }
    }

    /// Whether there is nothing to ask.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Whether a matcher has to ask the static-server.
    pub fn needs_files(&self) -> bool {
        self.sets.iter().any(MatcherSet::needs_files)
    }

    /// The `file` matcher, if that is all there is.
    pub fn only_file(&self) -> Option<&FileMatcher> {
        match &*self.sets {
            [MatcherSet { matchers }] => match &**matchers {
                [Matcher::File(file)] => Some(file),
                _ => None,
            },
            _ => None,
        }
    }

    /// The name of a matcher that does not match, of the first set; `None` if all match. Says
    /// nothing of files.
    pub fn first_mismatch(&self, exchange: &mut Exchange) -> Option<&'static str> {
        let mut first = None;
        for set in &self.sets {
            let mut matchers = set.matchers.iter();
            let mismatch = matchers.find(|matcher| !matcher.matches(exchange).unwrap_or(false));
            first = first.or(Some(mismatch?.name()));
        }
        first
    }

    /// Whether the request matches. Answers at once unless [`needs_files`](Self::needs_files).
    ///
    /// # Errors
    /// When the static-server cannot be asked, or an expression cannot be evaluated.
    pub async fn match_with_files(&self, exchange: &mut Exchange) -> Result<bool, Error> {
        if self.sets.is_empty() {
            return Ok(true);
        }
        for set in &self.sets {
            if set.match_with_files(exchange).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the request matches, for sets without `file` matchers; one of those never matches
    /// here.
    ///
    /// # Errors
    /// When an expression cannot be evaluated.
    pub fn matches(&self, exchange: &mut Exchange) -> Result<bool, Error> {
        for set in &self.sets {
            if set.matches(exchange)? {
                return Ok(true);
            }
        }
        Ok(self.sets.is_empty())
    }
}

impl MatcherSet {
    fn compile(set: &document::MatcherSet, scope: &mut Scope) -> Self {
        let mut matchers = Vec::new();
        if let Some(protocol) = &set.protocol {
            scope.within(".protocol", |scope| {
                matchers.extend(Protocol::compile(protocol, scope).map(Matcher::Protocol));
            });
        }
        if let Some(tls) = &set.tls {
            matchers.push(Matcher::Tls(tls.handshake_complete));
        }
        if let Some(methods) = &set.method {
            // Caddy: the methods of a matcher count in upper case, those of requests as they are.
            let methods = methods
                .iter()
                .map(|method| method.to_uppercase().into())
                .collect();
            matchers.push(Matcher::Method(methods));
        }
        if let Some(hosts) = &set.host {
            scope.within(".host", |scope| {
                matchers.push(Matcher::Host(HostMatcher::compile(hosts, scope)));
            });
        }
        if let Some(paths) = &set.path {
            scope.within(".path", |scope| {
                matchers.push(Matcher::Path(PathMatcher::compile(paths, scope)));
            });
        }
        for (ranges, name, make) in [
            (
                &set.remote_ip,
                ".remote_ip",
                Matcher::RemoteIp as fn(address::Ranges) -> Matcher,
            ),
            (&set.client_ip, ".client_ip", Matcher::ClientIp),
        ] {
            if let Some(ranges) = ranges {
                scope.within(name, |scope| {
                    matchers.push(make(address::Ranges::compile(&ranges.ranges, scope)));
                });
            }
        }
        if let Some(fields) = &set.header {
            scope.within(".header", |scope| {
                matchers.push(Matcher::Header(HeaderMatcher::compile(fields, scope)));
            });
        }
        if let Some(query) = &set.query {
            scope.within(".query", |scope| {
                matchers.push(Matcher::Query(QueryMatcher::compile(query, scope)));
            });
        }
        if let Some(variables) = &set.vars {
            scope.within(".vars", |scope| {
                matchers.push(Matcher::Variable(VariableMatcher::compile(
                    variables, scope,
                )));
            });
        }
        if let Some(regexp) = &set.path_regexp {
            scope.within(".path_regexp", |scope| {
                let compiled = PathRegexpMatcher::compile(regexp, scope);
                matchers.extend(compiled.map(Matcher::PathRegexp));
            });
        }
        if let Some(fields) = &set.header_regexp {
            scope.within(".header_regexp", |scope| {
                matchers.push(Matcher::HeaderRegexp(HeaderRegexpMatcher::compile(
                    fields, scope,
                )));
            });
        }
        if let Some(variables) = &set.vars_regexp {
            scope.within(".vars_regexp", |scope| {
                let compiled = VariableRegexpMatcher::compile(variables, scope);
                matchers.push(Matcher::VariableRegexp(compiled));
            });
        }
        if let Some(sets) = &set.not {
            scope.within(".not", |scope| {
                matchers.push(Matcher::Not(MatcherSets::compile(sets, scope)));
            });
        }
        if let Some(file) = &set.file {
            scope.within(".file", |scope| {
                matchers.push(Matcher::File(Box::new(FileMatcher::compile(file, scope))));
            });
        }
        if let Some(expression) = &set.expression {
            scope.within(".expression", |scope| {
                let compiled = ExpressionMatcher::compile(expression, scope);
                matchers.extend(compiled.map(Matcher::Expression));
            });
        }
        for name in set.other.keys() {
            scope.within(format_args!(".{name}"), |scope| {
                scope.error_with_hint(
                    format!("the matcher `{name}` is not supported"),
                    "write it with `path`, `header`, `not` and the other matchers of Caddy",
                );
            });
        }
        Self {
            matchers: matchers.into(),
        }
    }

    fn needs_files(&self) -> bool {
        self.matchers.iter().any(|matcher| match matcher {
            Matcher::File(_) => true,
            Matcher::Not(sets) => sets.needs_files(),
            _ => false,
        })
    }

    async fn match_with_files(&self, exchange: &mut Exchange) -> Result<bool, Error> {
        for matcher in &self.matchers {
            let is_match = match matcher {
                Matcher::File(file) => file.matches(exchange).await?,
                Matcher::Not(sets) if sets.needs_files() => {
                    // A set with `not` may be nested to any depth.
                    !Box::pin(sets.match_with_files(exchange)).await? || sets.is_empty()
                }
                matcher => matcher.matches(exchange)?,
            };
            if !is_match {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn matches(&self, exchange: &mut Exchange) -> Result<bool, Error> {
        for matcher in &self.matchers {
            if !matcher.matches(exchange)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Matcher {
    /// Its name in a Caddyfile.
    fn name(&self) -> &'static str {
        match self {
            Self::ClientIp(_) => "client_ip",
            Self::Expression(_) => "expression",
            Self::File(_) => "file",
            Self::Header(_) => "header",
            Self::HeaderRegexp(_) => "header_regexp",
            Self::Host(_) => "host",
            Self::Method(_) => "method",
            Self::Not(_) => "not",
            Self::Path(_) => "path",
            Self::PathRegexp(_) => "path_regexp",
            Self::Protocol(_) => "protocol",
            Self::Query(_) => "query",
            Self::RemoteIp(_) => "remote_ip",
            Self::Tls(_) => "tls",
            Self::Variable(_) => "vars",
            Self::VariableRegexp(_) => "vars_regexp",
        }
    }

    fn matches(&self, exchange: &mut Exchange) -> Result<bool, Error> {
        Ok(match self {
            Self::ClientIp(ranges) => ranges.contain(exchange.client_ip, exchange),
            Self::Expression(expression) => expression.matches(exchange)?,
            Self::File(_) => false,
            Self::Header(fields) => fields.matches(exchange),
            Self::HeaderRegexp(fields) => fields.matches(exchange),
            Self::Host(hosts) => hosts.matches(exchange),
            Self::Method(methods) => methods
                .iter()
                .any(|method| **method == *exchange.head.method.as_str()),
            // No sets are no reason to refuse.
            Self::Not(sets) => sets.is_empty() || !sets.matches(exchange)?,
            Self::Path(paths) => paths.matches(exchange),
            Self::PathRegexp(regexp) => regexp.matches(exchange),
            Self::Protocol(protocol) => protocol.matches(exchange),
            Self::Query(query) => query.matches(exchange),
            Self::RemoteIp(ranges) => ranges.contain(exchange.connection.peer.ip(), exchange),
            Self::Tls(is_complete) => exchange.is_tls() && *is_complete != Some(false),
            Self::Variable(variables) => variables.matches(exchange),
            Self::VariableRegexp(variables) => variables.matches(exchange),
        })
    }
}

impl Protocol {
    fn compile(name: &str, scope: &mut Scope) -> Option<Self> {
        Some(match name {
            "grpc" => Self::Grpc,
            "http" => Self::Http,
            "https" => Self::Https,
            _ => {
                let (name, is_least) = match name.strip_suffix('+') {
                    Some(name) => (name, true),
                    None => (name, false),
                };
                let version = match name {
                    "http/1.0" => Version::HTTP_10,
                    "http/1.1" => Version::HTTP_11,
                    "http/2" => Version::HTTP_2,
                    "http/3" => Version::HTTP_3,
                    _ => {
                        scope.error_with_hint(
                            format!("unknown protocol `{name}`"),
                            "use `http`, `https`, `grpc`, or `http/1.1`, `http/2`, `http/3`, \
                             also with a `+` behind",
                        );
                        return None;
                    }
                };
                if is_least {
                    Self::Least(version)
                } else {
                    Self::Exactly(version)
                }
            }
        })
    }

    fn matches(self, exchange: &Exchange) -> bool {
        match self {
            Self::Exactly(version) => exchange.head.version == version,
            Self::Grpc => {
                let content_type = exchange.head.headers.get(http::header::CONTENT_TYPE);
                content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
            }
            Self::Http => !exchange.is_tls(),
            Self::Https => exchange.is_tls(),
            Self::Least(version) => exchange.head.version >= version,
        }
    }
}

#[cfg(test)]
mod tests;
