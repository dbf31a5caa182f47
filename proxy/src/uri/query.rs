//! Queries: pairs in `application/x-www-form-urlencoded` as Go reads and writes them.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// Go's `encodeQueryComponent`, before spaces become `+`.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b' ');

/// A parsed query: keys in the order they first appear, with their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, Vec<String>)>,
    is_malformed: bool,
}

impl Query {
    /// Reads a query. Pairs with a bad escape or a `;` are left out, and make the query
    /// [malformed](Self::is_malformed).
    pub fn parse(text: &str) -> Self {
        let mut query = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if pair.contains(';') || !super::has_valid_escapes(pair) {
                query.is_malformed = true;
                continue;
            }
            query.add(&decode(key), decode(value).into_owned());
        }
        query
    }

    /// Whether pairs were left out.
    pub fn is_malformed(&self) -> bool {
        self.is_malformed
    }

    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The values of `key`, if it appears.
    pub fn get(&self, key: &str) -> Option<&[String]> {
        let found = self.pairs.iter().find(|(known, _)| known == key);
        found.map(|(_, values)| values.as_slice())
    }

    /// Adds a value to `key`.
    pub fn add(&mut self, key: &str, value: String) {
        match self.pairs.iter_mut().find(|(known, _)| known == key) {
            Some((_, values)) => values.push(value),
            None => self.pairs.push((key.to_owned(), vec![value])),
        }
    }

    /// Replaces all values of `key`.
    pub fn set(&mut self, key: &str, values: Vec<String>) {
        match self.pairs.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = values,
            None => self.pairs.push((key.to_owned(), values)),
        }
    }

    /// Removes `key` and gives its values.
    pub fn remove(&mut self, key: &str) -> Option<Vec<String>> {
        let at = self.pairs.iter().position(|(known, _)| known == key)?;
        Some(self.pairs.remove(at).1)
    }

    /// All values, with their keys.
    pub fn values_mut(&mut self) -> impl Iterator<Item = (&str, &mut String)> {
        self.pairs.iter_mut().flat_map(|(key, values)| {
            let key = key.as_str();
            values.iter_mut().map(move |value| (key, value))
        })
    }

    /// Writes the pairs sorted by key, as Go does.
    pub fn encode(&self) -> String {
        let mut pairs: Vec<_> = self.pairs.iter().collect();
        pairs.sort_by(|left, right| left.0.cmp(&right.0));
        let mut text = String::new();
        for (key, values) in pairs {
            for value in values {
                if !text.is_empty() {
                    text.push('&');
                }
                text.push_str(&encode(key));
                text.push('=');
                text.push_str(&encode(value));
            }
        }
        text
    }
}

/// Writes one key or value (Go: `QueryEscape`).
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT)
        .to_string()
        .replace(' ', "+")
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return text.into();
    }
    let spaced = text.replace('+', " ");
    percent_decode(spaced.as_bytes())
        .decode_utf8_lossy()
        .into_owned()
        .into()
}

#[cfg(test)]
mod tests {
    use super::{Query, encode};

    #[test]
    fn pairs_are_read() {
        let query = Query::parse("a=1&b=x+y%26&a=2&c&&d=");
        assert_eq!(query.get("a").unwrap(), ["1", "2"]);
        assert_eq!(query.get("b").unwrap(), ["x y&"]);
        assert_eq!(query.get("c").unwrap(), [""]);
        assert_eq!(query.get("e"), None);
        assert!(!query.is_malformed());
    }

    #[test]
    fn bad_pairs_are_left_out() {
        for text in ["a=%zz&b=1", "a;c=1&b=1"] {
            let query = Query::parse(text);
            assert!(query.is_malformed(), "{text}");
            assert_eq!(query.get("b").unwrap(), ["1"]);
            assert_eq!(query.get("a"), None);
        }
    }

    #[test]
    fn pairs_are_written_sorted() {
        assert_eq!(Query::parse("b=2&a=x y&b=1").encode(), "a=x+y&b=2&b=1");
        assert_eq!(encode("a b*~"), "a+b%2A~");
    }
}
