//! The directives of `Cache-Control` that a shared cache acts on (RFC 9111 section 5.2).
//!
//! Of a directive that comes twice the first counts, and one with a number that is none means the
//! least that it could (RFC 9111 section 4.2.1).

use http::HeaderMap;
use http::header::{CACHE_CONTROL, PRAGMA};

/// What a response says (RFC 9111 section 5.2.2, RFC 5861). Times are in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResponseDirectives {
    pub max_age: Option<u64>,
    pub must_revalidate: bool,
    pub must_understand: bool,
    pub no_cache: bool,
    pub no_store: bool,
    pub private: bool,
    pub proxy_revalidate: bool,
    pub public: bool,
    pub s_maxage: Option<u64>,
    pub stale_if_error: Option<u64>,
    pub stale_while_revalidate: Option<u64>,
}

/// What a request says (RFC 9111 section 5.2.1). Times are in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestDirectives {
    pub max_age: Option<u64>,
    /// Without a number any staleness will do.
    pub max_stale: Option<u64>,
    pub min_fresh: Option<u64>,
    pub no_cache: bool,
    pub no_store: bool,
    pub only_if_cached: bool,
}

/// What a number of seconds that is too large counts as (RFC 9111 section 1.2.2).
const MOST_SECONDS: u64 = 1 << 31;

impl ResponseDirectives {
    /// Reads them from a response's fields. `no-cache` and `private` with names of fields count as
    /// those without (RFC 9111 sections 5.2.2.4 and 5.2.2.7 allow it).
    pub(crate) fn parse(headers: &HeaderMap) -> Self {
        let mut read = Self::default();
        each(headers, |name, value| match name {
            "max-age" => set(&mut read.max_age, seconds(value).unwrap_or(0)),
            "must-revalidate" => read.must_revalidate = true,
            "must-understand" => read.must_understand = true,
            "no-cache" => read.no_cache = true,
            "no-store" => read.no_store = true,
            "private" => read.private = true,
            "proxy-revalidate" => read.proxy_revalidate = true,
            "public" => read.public = true,
            "s-maxage" => set(&mut read.s_maxage, seconds(value).unwrap_or(0)),
            "stale-if-error" => set(&mut read.stale_if_error, seconds(value).unwrap_or(0)),
            "stale-while-revalidate" => {
                set(
                    &mut read.stale_while_revalidate,
                    seconds(value).unwrap_or(0),
                );
            }
            _ => {}
        });
        read
    }

    /// Whether nothing stale may be given, whoever asks (RFC 9111 section 4.2.4).
    pub(crate) fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.no_cache
    }
}

impl RequestDirectives {
    /// Reads them from a request's fields; `Pragma` counts where there is no `Cache-Control` (RFC
    /// 9111 section 5.4).
    pub(crate) fn parse(headers: &HeaderMap) -> Self {
        let mut read = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            let mut pragmas = headers.get_all(PRAGMA).iter();
            read.no_cache = pragmas.any(|value| {
                let mut parts = value.as_bytes().split(|byte| *byte == b',');
                parts.any(|part| part.trim_ascii().eq_ignore_ascii_case(b"no-cache"))
            });
            return read;
        }
        each(headers, |name, value| match name {
            "max-age" => set(&mut read.max_age, seconds(value).unwrap_or(0)),
            "max-stale" => {
                let most = match value {
                    None => u64::MAX,
                    Some(_) => seconds(value).unwrap_or(0),
                };
                set(&mut read.max_stale, most);
            }
            "min-fresh" => set(&mut read.min_fresh, seconds(value).unwrap_or(MOST_SECONDS)),
            "no-cache" => read.no_cache = true,
            "no-store" => read.no_store = true,
            "only-if-cached" => read.only_if_cached = true,
            _ => {}
        });
        read
    }
}

fn set(known: &mut Option<u64>, value: u64) {
    known.get_or_insert(value);
}

/// Calls `found` with each directive's name in lower case and its value without quotes.
fn each(headers: &HeaderMap, mut found: impl FnMut(&str, Option<&str>)) {
    for line in headers.get_all(CACHE_CONTROL) {
        let Ok(mut rest) = line.to_str() else {
            continue;
        };
        while !rest.is_empty() {
            let (directive, behind) = rest.split_at(end_of_directive(rest));
            rest = behind.strip_prefix(',').unwrap_or_default();
            let (name, value) = match directive.split_once('=') {
                Some((name, value)) => (name, Some(value.trim().trim_matches('"'))),
                None => (directive, None),
            };
            found(&name.trim().to_ascii_lowercase(), value);
        }
    }
}

/// Where a directive ends: at a comma that is not within quotes.
fn end_of_directive(text: &str) -> usize {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => return at,
            _ => {}
        }
    }
    text.len()
}

fn seconds(value: Option<&str>) -> Option<u64> {
    let value = value?;
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(value.parse().unwrap_or(MOST_SECONDS).min(MOST_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn response(lines: &[&'static str]) -> ResponseDirectives {
        ResponseDirectives::parse(&headers(lines))
    }

    fn headers(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn directives_of_responses_are_read() {
        let plain = ResponseDirectives::default();
        for (lines, expected) in [
            (&[""][..], plain),
            (
                &["max-age=60, s-maxage=\"120\""],
                ResponseDirectives {
                    max_age: Some(60),
                    s_maxage: Some(120),
                    ..plain
                },
            ),
            (
                &["Public", "MUST-REVALIDATE"],
                ResponseDirectives {
                    public: true,
                    must_revalidate: true,
                    ..plain
                },
            ),
            (
                &["no-cache=\"x, max-age=5\", max-age=7"],
                ResponseDirectives {
                    no_cache: true,
                    max_age: Some(7),
                    ..plain
                },
            ),
            (
                &["private=\"set-cookie\""],
                ResponseDirectives {
                    private: true,
                    ..plain
                },
            ),
            (
                &["max-age=10, max-age=20"],
                ResponseDirectives {
                    max_age: Some(10),
                    ..plain
                },
            ),
            (
                &["max-age=soon"],
                ResponseDirectives {
                    max_age: Some(0),
                    ..plain
                },
            ),
            (
                &["max-age=-1"],
                ResponseDirectives {
                    max_age: Some(0),
                    ..plain
                },
            ),
            (
                &["max-age=99999999999999999999999"],
                ResponseDirectives {
                    max_age: Some(MOST_SECONDS),
                    ..plain
                },
            ),
            (
                &["stale-while-revalidate=30,stale-if-error=60 , x=\"\\\", no-store\""],
                ResponseDirectives {
                    stale_while_revalidate: Some(30),
                    stale_if_error: Some(60),
                    ..plain
                },
            ),
        ] {
            assert_eq!(response(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn directives_of_requests_are_read() {
        let plain = RequestDirectives::default();
        let read = RequestDirectives::parse(&headers(&["max-stale, min-fresh=5, only-if-cached"]));
        assert_eq!(
            read,
            RequestDirectives {
                max_stale: Some(u64::MAX),
                min_fresh: Some(5),
                only_if_cached: true,
                ..plain
            }
        );
        let mut pragma = HeaderMap::new();
        pragma.insert(PRAGMA, HeaderValue::from_static("x, No-Cache"));
        assert!(RequestDirectives::parse(&pragma).no_cache);
        pragma.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=5"));
        assert!(!RequestDirectives::parse(&pragma).no_cache);
    }
}
