//! Shell patterns as Go's `path.Match` reads them.

/// Whether `text` as a whole matches `pattern`.
///
/// `*` is any run of characters but `/`, `?` one of them, `[a-z]` and `[^a-z]` one of a class, and
/// `\` takes away a character's meaning. A malformed pattern matches nothing.
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // Where to go on when a later character does not fit: behind the last star, one further.
    let mut retry: Option<(usize, usize)> = None;
    let (mut at, mut in_text) = (0, 0);
    loop {
        if pattern.get(at) == Some(&'*') {
            at += 1;
            retry = Some((at, in_text));
            continue;
        }
        if in_text == text.len() {
            return at == pattern.len();
        }
        match one(&pattern, at, text[in_text]) {
            Some(next) => {
                at = next;
                in_text += 1;
            }
            None => match retry {
                // A star does not reach over a slash.
                Some((star, from)) if text[from] != '/' => {
                    retry = Some((star, from + 1));
                    at = star;
                    in_text = from + 1;
                }
                _ => return false,
            },
        }
    }
}

/// Matches one character against the pattern at `at`; gives the position behind what matched.
fn one(pattern: &[char], at: usize, character: char) -> Option<usize> {
    match *pattern.get(at)? {
        '?' => (character != '/').then_some(at + 1),
        '[' => class(pattern, at + 1, character),
        '\\' => (*pattern.get(at + 1)? == character).then_some(at + 2),
        literal => (literal == character).then_some(at + 1),
    }
}

fn class(pattern: &[char], mut at: usize, character: char) -> Option<usize> {
    let is_negated = pattern.get(at) == Some(&'^');
    if is_negated {
        at += 1;
    }
    let mut is_member = false;
    let first = at;
    loop {
        if at > first && pattern.get(at) == Some(&']') {
            return (is_member != is_negated).then_some(at + 1);
        }
        let (low, next) = member(pattern, at)?;
        at = next;
        let mut high = low;
        if pattern.get(at) == Some(&'-') {
            (high, at) = member(pattern, at + 1)?;
        }
        is_member |= low <= character && character <= high;
    }
}

fn member(pattern: &[char], at: usize) -> Option<(char, usize)> {
    match *pattern.get(at)? {
        '-' | ']' => None,
        '\\' => Some((*pattern.get(at + 1)?, at + 2)),
        literal => Some((literal, at + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a?b", "a/b", false),
            ("[a-ζ]*", "α", true),
            ("[]a]", "]", false),
            ("[a", "a", false),
            ("*x", "xxx", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
