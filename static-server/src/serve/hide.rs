//! Caddy's `hide`: files that are treated as absent.

/// Whether `file`, an absolute path, is hidden by one of `patterns`.
///
/// Caddy: a pattern without a slash is compared with every segment of the path, one with a slash
/// hides that path and everything below it, or is matched as a whole.
pub fn is_hidden(file: &[u8], patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| {
        let pattern = pattern.as_bytes();
        if !pattern.contains(&b'/') {
            return file
                .split(|octet| *octet == b'/')
                .any(|segment| matches(pattern, segment));
        }
        let is_below = file
            .strip_prefix(pattern)
            .is_some_and(|rest| rest.starts_with(b"/"));
        is_below || matches(pattern, file)
    })
}

/// Matches like Go's `filepath.Match`: `*` and `?` stop at a slash, `[a-z]` and `[^a-z]` are sets,
/// a backslash takes the next octet as it is. A malformed pattern matches nothing.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut rest) = (0, name);
    // Where to go on after a mismatch: behind the last `*`, with one octet more taken by it.
    let mut star: Option<(usize, &[u8])> = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            star = Some((at, rest));
            continue;
        }
        if at == pattern.len() && rest.is_empty() {
            return true;
        }
        if let (Some(after), Some((_, others))) = (one(&pattern[at..], rest), rest.split_first()) {
            at += after;
            rest = others;
            continue;
        }
        match star {
            Some((after, [taken, others @ ..])) if *taken != b'/' => {
                star = Some((after, others));
                (at, rest) = (after, others);
            }
            _ => return false,
        }
    }
}

/// Matches the first octet of `name` with the first item of `pattern`; the item's length if it
/// does.
fn one(pattern: &[u8], name: &[u8]) -> Option<usize> {
    let octet = *name.first()?;
    match *pattern.first()? {
        b'?' => (octet != b'/').then_some(1),
        b'[' => set(pattern, octet),
        b'\\' => (*pattern.get(1)? == octet).then_some(2),
        plain => (plain == octet).then_some(1),
    }
}

fn set(pattern: &[u8], octet: u8) -> Option<usize> {
    let is_negated = pattern.get(1) == Some(&b'^');
    let mut at = if is_negated { 2 } else { 1 };
    let first = at;
    let mut is_in = false;
    loop {
        if pattern.get(at)? == &b']' && at > first {
            return (is_in != is_negated && octet != b'/').then_some(at + 1);
        }
        let low = bound(pattern, &mut at)?;
        let mut high = low;
        if pattern.get(at) == Some(&b'-') {
            at += 1;
            high = bound(pattern, &mut at)?;
        }
        is_in |= (low..=high).contains(&octet);
    }
}

fn bound(pattern: &[u8], at: &mut usize) -> Option<u8> {
    if pattern.get(*at) == Some(&b'\\') {
        *at += 1;
    }
    let octet = *pattern.get(*at)?;
    *at += 1;
    Some(octet)
}

#[cfg(test)]
mod tests {
    use super::{is_hidden, matches};

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, name, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a?c", "a/c", false),
            ("ab[b-d]", "abc", true),
            ("ab[^b-d]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("[", "a", false),
            ("[a", "a", false),
            ("*x", "xxx", true),
            ("*.txt", "", false),
            ("", "", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn hide_takes_segments_and_paths() {
        let hides = |pattern: &str, file: &str| is_hidden(file.as_bytes(), &[pattern.to_owned()]);
        assert!(hides(".git", "/srv/static/.git/config"));
        assert!(hides(".*", "/srv/static/.env"));
        assert!(!hides("bar", "/srv/barstool"));
        assert!(hides("/srv/private", "/srv/private/a"));
        assert!(hides("/srv/private", "/srv/private"));
        assert!(!hides("/srv/private", "/srv/privateer"));
        assert!(hides("/srv/*/x.txt", "/srv/a/x.txt"));
        assert!(!is_hidden(b"/srv/a", &[]));
    }
}
