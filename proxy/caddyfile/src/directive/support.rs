//! What the proxy cannot run, and what it runs without effect.

use crate::diagnostic::Diagnostic;
use crate::token::Token;

/// Directives, and subdirectives and options behind their directive's name, that Caddy has and
/// that are lowered, but that the proxy cannot run, each with what to do instead.
///
/// This is the one place to strike an entry from when the proxy learns it.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("acme_server", "certificates are cert-manager's; remove it"),
    (
        "file_server browse template",
        "listings have a page of their own: remove the file; an app can make another page from the \
         JSON that listings are with `Accept: application/json`",
    ),
    (
        "file_server fs",
        "files come from the static-server's volumes",
    ),
    (
        "fs",
        "files come from the static-server's volumes; use `root`",
    ),
    ("log core", ""),
    ("servers listener_wrappers", ""),
    ("servers packet_conn_wrappers", ""),
    (
        "templates",
        "files are sent as they are: let the app render them, and remove it if no file has \
         templates",
    ),
    ("tls get_certificate", ""),
];

/// Directives and subdirectives that are taken and do nothing, with the reason.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("push", "browsers no longer take pushed responses"),
    (
        "reverse_proxy verbose_logs",
        "what an upstream fails with is in the log without it",
    ),
];

/// Whether the proxy can run `feature`.
pub(crate) fn is_supported(feature: &str) -> bool {
    !UNSUPPORTED.iter().any(|(name, _)| *name == feature)
}

/// What is to be said of `feature` at `token`, if anything.
pub(super) fn finding(token: &Token, feature: &str) -> Option<Diagnostic> {
    let find = |list: &'static [(&str, &str)]| list.iter().find(|(name, _)| *name == feature);
    if let Some((_, help)) = find(UNSUPPORTED) {
        // What has nothing to do instead is to come.
        return Some(if help.is_empty() {
            let message = format!("`{feature}` is not supported yet");
            Diagnostic::unsupported_at(token, message)
        } else {
            let message = format!("`{feature}` is not supported");
            Diagnostic::unsupported_at(token, message).with_help(*help)
        });
    }
    let (_, reason) = find(WITHOUT_EFFECT)?;
    let message = format!("`{feature}` has no effect: {reason}");
    Some(Diagnostic::warning_at(token, message))
}
