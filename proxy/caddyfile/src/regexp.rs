//! Regular expressions in the syntax of Go (RE2), which Caddyfiles are written in.
//!
//! The `regex` crate takes nearly the same syntax. What differs is rewritten: a `{` that repeats
//! nothing is itself, `\d`, `\w`, `\s` and `\b` mean ASCII, `\Q..\E` quotes, and inside brackets
//! `[`, `&&`, `--` and `~~` mean nothing. Go: package `regexp/syntax`.

use std::iter::Peekable;
use std::str::CharIndices;

use regex::Regex;

/// Compiles the regular expression `pattern`, written as for Go.
///
/// # Errors
/// It is not valid; the error shows where.
pub fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(&as_rust(pattern))
}

/// The same regular expression in the syntax of the `regex` crate.
fn as_rust(pattern: &str) -> String {
    let mut rewriter = Rewriter {
        pattern,
        rest: pattern.char_indices().peekable(),
        out: String::with_capacity(pattern.len()),
    };
    while let Some((at, character)) = rewriter.rest.next() {
        match character {
            '\\' => rewriter.escape(false),
            '[' => rewriter.class(),
            '{' if !is_repetition(&pattern[at..]) => rewriter.out.push_str("\\{"),
            _ => rewriter.out.push(character),
        }
    }
    rewriter.out
}

struct Rewriter<'p> {
    pattern: &'p str,
    rest: Peekable<CharIndices<'p>>,
    out: String,
}

impl Rewriter<'_> {
    /// What follows a backslash.
    fn escape(&mut self, is_in_class: bool) {
        let Some((_, character)) = self.rest.next() else {
            self.out.push('\\');
            return;
        };
        let (class, is_negated) = match character {
            'd' => ("0-9", false),
            'D' => ("0-9", true),
            'w' => ("0-9A-Za-z_", false),
            'W' => ("0-9A-Za-z_", true),
            's' => ("\\t\\n\\f\\r ", false),
            'S' => ("\\t\\n\\f\\r ", true),
            'b' if !is_in_class => return self.out.push_str("(?-u:\\b)"),
            'C' if !is_in_class => return self.out.push_str("(?s:.)"),
            'Q' => return self.quoted(),
            'p' | 'P' | 'x' => {
                self.out.extend(['\\', character]);
                return self.braced();
            }
            _ => return self.out.extend(['\\', character]),
        };
        let start = if is_negated { "[^" } else { "[" };
        if is_in_class && !is_negated {
            self.out.push_str(class);
        } else {
            self.out.extend([start, class, "]"]);
        }
    }

    /// The braces of `\p{..}` and `\x{..}`, if there are any.
    fn braced(&mut self) {
        if self
            .rest
            .peek()
            .is_some_and(|(_, character)| *character == '{')
        {
            for (_, character) in self.rest.by_ref() {
                self.out.push(character);
                if character == '}' {
                    break;
                }
            }
        }
    }

    /// Literal text up to `\E`.
    fn quoted(&mut self) {
        let mut text = String::new();
        while let Some((_, character)) = self.rest.next() {
            if character == '\\' && self.rest.next_if(|(_, next)| *next == 'E').is_some() {
                break;
            }
            text.push(character);
        }
        self.out.push_str(&regex::escape(&text));
    }

    /// A class in brackets, after the opening one.
    fn class(&mut self) {
        self.out.push('[');
        if self.rest.next_if(|(_, next)| *next == '^').is_some() {
            self.out.push('^');
        }
        let mut is_first = true;
        let mut follows_range = false;
        while let Some((at, character)) = self.rest.next() {
            let is_range = character == '-' && !is_first && !follows_range;
            match character {
                ']' if !is_first => return self.out.push(']'),
                '\\' => self.escape(true),
                '[' => match named_class(&self.pattern[at..]) {
                    Some(name) => {
                        self.out.push_str(name);
                        self.rest.by_ref().take(name.len() - 1).for_each(drop);
                    }
                    None => self.out.push_str("\\["),
                },
                '-' if !is_range => self.out.push_str("\\-"),
                '&' | '~' | ']' => self.out.extend(['\\', character]),
                _ => self.out.push(character),
            }
            follows_range = is_range;
            is_first = false;
        }
    }
}

/// Whether the text begins with `{2}`, `{2,}` or `{2,3}`.
fn is_repetition(text: &str) -> bool {
    let inside = text[1..].split_once('}').map(|(inside, _)| inside);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    inside.is_some_and(|inside| match inside.split_once(',') {
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
        None => is_number(inside),
    })
}

/// The class that the text begins with if it is one such as `[:alpha:]`.
fn named_class(text: &str) -> Option<&str> {
    let name = text.strip_prefix("[:")?.split_once(":]")?.0;
    let letters = name.strip_prefix('^').unwrap_or(name);
    let is_name = !letters.is_empty() && letters.bytes().all(|b| b.is_ascii_lowercase());
    is_name.then(|| &text[..name.len() + 4])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], other: &[&str]) {
        let regex = compile(pattern).expect("the pattern is right");
        for text in matching {
            assert!(regex.is_match(text), "{pattern} and {text}");
        }
        for text in other {
            assert!(!regex.is_match(text), "{pattern} and {text}");
        }
    }

    #[test]
    fn braces_that_repeat_nothing_are_text() {
        check("^/{id}/x{,2}$", &["/{id}/x{,2}"], &["/id/x"]);
        check("^a{2,3}$", &["aa", "aaa"], &["a", "a{2,3}"]);
        check("^{$", &["{"], &[]);
    }

    #[test]
    fn classes_are_of_ascii() {
        check(r"^\d\w\s$", &["1a "], &["\u{664}a ", "1\u{e9} "]);
        check(r"^[\d.][\W]\S$", &[".-x"], &["xxx"]);
        check(r"\bfoo\b", &["\u{e9}foo "], &["xfoo"]);
    }

    #[test]
    fn brackets_have_no_operators() {
        check("^[[a]+$", &["[a"], &["b"]);
        check("^[a&&b~~c]+$", &["a&b~c"], &["d"]);
        check("^[+--]+$", &["+,-"], &["."]);
        check("^[--/]+$", &["-./"], &[","]);
        check("^[]a-]+$", &["]a-"], &["b"]);
        check("^[[:alpha:][:^ascii:]]+$", &["a\u{e9}"], &["1"]);
    }

    #[test]
    fn quoted_text_is_literal() {
        check(r"^\Qa.b[\E+$", &["a.b[["], &["axb["]);
        check(r"^\x{41}\p{Greek}\pN$", &["A\u{3b1}1"], &["B\u{3b1}1"]);
    }

    #[test]
    fn wrong_expressions_are_refused() {
        for pattern in ["(", "a)", "*", "[a", "\\", "(?P<n>a)(?P<n>b)", "[z-a]"] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_expression_or_refused(text in "([a-c{}\\[\\]\\\\^$().*+?:,2&~QEdpx-]|\\[:alpha:\\]){0,24}") {
            let _ = compile(&text);
        }
    }
}
