//! What a client's own conditions and ranges make of a whole response (RFC 9110 sections 13 and 14).

use std::time::Duration;

use http::header::{
    DATE, ETAG, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderValue};

use super::freshness::date;

/// Conditions that only the server decides on (RFC 9111 section 4.3.2).
pub(crate) const FOR_THE_SERVER: [HeaderName; 2] = [IF_MATCH, IF_UNMODIFIED_SINCE];

/// Conditions and ranges that are decided on here, so that the server is asked for the whole.
pub(crate) const FOR_CACHES: [HeaderName; 4] = [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE];

/// The part of a body that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// From the first to the last byte, both within the body.
    Bytes(u64, u64),
    /// One that the body does not have.
    Unsatisfiable,
    /// All of it.
    Whole,
}

/// Whether the client has the response already (RFC 9110 sections 13.1.2 and 13.1.3).
pub(crate) fn is_not_modified(request: &HeaderMap, response: &HeaderMap) -> bool {
    let mut lists = request.get_all(IF_NONE_MATCH).iter().peekable();
    if lists.peek().is_some() {
        let own = response.get(ETAG).map(|tag| opaque(tag.as_bytes()));
        return lists.any(|list| {
            list.as_bytes().trim_ascii() == b"*"
                || own.is_some_and(|own| tags(list).any(|tag| opaque(tag) == own))
        });
    }
    match (
        date(request, &IF_MODIFIED_SINCE),
        date(response, &LAST_MODIFIED).or_else(|| date(response, &DATE)),
    ) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

/// The part that a request asks for of a body of `length`. Several parts are given as the whole,
/// as is what cannot be understood (RFC 9110 section 14.2 allows it).
pub(crate) fn part(request: &HeaderMap, response: &HeaderMap, length: u64) -> Part {
    let Some(range) = request.get(RANGE).and_then(|range| range.to_str().ok()) else {
        return Part::Whole;
    };
    if !may_have_part(request, response) {
        return Part::Whole;
    }
    let Some((unit, set)) = range.split_once('=') else {
        return Part::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Part::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else {
        return Part::Whole;
    };
    let number = |text: &str| -> Option<u64> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (
        number(first),
        number(last),
        first.is_empty(),
        last.is_empty(),
    ) {
        (Some(first), Some(last), ..) if first > last => Part::Whole,
        (Some(first), ..) if first >= length && (last.is_empty() || number(last).is_some()) => {
            Part::Unsatisfiable
        }
        (Some(first), None, _, true) => Part::Bytes(first, length - 1),
        (Some(first), Some(last), ..) => Part::Bytes(first, last.min(length - 1)),
        (None, Some(0), true, _) => Part::Unsatisfiable,
        (None, Some(_), true, _) if length == 0 => Part::Unsatisfiable,
        (None, Some(suffix), true, _) => Part::Bytes(length.saturating_sub(suffix), length - 1),
        _ => Part::Whole,
    }
}

/// Whether `If-Range` is fulfilled, by the strong comparison (RFC 9110 section 13.1.5).
fn may_have_part(request: &HeaderMap, response: &HeaderMap) -> bool {
    let Some(condition) = request.get(IF_RANGE) else {
        return true;
    };
    if condition.as_bytes().starts_with(b"\"") {
        return response.get(ETAG) == Some(condition);
    }
    let modified = date(response, &LAST_MODIFIED);
    // A date is a strong validator only if it lies well before the response's own (section
    // 8.8.2.2).
    let is_strong = match (modified, date(response, &DATE)) {
        (Some(modified), Some(date)) => date
            .duration_since(modified)
            .is_ok_and(|since| since >= Duration::from_secs(1)),
        _ => false,
    };
    is_strong && date(request, &IF_RANGE) == modified
}

/// The entity tags of a list.
fn tags(list: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    list.as_bytes()
        .split(move |byte| {
            is_quoted ^= *byte == b'"';
            *byte == b',' && !is_quoted
        })
        .map(<[u8]>::trim_ascii)
}

/// An entity tag without what says that it is weak.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        let lines = lines.iter();
        lines
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }

    const OLD: &str = "Sun, 22 Nov 2026 09:59:59 GMT";
    const THEN: &str = "Sun, 22 Nov 2026 10:00:00 GMT";
    const LATER: &str = "Sun, 22 Nov 2026 10:00:05 GMT";

    #[test]
    fn what_the_client_has_is_told_by_tag_and_then_by_date() {
        let tagged = fields(&[(ETAG, "W/\"a,1\""), (LAST_MODIFIED, THEN)]);
        let dated = fields(&[(DATE, THEN)]);
        for (request, response, expected) in [
            (vec![], &tagged, false),
            (vec![(IF_NONE_MATCH, "\"x\", \"a,1\"")], &tagged, true),
            (vec![(IF_NONE_MATCH, "\"a\", 1")], &tagged, false),
            (vec![(IF_NONE_MATCH, "*")], &tagged, true),
            (vec![(IF_NONE_MATCH, "\"x\"")], &dated, false),
            (vec![(IF_MODIFIED_SINCE, THEN)], &tagged, true),
            (vec![(IF_MODIFIED_SINCE, THEN)], &dated, true),
            (vec![(IF_MODIFIED_SINCE, OLD)], &tagged, false),
            (vec![(IF_MODIFIED_SINCE, "yesterday")], &tagged, false),
            (
                vec![(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, THEN)],
                &tagged,
                false,
            ),
        ] {
            assert_eq!(
                is_not_modified(&fields(&request), response),
                expected,
                "{request:?}"
            );
        }
    }

    #[test]
    fn single_ranges_are_found() {
        let response = HeaderMap::new();
        for (range, length, expected) in [
            ("bytes=0-0", 10, Part::Bytes(0, 0)),
            ("bytes=2-", 10, Part::Bytes(2, 9)),
            ("Bytes=2-100", 10, Part::Bytes(2, 9)),
            ("bytes=-3", 10, Part::Bytes(7, 9)),
            ("bytes=-30", 10, Part::Bytes(0, 9)),
            ("bytes=10-", 10, Part::Unsatisfiable),
            ("bytes=10-12", 10, Part::Unsatisfiable),
            ("bytes=-0", 10, Part::Unsatisfiable),
            ("bytes=-1", 0, Part::Unsatisfiable),
            ("bytes=3-2", 10, Part::Whole),
            ("bytes=0-1,3-4", 10, Part::Whole),
            ("bytes=a-b", 10, Part::Whole),
            ("bytes=20-b", 10, Part::Whole),
            ("bytes=-", 10, Part::Whole),
            ("lines=1-2", 10, Part::Whole),
            ("bytes", 10, Part::Whole),
        ] {
            let request = fields(&[(RANGE, range)]);
            assert_eq!(part(&request, &response, length), expected, "{range}");
        }
    }

    #[test]
    fn parts_are_given_only_of_the_version_that_is_meant() {
        let response = fields(&[(ETAG, "\"a\""), (LAST_MODIFIED, THEN), (DATE, LATER)]);
        let recent = fields(&[(LAST_MODIFIED, THEN), (DATE, THEN)]);
        for (condition, response, is_part) in [
            ("\"a\"", &response, true),
            ("\"b\"", &response, false),
            ("W/\"a\"", &response, false),
            (THEN, &response, true),
            (OLD, &response, false),
            (LATER, &response, false),
            (THEN, &recent, false),
        ] {
            let request = fields(&[(RANGE, "bytes=1-2"), (IF_RANGE, condition)]);
            let expected = match is_part {
                true => Part::Bytes(1, 2),
                false => Part::Whole,
            };
            assert_eq!(part(&request, response, 10), expected, "{condition}");
        }
    }
}
