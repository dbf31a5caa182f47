//! Files that anybody may have uploaded (`--untrusted`).
//!
//! They come from the site's own origin, so a browser would run what is in them with the rights of
//! the site's users: an SVG picture or a page with a script reads their sessions. What runs is
//! therefore saved rather than shown, and nothing is taken for another type than its name says.
//! Pictures, sound, films, PDF and plain text are shown as ever, and `<img src="….svg">` works, since
//! pictures in pages run no scripts.

use http::header::{self, HeaderMap, HeaderValue};

/// The type that a file is sent with. Scripts and style sheets become plain text, so that no page
/// of the site can be brought to load them.
pub fn content_type(own: Option<HeaderValue>) -> Option<HeaderValue> {
    match essence(own.as_ref()) {
        "text/css" | "text/javascript" | "application/javascript" => Some(PLAIN),
        _ => own,
    }
}

/// Adds the fields that keep a browser from running a file of `content_type`.
pub fn guard(headers: &mut HeaderMap, content_type: Option<&HeaderValue>) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    if !is_inert(essence(content_type)) {
        headers.insert(header::CONTENT_DISPOSITION, ATTACHMENT);
        headers.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
    }
}

/// Whether no browser runs anything of this type with the rights of the site. What is not known may
/// be run by one.
fn is_inert(essence: &str) -> bool {
    let is_picture = essence.starts_with("image/") && essence != "image/svg+xml";
    is_picture
        || ["audio/", "video/", "font/"]
            .iter()
            .any(|kind| essence.starts_with(kind))
        || matches!(
            essence,
            "text/plain" | "text/csv" | "text/markdown" | "application/json" | "application/pdf"
        )
}

/// The type without its parameters; empty when there is none.
fn essence(content_type: Option<&HeaderValue>) -> &str {
    let value = content_type.and_then(|value| value.to_str().ok());
    let value = value.unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const ATTACHMENT: HeaderValue = HeaderValue::from_static("attachment");
/// For browsers that show the file all the same, as in a frame.
const SANDBOX: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{content_type, guard};
    use crate::serve::content_type::of;

    #[test]
    fn what_runs_is_saved_and_what_does_not_is_shown() {
        for (name, is_saved) in [
            ("a.png", false),
            ("a.jpeg", false),
            ("a.webp", false),
            ("a.mp4", false),
            ("a.mp3", false),
            ("a.pdf", false),
            ("a.txt", false),
            ("a.json", false),
            ("a.js", false),
            ("a.css", false),
            ("a.svg", true),
            ("a.html", true),
            ("a.xhtml", true),
            ("a.xml", true),
            ("a.xsl", true),
            ("a.mhtml", true),
            ("a.wasm", true),
            ("a.swf", true),
            ("a.zip", true),
            ("a", true),
            ("a.unknownext", true),
        ] {
            let kind = content_type(of(name.as_bytes()));
            let mut headers = HeaderMap::new();
            guard(&mut headers, kind.as_ref());
            assert_eq!(headers["x-content-type-options"], "nosniff");
            assert_eq!(
                headers.contains_key("content-disposition"),
                is_saved,
                "{name}"
            );
            assert_eq!(
                headers.contains_key("content-security-policy"),
                is_saved,
                "{name}"
            );
        }
    }

    #[test]
    fn scripts_and_style_sheets_are_plain_text() {
        for name in ["a.js", "a.mjs", "a.css", "a.JS"] {
            let kind = content_type(of(name.as_bytes())).unwrap();
            assert_eq!(kind, "text/plain; charset=utf-8", "{name}");
        }
        assert_eq!(content_type(of(b"a.png")).unwrap(), "image/png");
        assert!(content_type(None).is_none());
    }
}
