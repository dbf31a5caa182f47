//! Whatever the text is, there is an answer.

use caddyfile::adapt;
use caddyfile::parser::NoFiles;
use proptest::prelude::*;

const WORDS: &[&str] = &[
    "example.com",
    ":80",
    "http://a.test",
    "*.b.test",
    "{",
    "}",
    "\n",
    "\n",
    "\n",
    "@m",
    "@m",
    "/p*",
    "*",
    "path",
    "not",
    "header",
    "handle",
    "handle_path",
    "route",
    "respond",
    "\"text\"",
    "redir",
    "root",
    "file_server",
    "reverse_proxy",
    "web:8000",
    "https://web",
    "web:1-3",
    "to",
    "header_up",
    "lb_policy",
    "cookie",
    "fallback",
    "transport",
    "http",
    "tls",
    "internal",
    "a.pem",
    "log",
    "output",
    "file",
    "format",
    "filter",
    "wrap",
    "json",
    "fields",
    "encode",
    "gzip",
    "uri",
    "query",
    "strip_prefix",
    "rewrite",
    "try_files",
    "{path}",
    "?a=b",
    "basic_auth",
    "vars",
    "map",
    "error",
    "404",
    "5xx",
    "handle_errors",
    "import",
    "(s)",
    "s",
    "&(r)",
    "invoke",
    "r",
    "php_fastcgi",
    "forward_auth",
    "copy_headers",
    "A>B",
    "-",
    "+X",
    "?X",
    ">X",
    "10MB",
    "5s",
    "-1",
    "servers",
    "timeouts",
    "email",
    "order",
    "before",
    "bind",
    "client_auth",
    "trust_pool",
    "combined",
    "source",
    "handle_response",
    "status",
    "request_body",
    "max_size",
    "method",
    "abort",
    "cache",
    "stale_if_error",
    "max_body",
    "rate_limit",
    "zone",
    "key",
    "window",
    "events",
    "100r/s",
    "encode",
    "br",
    "transform",
    "{common_log}",
    "single_field",
    "trusted_proxies",
    "cloudflare",
    "templates",
    "tracing",
];

proptest! {
    #[test]
    fn words_in_any_order_are_answered(
        words in prop::collection::vec(prop::sample::select(WORDS), 0..80)
    ) {
        adapt("Caddyfile", &words.join(" "), &NoFiles, &|_| None);
    }

    #[test]
    fn directives_of_any_words_are_answered(
        words in prop::collection::vec(prop::sample::select(WORDS), 0..40)
    ) {
        let text = format!("a.test {{\n{}\n}}\n", words.join(" "));
        adapt("Caddyfile", &text, &NoFiles, &|_| None);
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        adapt("Caddyfile", &text, &NoFiles, &|_| None);
    }
}

#[test]
fn deep_blocks_are_refused() {
    let text = format!(
        "a.test {{\n{}{}}}\n",
        "handle {\n".repeat(5000),
        "}\n".repeat(5000)
    );
    let adapted = adapt("Caddyfile", &text, &NoFiles, &|_| None);
    assert!(
        adapted
            .diagnostics
            .iter()
            .any(|found| found.message.contains("nested"))
    );
}
