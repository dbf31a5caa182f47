//! Fields that belong to one connection and are not forwarded (RFC 9110 section 7.6.1).

use http::header::{
    ALT_SVC, CONNECTION, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

const COUNT: usize = 9;

/// Always removed. `Trailer` is not among them: trailers are forwarded, and it announces them.
static HOP_BY_HOP: [HeaderName; COUNT] = [
    ALT_SVC,
    CONNECTION,
    KEEP_ALIVE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    PROXY_CONNECTION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What the removed fields said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    /// The protocols of `Upgrade`, where `Connection` names that field.
    pub(crate) upgrade: Option<HeaderValue>,
    /// Whether `TE` has `trailers`.
    pub(crate) takes_trailers: bool,
    /// How the message said that its body is framed.
    pub(crate) framing: Framing,
}

/// What `Transfer-Encoding` said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Nothing.
    #[default]
    Plain,
    /// `chunked` and nothing else.
    Chunked,
    /// A coding that the next recipient would not know of.
    Unsupported,
}

/// A message says that its body is coded in a way that the next recipient would not know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnsupportedCoding;

impl UnsupportedCoding {
    /// What is wrong.
    pub(crate) fn message(self) -> &'static str {
        "the body's transfer coding is not supported: only `chunked` is"
    }
}

/// Takes the fields out of `headers` that are not forwarded.
///
/// One pass finds what there is: most messages have at most `Connection`, and looking up every
/// name that may be there costs more than looking at all names that are.
pub(crate) fn remove(headers: &mut HeaderMap) -> Removed {
    let mut found = [false; COUNT];
    let mut is_any = false;
    for name in headers.keys() {
        if let Some(index) = HOP_BY_HOP.iter().position(|known| known == name) {
            found[index] = true;
            is_any = true;
        }
    }
    if !is_any {
        return Removed::default();
    }
    let removed = Removed {
        upgrade: headers
            .get(UPGRADE)
            .filter(|protocols| !protocols.is_empty() && lists(headers, &CONNECTION, "upgrade"))
            .cloned(),
        takes_trailers: lists(headers, &TE, "trailers"),
        framing: framing(headers),
    };
    remove_named(headers);
    for (name, is_found) in HOP_BY_HOP.iter().zip(found) {
        if is_found {
            headers.remove(name);
        }
    }
    removed
}

/// Removes the fields that `Connection` names.
fn remove_named(headers: &mut HeaderMap) {
    let Some(first) = headers.get(CONNECTION) else {
        return;
    };
    // Nearly always the only value there is, and it names nothing.
    if ["keep-alive", "close", "upgrade"]
        .iter()
        .any(|usual| first.as_bytes().eq_ignore_ascii_case(usual.as_bytes()))
        && headers.get_all(CONNECTION).iter().nth(1).is_none()
    {
        return;
    }
    let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
        .filter_map(|token| token.parse().ok())
        .collect();
    for name in named {
        // Not a way to make the next recipient see another host or length.
        if name != http::header::HOST && name != http::header::CONTENT_LENGTH {
            headers.remove(name);
        }
    }
}

fn framing(headers: &HeaderMap) -> Framing {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Framing::Plain,
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Framing::Chunked
        }
        _ => Framing::Unsupported,
    }
}

/// Whether a field that is a list has `token`.
fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|listed| {
        // `TE` gives tokens weights.
        let listed = listed.split(';').next().unwrap_or_default().trim_end();
        listed.eq_ignore_ascii_case(token)
    })
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    #[test]
    fn only_end_to_end_fields_remain() {
        type Lines = &'static [(&'static str, &'static str)];
        let cases: &[(Lines, &[&str])] = &[
            (&[("accept", "*/*"), ("x-own", "1")], &["accept", "x-own"]),
            (
                &[("connection", "keep-alive"), ("accept", "*/*")],
                &["accept"],
            ),
            (
                &[
                    ("connection", "close, X-Secret"),
                    ("x-secret", "1"),
                    ("x-other", "2"),
                ],
                &["x-other"],
            ),
            (
                &[
                    ("connection", "keep-alive"),
                    ("connection", "x-a ,x-b"),
                    ("x-a", "1"),
                    ("x-b", "2"),
                ],
                &[],
            ),
            (
                &[
                    ("keep-alive", "timeout=5"),
                    ("proxy-connection", "close"),
                    ("te", "gzip"),
                ],
                &[],
            ),
            (
                &[
                    ("proxy-authorization", "Basic x"),
                    ("proxy-authenticate", "Basic"),
                ],
                &[],
            ),
            (
                &[("transfer-encoding", "chunked"), ("trailer", "x-t")],
                &["trailer"],
            ),
            (&[("upgrade", "websocket"), ("alt-svc", "h3")], &[]),
            (
                &[
                    ("connection", "host, content-length"),
                    ("host", "a"),
                    ("content-length", "3"),
                ],
                &["content-length", "host"],
            ),
        ];
        for (given, remaining) in cases {
            let mut headers = headers(given);
            remove(&mut headers);
            let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
            names.sort_unstable();
            assert_eq!(&names, remaining, "{given:?}");
        }
    }

    #[test]
    fn what_the_removed_fields_said_is_told() {
        let told = |lines: &[(&str, &str)]| remove(&mut headers(lines));
        let websocket = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
        ];
        assert_eq!(told(&websocket).upgrade.unwrap(), "WebSocket");
        assert_eq!(told(&[("upgrade", "websocket")]).upgrade, None);
        assert_eq!(
            told(&[("connection", "upgrade"), ("upgrade", "")]).upgrade,
            None
        );
        assert!(told(&[("te", "deflate;q=0.5, Trailers")]).takes_trailers);
        assert!(!told(&[("te", "deflate")]).takes_trailers);
        for (coding, framing) in [
            ("chunked", Framing::Chunked),
            ("Chunked", Framing::Chunked),
            ("gzip, chunked", Framing::Unsupported),
            ("identity", Framing::Unsupported),
        ] {
            assert_eq!(
                told(&[("transfer-encoding", coding)]).framing,
                framing,
                "{coding}"
            );
        }
        let twice = [
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ];
        assert_eq!(told(&twice).framing, Framing::Unsupported);
    }
}
