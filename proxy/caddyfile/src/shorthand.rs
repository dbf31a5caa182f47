//! Short placeholders of the Caddyfile: `{host}` stands for `{http.request.host}`.
//!
//! They are expanded in all tokens of a site's directives before these are parsed, so that the
//! document has the full names only. Caddy: `httpcaddyfile/shorthands.go`.

use crate::token::Token;

/// Expands the short placeholders in the texts of `tokens`.
pub fn expand_tokens<'t>(tokens: impl IntoIterator<Item = &'t mut Token>) {
    for token in tokens {
        if token.text.contains('{') {
            token.text = expand(&token.text);
        }
    }
}

/// The text with its short placeholders expanded; others stay as they are.
#[must_use]
pub fn expand(text: &str) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let (before, from_brace) = rest.split_at(start);
        expanded.push_str(before);
        let inside = &from_brace[1..];
        rest = match inside.find(['{', '}']).map(|end| inside.split_at(end)) {
            Some((name, after)) if after.starts_with('}') => {
                let full = full_name(name);
                expanded.push('{');
                expanded.push_str(full.as_deref().unwrap_or(name));
                expanded.push('}');
                &after[1..]
            }
            _ => {
                expanded.push('{');
                inside
            }
        };
    }
    expanded.push_str(rest);
    expanded
}

fn full_name(short: &str) -> Option<String> {
    let alone = ALONE.iter().find(|(name, _)| *name == short);
    if let Some((_, full)) = alone {
        return Some((*full).to_owned());
    }
    let (prefix, end) = short.split_once('.')?;
    let (_, full, may_have_dots) = *WITH_END.iter().find(|(name, ..)| *name == prefix)?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let fits = end
        .chars()
        .all(|c| is_word(c) || (may_have_dots && c == '.'));
    fits.then(|| format!("{full}.{end}"))
}

const ALONE: &[(&str, &str)] = &[
    ("?query", "http.request.uri.prefixed_query"),
    ("client_ip", "http.vars.client_ip"),
    ("dir", "http.request.uri.path.dir"),
    ("file", "http.request.uri.path.file"),
    ("host", "http.request.host"),
    ("hostport", "http.request.hostport"),
    ("method", "http.request.method"),
    ("orig_?query", "http.request.orig_uri.prefixed_query"),
    ("orig_dir", "http.request.orig_uri.path.dir"),
    ("orig_file", "http.request.orig_uri.path.file"),
    ("orig_method", "http.request.orig_method"),
    ("orig_path", "http.request.orig_uri.path"),
    ("orig_query", "http.request.orig_uri.query"),
    ("orig_uri", "http.request.orig_uri"),
    ("path", "http.request.uri.path"),
    ("port", "http.request.port"),
    ("query", "http.request.uri.query"),
    ("remote", "http.request.remote"),
    ("remote_host", "http.request.remote.host"),
    ("remote_port", "http.request.remote.port"),
    ("scheme", "http.request.scheme"),
    ("tls_cipher", "http.request.tls.cipher_suite"),
    (
        "tls_client_certificate_der_base64",
        "http.request.tls.client.certificate_der_base64",
    ),
    (
        "tls_client_certificate_pem",
        "http.request.tls.client.certificate_pem",
    ),
    (
        "tls_client_fingerprint",
        "http.request.tls.client.fingerprint",
    ),
    ("tls_client_issuer", "http.request.tls.client.issuer"),
    ("tls_client_serial", "http.request.tls.client.serial"),
    ("tls_client_subject", "http.request.tls.client.subject"),
    ("tls_version", "http.request.tls.version"),
    ("upstream_hostport", "http.reverse_proxy.upstream.hostport"),
    ("uri", "http.request.uri"),
    ("uuid", "http.request.uuid"),
];

/// Short and full beginning of placeholders with a word at the end, and whether that may have dots.
const WITH_END: &[(&str, &str, bool)] = &[
    ("cookie", "http.request.cookie", false),
    ("err", "http.error", true),
    ("file", "http.request.uri.path.file", false),
    ("file_match", "http.matchers.file", false),
    ("header", "http.request.header", false),
    ("labels", "http.request.host.labels", false),
    ("path", "http.request.uri.path", false),
    ("query", "http.request.uri.query", false),
    ("re", "http.regexp", true),
    ("resp", "http.intercept", true),
    ("rp", "http.reverse_proxy", true),
    ("vars", "http.vars", false),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_names_are_expanded() {
        assert_eq!(
            expand("https://{host}{uri}"),
            "https://{http.request.host}{http.request.uri}"
        );
        assert_eq!(
            expand("{path}{?query}"),
            "{http.request.uri.path}{http.request.uri.prefixed_query}"
        );
    }

    #[test]
    fn short_beginnings_are_expanded() {
        assert_eq!(expand("{header.X-Id}"), "{http.request.header.X-Id}");
        assert_eq!(expand("{re.name.1}"), "{http.regexp.name.1}");
        assert_eq!(expand("{file.ext}"), "{http.request.uri.path.file.ext}");
        assert_eq!(
            expand("{header.a.b} {header.a b}"),
            "{header.a.b} {header.a b}"
        );
    }

    #[test]
    fn other_text_stays() {
        for text in [
            "host",
            "{env.HOME}",
            "{host",
            "{}",
            "}{",
            "{time.now} {unknown}",
        ] {
            assert_eq!(expand(text), text);
        }
        assert_eq!(expand("{a{host}}"), "{a{http.request.host}}");
    }

    proptest! {
        #[test]
        fn expansion_is_done_once(text in "([{}.a]|host|path|\\{uri\\}|\\{re\\.){0,20}") {
            let once = expand(&text);
            prop_assert_eq!(&expand(&once), &once);
        }
    }
}
