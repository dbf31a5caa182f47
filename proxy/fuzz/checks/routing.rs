//! Whatever the sites and the requests are: what adapts compiles or is refused with a reason, and
//! every request takes a way through the routes to an end.
//!
//! The input is a Caddyfile, a line `---`, and requests as in `tests/differential/cases`.

use caddyfile::adapt;
use caddyfile::diagnostic::Diagnostic;
use caddyfile::parser::NoFiles;
use http::Request;
use proxy::compile::{CompileContext, compile};
use proxy::rehearsal::rehearse;

/// Requests of one input that are sent, at most.
const REQUESTS: usize = 4;

/// Compiles the Caddyfile of `input` and sends its requests.
pub fn check(input: &str) {
    let (caddyfile, requests) = input.split_once("\n---\n").unwrap_or((input, ""));
    let adapted = adapt("Caddyfile", caddyfile, &NoFiles, &|_| None);
    let is_fatal = adapted.diagnostics.iter().any(Diagnostic::is_fatal);
    let Some(mut document) = adapted.document.filter(|_| !is_fatal) else {
        return;
    };
    // Logs would be written, and certificates read.
    document.logging = None;
    if let Some(tls) = &mut document.apps.tls {
        tls.certificates = None;
    }
    let context = CompileContext {
        is_explained: true,
        ..CompileContext::default()
    };
    for request in parse(requests).into_iter().take(REQUESTS) {
        let Ok(config) = compile(document.clone(), &context) else {
            return;
        };
        let listen = config.servers.iter().flat_map(|server| &server.listen);
        if let Some(address) = listen.copied().next() {
            // Nothing listens on the port, so the static-server is never there.
            let _ = rehearse(config, address, request, "http://127.0.0.1:1");
        }
    }
}

/// The requests that a client could send.
fn parse(text: &str) -> Vec<Request<()>> {
    let mut requests = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let (method, url) = line.split_once(' ').unwrap_or(("GET", line));
        let mut request = Request::builder().method(method).uri(url);
        while let Some(field) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
            if let Some((name, value)) = field.split_once(':') {
                request = request.header(name.trim(), value.trim());
            }
        }
        requests.extend(request.body(()));
    }
    requests
}
