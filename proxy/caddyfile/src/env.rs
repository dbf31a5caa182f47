//! `{$NAME}` and `{$NAME:default}`: environment variables in the text of a Caddyfile.
//!
//! Caddy replaces them before it splits the text into tokens, so a value may hold any syntax. The
//! places of all tokens are kept in terms of the text as it was read, also so that no message shows
//! the value of a variable as source text. Caddy: `replaceEnvVars` in `caddyfile/parse.go`.

use std::ops::Range;

/// A text with its environment variables replaced, and the way back to the text as it was read.
#[derive(Debug)]
pub(crate) struct Expanded {
    /// The text to lex.
    pub(crate) text: String,
    replacements: Vec<Replacement>,
}

#[derive(Debug)]
struct Replacement {
    /// The value in the expanded text.
    value: Range<usize>,
    /// `{$..}` in the text as it was read.
    original: Range<usize>,
}

impl Expanded {
    /// Replaces the variables in `original`. An unset variable without default becomes empty; a
    /// value is not expanded again.
    pub(crate) fn new(original: &str, environment: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut text = String::with_capacity(original.len());
        let mut replacements = Vec::new();
        let mut done = 0;
        while let Some(found) = original[done..].find("{$") {
            let start = done + found;
            let Some(length) = original[start + 2..].find('}') else {
                break;
            };
            let end = start + 2 + length + 1;
            let inner = &original[start + 2..end - 1];
            text.push_str(&original[done..start]);
            done = end;
            if inner.is_empty() {
                text.push_str(&original[start..end]);
                continue;
            }
            let (name, default) = inner.split_once(':').unwrap_or((inner, ""));
            let value_start = text.len();
            match environment(name) {
                Some(value) => text.push_str(&value),
                None => text.push_str(default),
            }
            let value = value_start..text.len();
            replacements.push(Replacement {
                value,
                original: start..end,
            });
        }
        text.push_str(&original[done..]);
        Self { text, replacements }
    }

    /// The piece of the text as it was read that `range` of the expanded text came from: variables
    /// it touches belong to it as a whole.
    pub(crate) fn original(&self, range: Range<usize>) -> Range<usize> {
        let start = match self.last_before(|replacement| replacement.value.start <= range.start) {
            Some(last) if range.start < last.value.end => last.original.start,
            Some(last) => last.original.end + (range.start - last.value.end),
            None => range.start,
        };
        let end = match self.last_before(|replacement| replacement.value.start < range.end) {
            Some(last) if range.end <= last.value.end => last.original.end,
            Some(last) => last.original.end + (range.end - last.value.end),
            None => range.end,
        };
        start..end.max(start)
    }

    /// Whether the value of a variable is in `range` of the expanded text.
    pub(crate) fn has_value_in(&self, range: &Range<usize>) -> bool {
        let last = self.last_before(|replacement| replacement.value.start < range.end);
        last.is_some_and(|last| last.value.end > range.start)
    }

    fn last_before(&self, is_before: impl Fn(&Replacement) -> bool) -> Option<&Replacement> {
        let count = self.replacements.partition_point(is_before);
        self.replacements[..count].last()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expand(text: &str) -> Expanded {
        Expanded::new(text, &|name| match name {
            "SET" => Some("a value".to_owned()),
            "BRACED" => Some("{$SET}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn variables_are_replaced_once() {
        assert_eq!(expand("x {$SET} y").text, "x a value y");
        assert_eq!(expand("{$UNSET}{$UNSET:a:b}{$EMPTY:c}").text, "a:b");
        assert_eq!(expand("{$BRACED}").text, "{$SET}");
        assert_eq!(expand("{$} {$SET").text, "{$} {$SET");
    }

    #[test]
    fn places_are_those_of_the_text_as_read() {
        let expanded = expand("x {$SET} yy");
        assert_eq!(expanded.original(0..1), 0..1);
        assert_eq!(expanded.original(4..9), 2..8);
        assert_eq!(expanded.original(10..12), 9..11);
        assert_eq!(expanded.original(0..12), 0..11);
        assert!(expanded.has_value_in(&(0..3)) && expanded.has_value_in(&(8..12)));
        assert!(!expanded.has_value_in(&(0..2)) && !expanded.has_value_in(&(9..12)));
    }

    proptest! {
        #[test]
        fn places_are_inside_the_text(text in "([a-z ]|\\{\\$|\\}|SET|EMPTY|:){0,24}", cut in 0..99usize) {
            let expanded = expand(&text);
            let cut = cut.min(expanded.text.len());
            let before = expanded.original(0..cut);
            let after = expanded.original(cut..expanded.text.len());
            prop_assert!(before.start <= before.end && before.end <= text.len());
            prop_assert!(after.start <= after.end && after.end <= text.len());
            prop_assert!(text.is_char_boundary(before.end) && text.is_char_boundary(after.start));
        }
    }
}
