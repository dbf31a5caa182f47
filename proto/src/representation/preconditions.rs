//! Preconditions of a request (RFC 9110 section 13).

use headers::{ETag, HeaderMapExt as _, IfMatch, IfNoneMatch};
use http::header::{self, HeaderMap};

use super::{Validators, seconds};

/// What the preconditions of a request make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They hold: the request is carried out.
    Proceed,
    /// The client has the representation already: 304.
    NotModified,
    /// One does not hold: 412.
    Failed,
}

/// Evaluates the preconditions of a GET or HEAD request in the order of RFC 9110 section 13.2.2,
/// up to but without `If-Range`.
pub fn evaluate(headers: &HeaderMap, validators: &Validators) -> Verdict {
    let etag = validators.etag.as_ref();
    if headers.contains_key(header::IF_MATCH) {
        if !headers
            .typed_get::<IfMatch>()
            .is_none_or(|field| matches_strongly(&field, etag))
        {
            return Verdict::Failed;
        }
    } else if let (Some(date), Some(modified)) = (
        date(headers, header::IF_UNMODIFIED_SINCE),
        validators.modified_seconds,
    ) && modified > date
    {
        return Verdict::Failed;
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        if headers
            .typed_get::<IfNoneMatch>()
            .is_some_and(|field| matches_weakly(&field, etag))
        {
            return Verdict::NotModified;
        }
    } else if let (Some(date), Some(modified)) = (
        date(headers, header::IF_MODIFIED_SINCE),
        validators.modified_seconds,
    ) && modified <= date
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether `If-Range` lets the `Range` field count (RFC 9110 section 13.1.5). True without the
/// field; a weak entity tag, and a date other than the very one, never match.
pub fn range_applies(headers: &HeaderMap, validators: &Validators) -> bool {
    let Some(value) = headers.get(header::IF_RANGE) else {
        return true;
    };
    let value = value.as_bytes().trim_ascii();
    if value.starts_with(b"W/") {
        return false;
    }
    if value.starts_with(b"\"") {
        return validators
            .etag_value
            .as_ref()
            .is_some_and(|etag| etag.as_bytes() == value);
    }
    let date = std::str::from_utf8(value).ok().and_then(seconds);
    date.is_some() && date == validators.modified_seconds
}

fn matches_strongly(field: &IfMatch, etag: Option<&ETag>) -> bool {
    field.is_any() || etag.is_some_and(|etag| field.precondition_passes(etag))
}

fn matches_weakly(field: &IfNoneMatch, etag: Option<&ETag>) -> bool {
    match etag {
        Some(etag) => !field.precondition_passes(etag),
        None => *field == IfNoneMatch::any(),
    }
}

/// The field as seconds since 1970, if it is one valid date.
fn date(headers: &HeaderMap, name: header::HeaderName) -> Option<i64> {
    seconds(headers.get(name)?.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderMap, HeaderName};

    use super::{Verdict, evaluate, range_applies};
    use crate::representation::Validators;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn validators() -> Validators {
        Validators::for_test(r#""v1""#, 784_111_777)
    }

    fn fields(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn preconditions_are_evaluated_in_order() {
        use Verdict::{Failed, NotModified, Proceed};
        let cases: &[(&[(&'static str, &str)], Verdict)] = &[
            (&[], Proceed),
            (&[("if-match", r#""v1""#)], Proceed),
            (&[("if-match", r#""v0", "v1""#)], Proceed),
            (&[("if-match", "*")], Proceed),
            (&[("if-match", r#""v0""#)], Failed),
            (&[("if-match", r#"W/"v1""#)], Failed),
            (
                &[("if-match", r#""v1""#), ("if-unmodified-since", BEFORE)],
                Proceed,
            ),
            (&[("if-unmodified-since", BEFORE)], Failed),
            (&[("if-unmodified-since", SAME)], Proceed),
            (&[("if-unmodified-since", "yesterday")], Proceed),
            (&[("if-none-match", r#""v1""#)], NotModified),
            (&[("if-none-match", r#"W/"v1""#)], NotModified),
            (
                &[("if-none-match", r#""v0""#), ("if-none-match", r#""v1""#)],
                NotModified,
            ),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", r#""v0""#)], Proceed),
            (
                &[("if-none-match", r#""v0""#), ("if-modified-since", AFTER)],
                Proceed,
            ),
            (&[("if-modified-since", BEFORE)], Proceed),
            (&[("if-modified-since", SAME)], NotModified),
            (&[("if-modified-since", AFTER)], NotModified),
            (
                &[("if-match", r#""v0""#), ("if-none-match", r#""v1""#)],
                Failed,
            ),
            (
                &[("if-match", r#""v1""#), ("if-none-match", r#""v1""#)],
                NotModified,
            ),
        ];
        for (list, expected) in cases {
            assert_eq!(
                evaluate(&fields(list), &validators()),
                *expected,
                "{list:?}"
            );
        }
    }

    #[test]
    fn without_validators_only_the_star_matches() {
        let none = Validators::default();
        assert_eq!(
            evaluate(&fields(&[("if-none-match", "*")]), &none),
            Verdict::NotModified
        );
        assert_eq!(
            evaluate(&fields(&[("if-none-match", r#""a""#)]), &none),
            Verdict::Proceed
        );
        assert_eq!(
            evaluate(&fields(&[("if-match", r#""a""#)]), &none),
            Verdict::Failed
        );
        assert_eq!(
            evaluate(&fields(&[("if-modified-since", AFTER)]), &none),
            Verdict::Proceed
        );
    }

    #[test]
    fn if_range_compares_strongly() {
        for (value, expected) in [
            (r#""v1""#, true),
            (r#""v0""#, false),
            (r#"W/"v1""#, false),
            (SAME, true),
            (AFTER, false),
            (BEFORE, false),
            ("nonsense", false),
        ] {
            let headers = fields(&[("if-range", value)]);
            assert_eq!(range_applies(&headers, &validators()), expected, "{value}");
        }
        let weak = Validators::for_test(r#"W/"v1""#, 784_111_777);
        assert!(!range_applies(&fields(&[("if-range", r#"W/"v1""#)]), &weak));
        assert!(!range_applies(&fields(&[("if-range", r#""v1""#)]), &weak));
        assert!(range_applies(&HeaderMap::new(), &validators()));
        assert!(!range_applies(
            &fields(&[("if-range", "nonsense")]),
            &Validators::default()
        ));
    }
}
