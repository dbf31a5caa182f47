//! The variables of a request, as Caddy makes them (RFC 3875 section 4.1).

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use upstream::Variables;

use super::{FastCgi, expects_body};
use crate::exchange::{Exchange, split_host_port};
use crate::handler::file_server::absolute;
use crate::log_limit::LogLimit;
use crate::placeholder::protocol;
use crate::uri::path::clean;

const PROXY: HeaderName = HeaderName::from_static("proxy");

/// The parts of a script's path.
struct Script<'a> {
    /// Up to and with the script.
    document: &'a str,
    /// What follows the script.
    info: Cow<'a, str>,
    name: Cow<'a, str>,
    file: String,
}

impl FastCgi {
    /// The variables of the request `head`, whose path is `decoded` and whose body has `length`
    /// bytes.
    pub(super) fn variables<'a>(
        &'a self,
        exchange: &'a Exchange,
        head: &'a Parts,
        decoded: &'a str,
        length: u64,
    ) -> Variables<'a> {
        let mut variables = Variables::default();
        let root = self.root(exchange);
        let script = self.script(exchange, decoded, &root);
        if !script.info.is_empty() {
            // RFC 3875 section 4.1.6: only where there is path information.
            variables.set("PATH_TRANSLATED", join(&root, &script.info).into_bytes());
        }
        variables.set("DOCUMENT_ROOT", root.into_owned().into_bytes());
        variables.set("DOCUMENT_URI", script.document.as_bytes());
        variables.set("PATH_INFO", bytes(script.info));
        variables.set("SCRIPT_FILENAME", script.file.into_bytes());
        variables.set("SCRIPT_NAME", bytes(script.name));
        set_connection(&mut variables, exchange, &head.headers);
        set_request(&mut variables, exchange, head);
        for (name, value) in &self.environment {
            variables.set(&**name, bytes(value.expand(exchange)));
        }
        set_fields(&mut variables, &head.headers);
        // Not even the configuration says otherwise: whoever reads the body goes by it.
        variables.set("REQUEST_METHOD", head.method.as_str().as_bytes());
        variables.set("CONTENT_LENGTH", length.to_string().into_bytes());
        let content_type = head.headers.get(CONTENT_TYPE);
        if expects_body(&head.method) && content_type.is_none_or(|value| value.is_empty()) {
            let form = &b"application/x-www-form-urlencoded"[..];
            variables.set("CONTENT_TYPE", form);
        }
        variables
    }

    fn root<'a>(&'a self, exchange: &'a Exchange) -> Cow<'a, str> {
        let root = self.root.expand(exchange);
        let root = match root.starts_with('/') {
            true => root,
            false => absolute(&root).into_owned().into(),
        };
        if !self.resolves_root {
            return root;
        }
        match std::fs::canonicalize(&*root) {
            Ok(resolved) => resolved.to_string_lossy().into_owned().into(),
            Err(error) => {
                note_unresolved(&root, &error);
                root
            }
        }
    }

    fn script<'a>(&self, exchange: &'a Exchange, decoded: &'a str, root: &str) -> Script<'a> {
        let (document, info) = if self.split.is_empty() {
            // Caddy: all of it is path information then.
            ("", decoded)
        } else {
            self.split.anywhere(decoded).unwrap_or((decoded, ""))
        };
        let info = match info {
            "" => remainder(exchange).into(),
            info => Cow::Borrowed(info),
        };
        let name = match document {
            "" => Cow::Borrowed(""),
            document if document.starts_with('/') => document.into(),
            document => format!("/{document}").into(),
        };
        Script {
            document,
            info,
            name,
            file: join(root, document),
        }
    }
}

/// What the `file` matcher found behind the script.
fn remainder(exchange: &Exchange) -> &str {
    replacement(exchange, "http.matchers.file.remainder")
}

fn replacement<'a>(exchange: &'a Exchange, name: &str) -> &'a str {
    let mut replacements = exchange.replacements.iter();
    let found = replacements.find(|(known, _)| known == name);
    found.map_or("", |(_, value)| value)
}

/// A path below `root`, whatever it says.
fn join(root: &str, path: &str) -> String {
    let root = root.trim_end_matches('/');
    match path {
        "" if root.is_empty() => "/".to_owned(),
        "" => root.to_owned(),
        path => format!("{root}{}", clean(&format!("/{path}"), true)),
    }
}

fn set_connection<'a>(
    variables: &mut Variables<'a>,
    exchange: &'a Exchange,
    headers: &'a HeaderMap,
) {
    let connection = &exchange.connection;
    let peer = address(connection.peer.ip());
    variables.set("REMOTE_ADDR", peer.clone());
    variables.set("REMOTE_HOST", peer);
    variables.set(
        "REMOTE_PORT",
        connection.peer.port().to_string().into_bytes(),
    );
    variables.set("SERVER_ADDR", address(connection.local.ip()));

    let host = headers.get(HOST).map_or(&b""[..], |host| host.as_bytes());
    variables.set("HTTP_HOST", host);
    let (name, port) = split_host_port(std::str::from_utf8(host).unwrap_or_default());
    variables.set("SERVER_NAME", name.as_bytes());
    let (scheme, default_port) = match &connection.tls {
        Some(_) => ("https", "443"),
        None => ("http", "80"),
    };
    let port = if port.is_empty() { default_port } else { port };
    variables.set("SERVER_PORT", port.as_bytes());
    variables.set("REQUEST_SCHEME", scheme.as_bytes());
    if let Some(session) = &connection.tls {
        // As Apache's mod_ssl has them.
        variables.set("HTTPS", &b"on"[..]);
        let version = match session.version {
            rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
            _ => "TLSv1.3",
        };
        variables.set("SSL_PROTOCOL", version.as_bytes());
        let suite = session.cipher_suite.as_str().unwrap_or_default();
        // rustls names suites of TLS 1.3 by its own prefix.
        let suite = suite.replacen("TLS13_", "TLS_", 1);
        variables.set("SSL_CIPHER", suite.into_bytes());
    }
}

fn set_request<'a>(variables: &mut Variables<'a>, exchange: &'a Exchange, head: &'a Parts) {
    // The empty ones keep those of the responder's own environment away.
    for name in ["AUTH_TYPE", "REMOTE_IDENT"] {
        variables.set(name, &b""[..]);
    }
    variables.set("GATEWAY_INTERFACE", &b"CGI/1.1"[..]);
    variables.set("SERVER_SOFTWARE", SOFTWARE.as_bytes());
    variables.set(
        "SERVER_PROTOCOL",
        protocol(exchange.head.version).as_bytes(),
    );
    variables.set(
        "QUERY_STRING",
        head.uri.query().unwrap_or_default().as_bytes(),
    );
    let user = replacement(exchange, "http.auth.user.id");
    variables.set("REMOTE_USER", user.as_bytes());
    let content_type = head.headers.get(CONTENT_TYPE);
    let content_type = content_type.map_or(&b""[..], |value| value.as_bytes());
    variables.set("CONTENT_TYPE", content_type);
    // Most applications want it as the client sent it.
    let original = &exchange.original.uri;
    let original = original
        .path_and_query()
        .map_or("/", |target| target.as_str());
    variables.set("REQUEST_URI", original.as_bytes());
}

const SOFTWARE: &str = concat!("Portico/", env!("CARGO_PKG_VERSION"));

/// Fields of the request become `HTTP_*`.
///
/// SECURITY: `Proxy` would become the `HTTP_PROXY` that programs take their own proxy from
/// (CVE-2016-5385). A name with an underscore would become the same variable as the one with a
/// hyphen, so that a client could forge fields that only proxies set.
fn set_fields<'a>(variables: &mut Variables<'a>, headers: &'a HeaderMap) {
    for name in headers.keys() {
        if *name == PROXY || *name == HOST || name.as_str().contains('_') {
            continue;
        }
        let mut variable = String::with_capacity(5 + name.as_str().len());
        variable.push_str("HTTP_");
        variable.extend(name.as_str().chars().map(|letter| match letter {
            '-' => '_',
            letter => letter.to_ascii_uppercase(),
        }));
        let mut values = headers.get_all(name).iter();
        let first = values.next().map_or(&b""[..], |value| value.as_bytes());
        let mut joined = Cow::Borrowed(first);
        for value in values {
            let joined = joined.to_mut();
            joined.extend_from_slice(b", ");
            joined.extend_from_slice(value.as_bytes());
        }
        variables.set(variable, joined);
    }
}

fn address(ip: IpAddr) -> Vec<u8> {
    ip.to_canonical().to_string().into_bytes()
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

fn note_unresolved(root: &str, error: &std::io::Error) {
    static LOG: LogLimit = LogLimit::new();
    if let Some(suppressed) = LOG.permit() {
        tracing::warn!(
            root,
            cause = %error,
            suppressed = (suppressed > 0).then_some(suppressed),
            "`resolve_root_symlink` cannot resolve `{root}`, so scripts get it as it is: mount the \
             folder at this path in the proxy's container too"
        );
    }
}

#[cfg(test)]
mod tests;
