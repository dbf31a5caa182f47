//! The names of placeholders and what they mean.

use http::HeaderName;

use super::client_certificate::ClientCertificateKey;
use super::time::TimeFormat;

/// What a placeholder stands for. Names that are never set (`{http.request.nonsense}`) have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A value that no request changes: the environment, the system.
    Constant(Box<str>),
    /// `http.request.cookie.*`.
    Cookie(Box<str>),
    /// `http.request.duration`, in Go's form.
    Duration,
    /// `http.request.duration_ms`.
    DurationMs,
    /// `http.error.*`.
    Error(ErrorKey),
    /// `http.request.header.*`.
    Header(HeaderName),
    /// `http.request.host`.
    Host,
    /// `http.request.host.labels.*`, counted from the right.
    HostLabel(usize),
    /// `http.request.hostport`.
    HostPort,
    /// `http.request.local`.
    Local,
    /// `http.request.local.host`.
    LocalHost,
    /// `http.request.local.port`.
    LocalPort,
    /// `http.request.method`.
    Method,
    /// `http.request.orig_method`.
    OriginalMethod,
    /// `http.request.port`.
    Port,
    /// `http.request.proto`.
    Protocol,
    /// `http.regexp.*`, with the expression's name in front if it has one.
    Regexp(Box<str>),
    /// `http.request.remote`.
    Remote,
    /// `http.request.remote.host`.
    RemoteHost,
    /// `http.request.remote.port`.
    RemotePort,
    /// `http.request.remote.host/V4,V6`: the network of so many bits.
    RemotePrefix(Option<u8>, Option<u8>),
    /// Set by a handler under its full name.
    Replacement(Box<str>),
    /// `http.response.header.*`.
    ResponseHeader(HeaderName),
    /// `http.reverse_proxy.*`.
    ReverseProxy(Box<str>),
    /// `http.request.scheme`.
    Scheme,
    /// `time.now` and its forms.
    Time(TimeFormat),
    /// `http.request.tls.*`.
    Tls(TlsKey),
    /// `http.request.uri` and its parts, as changed so far.
    Uri(UriKey),
    /// `http.request.orig_uri` and its parts, as the client sent them.
    OriginalUri(UriKey),
    /// `http.request.uuid`.
    Uuid,
    /// `http.vars.*`.
    Variable(Box<str>),
}

/// A part of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UriKey {
    /// Path and query.
    All,
    /// Path and query, escaped for use in a query.
    AllEscaped,
    /// The decoded path.
    Path,
    /// The path's folder.
    PathDir,
    /// The decoded path, escaped for use in a query.
    PathEscaped,
    /// The path's last element.
    PathFile,
    /// The last element without its extension.
    PathFileBase,
    /// The last element's extension, with its dot.
    PathFileExtension,
    /// A segment of the path, counted from 0.
    PathSegment(usize),
    /// The query with its `?`, or nothing.
    PrefixedQuery,
    /// The query.
    Query,
    /// The query, escaped for use in a query.
    QueryEscaped,
    /// The values of a key.
    QueryValue(Box<str>),
}

/// A fact about the TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsKey {
    /// The cipher suite's name.
    CipherSuite,
    /// A fact about the client's certificate.
    Client(ClientCertificateKey),
    /// The application protocol.
    Protocol,
    /// `true`: the protocol was agreed on.
    ProtocolMutual,
    /// Whether a session was resumed.
    Resumed,
    /// The SNI.
    ServerName,
    /// `tls1.2` or `tls1.3`.
    Version,
}

/// A fact about the error that is being answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKey {
    /// The error in one line.
    All,
    /// Its identifier.
    Id,
    /// What happened.
    Message,
    /// The status it ends with.
    StatusCode,
    /// That status in words.
    StatusText,
    /// Where it happened.
    Trace,
}

impl Key {
    /// What a name without its braces means. Shorthands such as `{host}` are a matter of the
    /// Caddyfile and have been replaced by then.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(name) = name.strip_prefix("http.") {
            return parse_http(name);
        }
        if let Some(name) = name.strip_prefix("env.") {
            return Some(Self::constant(std::env::var(name).unwrap_or_default()));
        }
        if let Some(path) = name.strip_prefix("file.") {
            return Some(Self::constant(file_content(path)));
        }
        Some(match name {
            "system.arch" => Self::constant(go_architecture()),
            "system.hostname" => {
                let name = rustix::system::uname();
                Self::constant(name.nodename().to_string_lossy())
            }
            "system.os" => Self::constant(std::env::consts::OS),
            "system.slash" => Self::constant("/"),
            "system.wd" => {
                let folder = std::env::current_dir().unwrap_or_default();
                Self::constant(folder.to_string_lossy())
            }
            "time.now" => Self::Time(TimeFormat::Full),
            "time.now.common_log" => Self::Time(TimeFormat::CommonLog),
            "time.now.http" => Self::Time(TimeFormat::Http),
            "time.now.unix" => Self::Time(TimeFormat::Unix),
            "time.now.unix_ms" => Self::Time(TimeFormat::UnixMs),
            "time.now.year" => Self::Time(TimeFormat::Year),
            _ => return None,
        })
    }

    fn constant(value: impl Into<String>) -> Self {
        Self::Constant(value.into().into())
    }
}

fn parse_http(name: &str) -> Option<Key> {
    let (namespace, rest) = name.split_once('.').unwrap_or((name, ""));
    match namespace {
        "request" => parse_request(rest),
        "vars" => Some(Key::Variable(rest.into())),
        "regexp" => Some(Key::Regexp(rest.into())),
        "reverse_proxy" => Some(Key::ReverseProxy(rest.into())),
        "response" => rest
            .strip_prefix("header.")
            .map(|field| match field.parse() {
                Ok(field) => Key::ResponseHeader(field),
                Err(_) => Key::constant(""),
            }),
        "error" => Some(Key::Error(match rest {
            "" => ErrorKey::All,
            "id" => ErrorKey::Id,
            "message" => ErrorKey::Message,
            "status_code" => ErrorKey::StatusCode,
            "status_text" => ErrorKey::StatusText,
            "trace" => ErrorKey::Trace,
            _ => return None,
        })),
        // Names of fields are in lower case here.
        "intercept" if rest.starts_with("header.") => Some(Key::Replacement(
            format!("http.{}", name.to_ascii_lowercase()).into(),
        )),
        "auth" | "handlers" | "intercept" | "matchers" | "rate_limit" => {
            Some(Key::Replacement(format!("http.{name}").into()))
        }
        "shutting_down" => Some(Key::constant("false")),
        "time_until_shutdown" => Some(Key::constant("")),
        _ => None,
    }
}

fn parse_request(name: &str) -> Option<Key> {
    // These always have a value, an empty one where the request has no such thing.
    for (prefix, key) in [
        ("header.", header as fn(&str) -> Option<Key>),
        ("cookie.", |name| Some(Key::Cookie(name.into()))),
        ("host.labels.", |index| {
            Some(Key::HostLabel(index.parse().ok()?))
        }),
        ("remote.host/", |bits| Some(remote_prefix(bits))),
        ("tls.", |name| tls(&name.to_ascii_lowercase())),
    ] {
        if let Some(rest) = name.strip_prefix(prefix) {
            return key(rest);
        }
    }
    if let Some(rest) = name.strip_prefix("orig_uri") {
        return uri(rest).map(Key::OriginalUri);
    }
    if let Some(rest) = name.strip_prefix("uri") {
        return uri(rest).map(Key::Uri);
    }
    Some(match name {
        "duration" => Key::Duration,
        "duration_ms" => Key::DurationMs,
        "host" => Key::Host,
        "hostport" => Key::HostPort,
        "local" => Key::Local,
        "local.host" => Key::LocalHost,
        "local.port" => Key::LocalPort,
        "method" => Key::Method,
        "orig_method" => Key::OriginalMethod,
        "port" => Key::Port,
        "proto" => Key::Protocol,
        "remote" => Key::Remote,
        "remote.host" => Key::RemoteHost,
        "remote.port" => Key::RemotePort,
        "scheme" => Key::Scheme,
        "uuid" => Key::Uuid,
        _ => return None,
    })
}

fn header(field: &str) -> Option<Key> {
    Some(match field.parse() {
        Ok(field) => Key::Header(field),
        Err(_) => Key::constant(""),
    })
}

fn uri(name: &str) -> Option<UriKey> {
    if let Some(key) = name.strip_prefix(".query.") {
        return Some(UriKey::QueryValue(key.into()));
    }
    Some(match name {
        "" => UriKey::All,
        "_escaped" => UriKey::AllEscaped,
        ".path" => UriKey::Path,
        ".path.dir" => UriKey::PathDir,
        ".path_escaped" => UriKey::PathEscaped,
        ".path.file" => UriKey::PathFile,
        ".path.file.base" => UriKey::PathFileBase,
        ".path.file.ext" => UriKey::PathFileExtension,
        ".prefixed_query" => UriKey::PrefixedQuery,
        ".query" => UriKey::Query,
        ".query_escaped" => UriKey::QueryEscaped,
        _ => UriKey::PathSegment(name.strip_prefix(".path.")?.parse().ok()?),
    })
}

fn remote_prefix(bits: &str) -> Key {
    let (v4, v6) = bits.split_once(',').unwrap_or((bits, bits));
    Key::RemotePrefix(v4.parse().ok(), v6.parse().ok())
}

fn tls(name: &str) -> Option<Key> {
    Some(Key::Tls(match name {
        "cipher_suite" => TlsKey::CipherSuite,
        "proto" => TlsKey::Protocol,
        "proto_mutual" => TlsKey::ProtocolMutual,
        "resumed" => TlsKey::Resumed,
        "server_name" => TlsKey::ServerName,
        "version" => TlsKey::Version,
        _ => TlsKey::Client(ClientCertificateKey::parse(name.strip_prefix("client.")?)?),
    }))
}

/// A file's content without its last line feed, as Caddy gives it; nothing if it cannot be read.
fn file_content(path: &str) -> String {
    /// Caddy: `fileMaxSize`.
    const LIMIT: u64 = 1024 * 1024;

    let read = std::fs::metadata(path).and_then(|metadata| {
        if metadata.len() > LIMIT {
            return Err(std::io::Error::other("it is larger than 1 MiB"));
        }
        std::fs::read(path)
    });
    match read {
        Ok(content) => {
            let text = String::from_utf8_lossy(&content).into_owned();
            let text = text.strip_suffix('\n').unwrap_or(&text);
            text.strip_suffix('\r').unwrap_or(text).to_owned()
        }
        Err(error) => {
            tracing::warn!(path, %error, "a placeholder names a file that cannot be read");
            String::new()
        }
    }
}

fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}
