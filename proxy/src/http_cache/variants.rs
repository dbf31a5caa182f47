//! Which of several stored responses for one URI a request may have (RFC 9111 section 4.1).

use http::HeaderMap;
use http::header::{HeaderName, VARY};

/// What a request says in a field; `None` where it has none such.
type FieldValue = Option<Box<[u8]>>;

/// What a stored response was chosen by: the target, where handlers had changed it, and the request
/// fields that `Vary` names, with their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    target: Option<Box<str>>,
    fields: Box<[(HeaderName, FieldValue)]>,
}

impl Selector {
    /// The selector of a response to a request with these fields, whose target was changed to
    /// `target`. `None` where it suits no other request (`Vary: *`).
    pub(crate) fn new(
        response: &HeaderMap,
        target: Option<&str>,
        request: &HeaderMap,
    ) -> Option<Self> {
        let names = names(response)?.into_iter();
        Some(Self {
            target: target.map(Into::into),
            fields: names
                .map(|name| {
                    let value = normalized(request, &name);
                    (name, value)
                })
                .collect(),
        })
    }

    /// Whether a request would have got the same response.
    pub(crate) fn matches(&self, target: Option<&str>, request: &HeaderMap) -> bool {
        self.target.as_deref() == target
            && self
                .fields
                .iter()
                .all(|(name, value)| normalized(request, name) == *value)
    }

    /// The values of a request that this selector would look at, so that requests with the same
    /// ones can be told from others.
    pub(crate) fn values_of(&self, request: &HeaderMap) -> Vec<u8> {
        let mut values = Vec::new();
        for (name, _) in &self.fields {
            // Neither byte is in a field value.
            match normalized(request, name) {
                None => values.push(0),
                Some(value) => values.extend_from_slice(&value),
            }
            values.push(b'\n');
        }
        values
    }

    /// Bytes that it takes.
    pub(crate) fn weight(&self) -> usize {
        let fields = self.fields.iter();
        let fields = fields.map(|(name, value)| {
            name.as_str().len() + value.as_ref().map_or(0, |value| value.len()) + 64
        });
        self.target.as_ref().map_or(0, |target| target.len()) + fields.sum::<usize>()
    }
}

/// The names in `Vary`, each once and sorted; `None` if one of them is `*` or no name.
fn names(response: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names: Vec<HeaderName> = Vec::new();
    for line in response.get_all(VARY) {
        for name in line.to_str().ok()?.split(',').map(str::trim) {
            if name == "*" {
                return None;
            }
            if !name.is_empty() {
                names.push(name.parse().ok()?);
            }
        }
    }
    names.sort_unstable_by(|left, right| left.as_str().cmp(right.as_str()));
    names.dedup();
    Some(names)
}

/// A field's lines as one value, without white space around commas; `None` where it is missing.
fn normalized(request: &HeaderMap, name: &HeaderName) -> FieldValue {
    let mut lines = request.get_all(name).iter().peekable();
    lines.peek()?;
    let mut value = Vec::new();
    for line in lines {
        if !value.is_empty() {
            value.push(b',');
        }
        let mut is_quoted = false;
        let mut is_escaped = false;
        for byte in line.as_bytes().trim_ascii() {
            let is_space = matches!(byte, b' ' | b'\t') && !is_quoted;
            if is_space && value.last().is_none_or(|last| *last == b',') {
                continue;
            }
            if *byte == b',' && !is_quoted {
                value.truncate(value.trim_ascii_end().len());
            }
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                _ => {}
            }
            value.push(*byte);
        }
    }
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn requests_are_told_apart_by_the_fields_that_vary_names() {
        let response = fields(&[("vary", "Accept-Language, cookie"), ("vary", "Cookie,")]);
        let request = fields(&[("accept-language", "de, en;q=0.5"), ("x-other", "1")]);
        let selector = Selector::new(&response, None, &request).unwrap();
        for (request, matches) in [
            (&[("accept-language", "de, en;q=0.5")][..], true),
            (&[("accept-language", "de ,\ten;q=0.5")], true),
            (
                &[("accept-language", "de"), ("accept-language", "en;q=0.5")],
                true,
            ),
            (&[("accept-language", "de, en;q=0.6")], false),
            (&[], false),
            (
                &[("accept-language", "de, en;q=0.5"), ("cookie", "")],
                false,
            ),
        ] {
            let request = fields(request);
            assert_eq!(selector.matches(None, &request), matches, "{request:?}");
        }
        assert!(!selector.matches(Some("/other"), &request));
    }

    #[test]
    fn white_space_within_quotes_counts() {
        let response = fields(&[("vary", "x")]);
        let request = fields(&[("x", "\"a, b\"")]);
        let selector = Selector::new(&response, None, &request).unwrap();
        assert!(!selector.matches(None, &fields(&[("x", "\"a,b\"")])));
        assert!(selector.matches(None, &request));
    }

    #[test]
    fn an_asterisk_suits_nobody() {
        let request = HeaderMap::new();
        assert!(Selector::new(&fields(&[("vary", "accept, *")]), None, &request).is_none());
        assert!(Selector::new(&fields(&[]), None, &request).is_some());
    }
}
