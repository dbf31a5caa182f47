//! Media types by file name extension.

use http::HeaderValue;

/// The value of `Content-Type` for a file name, or `None` when its extension is not known: like
/// Caddy, the server never guesses from the content, and leaves the field out.
///
/// Text types say UTF-8, as in Go's `mime.TypeByExtension`.
pub fn of(name: &[u8]) -> Option<HeaderValue> {
    let base = name.rsplit(|octet| *octet == b'/').next()?;
    let dot = base.iter().rposition(|octet| *octet == b'.')?;
    let extension = std::str::from_utf8(&base[dot + 1..]).ok()?;
    if let Some((_, known)) = COMMON
        .iter()
        .find(|(name, _)| extension.eq_ignore_ascii_case(name))
    {
        return Some(HeaderValue::from_static(known));
    }
    let found = mime_guess::from_ext(extension).first_raw()?;
    if found.starts_with("text/") {
        HeaderValue::try_from(format!("{found}; charset=utf-8")).ok()
    } else {
        Some(HeaderValue::from_static(found))
    }
}

/// The commonest types, found without the big table, and those for which it is out of date.
const COMMON: &[(&str, &str)] = &[
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("svg", "image/svg+xml"),
    ("webp", "image/webp"),
    ("woff2", "font/woff2"),
    ("json", "application/json"),
    ("ico", "image/vnd.microsoft.icon"),
    ("gif", "image/gif"),
    ("txt", "text/plain; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("map", "application/json"),
    ("avif", "image/avif"),
    ("jxl", "image/jxl"),
    ("md", "text/markdown; charset=utf-8"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("toml", "application/toml"),
    ("otf", "font/otf"),
    ("ts", "video/mp2t"),
    ("ttf", "font/ttf"),
    ("wasm", "application/wasm"),
    ("webmanifest", "application/manifest+json"),
    ("woff", "font/woff"),
];

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn types_follow_the_extension() {
        for (name, expected) in [
            ("app.css", Some("text/css; charset=utf-8")),
            ("a/b/APP.CSS", Some("text/css; charset=utf-8")),
            ("app.0123abcd.js", Some("text/javascript; charset=utf-8")),
            ("data.json", Some("application/json")),
            ("page.htm", Some("text/html; charset=utf-8")),
            ("table.csv", Some("text/csv; charset=utf-8")),
            ("feed.xml", Some("text/xml; charset=utf-8")),
            ("movie.mp4", Some("video/mp4")),
            ("paper.pdf", Some("application/pdf")),
            ("font.woff", Some("font/woff")),
            ("noextension", None),
            ("dir.css/noextension", None),
            ("a.unknownext", None),
            ("trailing.", None),
        ] {
            let found = of(name.as_bytes());
            assert_eq!(
                found.as_ref().map(|value| value.to_str().unwrap()),
                expected,
                "{name}"
            );
        }
    }
}
