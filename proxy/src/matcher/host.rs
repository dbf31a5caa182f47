//! The `host` matcher.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::compile::Scope;
use crate::exchange::Exchange;
use crate::placeholder::{Template, Unknown};

/// Matches the request's host, without its port and without regard to case. A label `*` is any one
/// label.
#[derive(Debug)]
pub struct HostMatcher {
    exact: Exact,
    wildcards: Box<[Wildcard]>,
    templates: Box<[Template]>,
}

/// Exact names in lower case.
#[derive(Debug)]
enum Exact {
    Few(Box<[Box<str>]>),
    Many(HashSet<Box<str>>),
}

/// A name of which some labels are `*`, in lower case.
#[derive(Clone, Debug)]
pub struct Wildcard(Box<str>);

/// Up to this many names are compared one by one.
const FEW: usize = 8;

/// Values by host: of the exact name, or else of the first wildcard that fits. A look-up costs the
/// same with ten thousand names.
#[derive(Debug)]
pub struct HostMap<T> {
    exact: HashMap<Box<str>, T>,
    /// By what follows the first label, which is a wildcard; with their place in the order.
    in_front: HashMap<Box<str>, (usize, T)>,
    /// Those with wildcards elsewhere.
    others: Vec<(usize, Wildcard, T)>,
    wildcards: usize,
}

impl<T> HostMap<T> {
    /// Adds a name, which may have wildcards. One that is there already keeps its value.
    pub fn insert(&mut self, host: &str, value: T) {
        if !host.contains('*') {
            let name = host.to_ascii_lowercase().into();
            self.exact.entry(name).or_insert(value);
            return;
        }
        let wildcard = Wildcard::new(host);
        let place = self.wildcards;
        self.wildcards += 1;
        match wildcard.suffix() {
            Some(suffix) => {
                self.in_front.entry(suffix.into()).or_insert((place, value));
            }
            None => self.others.push((place, wildcard, value)),
        }
    }

    /// The value for `host`.
    pub fn get(&self, host: &str) -> Option<&T> {
        let host = &*lower_case(host);
        if let Some(value) = self.exact.get(host) {
            return Some(value);
        }
        let suffix = host.split_once('.').map(|(_, suffix)| suffix);
        let in_front = suffix.and_then(|suffix| self.in_front.get(suffix));
        let in_front = in_front.map(|(place, value)| (*place, value));
        let mut others = self.others.iter();
        let other = others.find(|(_, wildcard, _)| wildcard.matches(host));
        let other = other.map(|(place, _, value)| (*place, value));
        let first = in_front.into_iter().chain(other);
        first
            .min_by_key(|(place, _)| *place)
            .map(|(_, value)| value)
    }
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            in_front: HashMap::new(),
            others: Vec::new(),
            wildcards: 0,
        }
    }
}

impl HostMatcher {
    /// Compiles host names, which may have wildcards and placeholders.
    pub fn compile(hosts: &[String], scope: &mut Scope) -> Self {
        let mut exact = HashSet::new();
        let mut wildcards = Vec::new();
        let mut templates = Vec::new();
        for host in hosts {
            if host.contains('{') {
                templates.push(scope.template(host, Unknown::Empty));
            } else if host.contains('*') {
                wildcards.push(Wildcard::new(host));
            } else {
                exact.insert(to_ascii(host).into());
            }
        }
        let exact = if exact.len() > FEW {
            Exact::Many(exact)
        } else {
            Exact::Few(exact.into_iter().collect())
        };
        Self {
            exact,
            wildcards: wildcards.into(),
            templates: templates.into(),
        }
    }

    pub(super) fn matches(&self, exchange: &Exchange) -> bool {
        let host = exchange.host();
        let is_exact = match &self.exact {
            Exact::Few(names) => names.iter().any(|name| name.eq_ignore_ascii_case(host)),
            Exact::Many(names) => names.contains(&*host.to_ascii_lowercase()),
        };
        is_exact
            || self.wildcards.iter().any(|wildcard| wildcard.matches(host))
            || self.templates.iter().any(|template| {
                let name = template.expand(exchange);
                if name.contains('*') {
                    Wildcard::new(&name).matches(host)
                } else {
                    name.eq_ignore_ascii_case(host)
                }
            })
    }
}

impl Wildcard {
    /// A name of which some labels are `*`.
    pub fn new(name: &str) -> Self {
        Self(name.to_ascii_lowercase().into())
    }

    /// Whether `host` is such a name.
    pub fn matches(&self, host: &str) -> bool {
        let mut labels = host.split('.');
        let is_prefix = self.0.split('.').all(|pattern| {
            labels
                .next()
                .is_some_and(|label| pattern == "*" || pattern.eq_ignore_ascii_case(label))
        });
        is_prefix && labels.next().is_none()
    }

    /// What follows the first label, if that alone is a wildcard.
    pub fn suffix(&self) -> Option<&str> {
        self.0
            .strip_prefix("*.")
            .filter(|suffix| !suffix.contains('*'))
    }
}

/// A name as it appears in `Host`: in lower case, and a name that is not ASCII in Punycode
/// (RFC 5891).
pub fn to_ascii(host: &str) -> String {
    if host.is_ascii() {
        return host.to_ascii_lowercase();
    }
    match url::Host::parse(host) {
        Ok(url::Host::Domain(name)) => name,
        _ => host.to_lowercase(),
    }
}

/// A host in lower case, which nearly all are in already.
pub(crate) fn lower_case(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        host.to_ascii_lowercase().into()
    } else {
        host.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_name_comes_before_the_first_wildcard() {
        let mut map = HostMap::default();
        for (value, host) in ["a.Test", "*.*", "*.test", "b.test", "x.*.test"]
            .into_iter()
            .enumerate()
        {
            map.insert(host, value);
        }
        for (host, expected) in [
            ("A.test", Some(0)),
            ("b.test", Some(3)),
            ("c.test", Some(1)),
            ("x.y.test", Some(4)),
            ("z.y.test", None),
            ("test", None),
        ] {
            assert_eq!(map.get(host).copied(), expected, "{host}");
        }
    }
}
