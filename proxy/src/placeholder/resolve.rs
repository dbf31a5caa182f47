//! The values of placeholders in a request.

use std::borrow::Cow;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, StatusCode, Uri, Version};
use ipnet::IpNet;

use super::key::{ErrorKey, Key, TlsKey, UriKey};
use super::{display, time};
use crate::exchange::Exchange;
use crate::uri::{path, query};

impl Key {
    /// The value in a request; `None` where there is none, as for a regular expression that did
    /// not match. `response` are the fields of the response that is being finished, if one is.
    pub fn resolve<'a>(
        &'a self,
        exchange: &'a Exchange,
        response: Option<&'a HeaderMap>,
    ) -> Option<Cow<'a, str>> {
        let connection = &exchange.connection;
        Some(match self {
            Self::Constant(value) => Cow::Borrowed(value),
            Self::Cookie(name) => cookie(&exchange.head.headers, name).unwrap_or_default(),
            Self::Duration => time::go_duration(exchange.started.elapsed()).into(),
            Self::DurationMs => display(exchange.started.elapsed().as_secs_f64() * 1e3),
            Self::Error(key) => return error(exchange, *key),
            // Go takes `Host` out of the fields.
            Self::Header(http::header::HOST) => Cow::Borrowed(""),
            Self::Header(name) => joined(&exchange.head.headers, name),
            Self::Host => Cow::Borrowed(exchange.host()),
            Self::HostLabel(index) => {
                Cow::Borrowed(exchange.host().rsplit('.').nth(*index).unwrap_or_default())
            }
            Self::HostPort => Cow::Borrowed(exchange.host_and_port()),
            Self::Local => display(connection.local),
            Self::LocalHost => display(connection.local.ip()),
            Self::LocalPort => display(connection.local.port()),
            Self::Method => Cow::Borrowed(exchange.head.method.as_str()),
            Self::OriginalMethod => Cow::Borrowed(exchange.original.method.as_str()),
            Self::OriginalUri(key) => target(&exchange.original.uri, key),
            Self::Port => {
                Cow::Borrowed(crate::exchange::split_host_port(exchange.host_and_port()).1)
            }
            Self::Protocol => Cow::Borrowed(protocol(exchange.head.version)),
            Self::Regexp(name) => return capture(exchange, name),
            Self::Remote => display(connection.peer),
            Self::RemoteHost => display(connection.peer.ip()),
            Self::RemotePort => display(connection.peer.port()),
            Self::RemotePrefix(v4, v6) => remote_prefix(connection.peer.ip(), *v4, *v6),
            Self::Replacement(name) => {
                let found = exchange
                    .replacements
                    .iter()
                    .find(|(known, _)| *known == **name);
                return found.map(|(_, value)| Cow::Borrowed(value.as_str()));
            }
            Self::ResponseHeader(name) => match response {
                Some(response) => joined(response, name),
                None => {
                    let value = exchange.response_header(name);
                    value.map_or(Cow::Borrowed(""), |value| {
                        String::from_utf8_lossy(value.as_bytes())
                    })
                }
            },
            Self::ReverseProxy(name) => return reverse_proxy(exchange, name),
            Self::Scheme => Cow::Borrowed(if exchange.is_tls() { "https" } else { "http" }),
            Self::Time(format) => format.now(),
            Self::Tls(key) => tls(exchange, *key).unwrap_or_default(),
            Self::Uri(key) => target(&exchange.head.uri, key),
            Self::Uuid => Cow::Borrowed(exchange.uuid()),
            Self::Variable(name) => match (exchange.variables.get(name), &**name) {
                (Some(value), _) => Cow::Borrowed(value),
                (None, "client_ip") => display(exchange.client_ip),
                (None, "trusted_proxy") => display(exchange.is_from_trusted_proxy),
                (None, _) => Cow::Borrowed(""),
            },
        })
    }
}

/// The name of a protocol version in Go's form.
pub(crate) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// A TLS version's name in Caddy's form.
fn tls_version(version: rustls::ProtocolVersion) -> &'static str {
    match version {
        rustls::ProtocolVersion::TLSv1_2 => "tls1.2",
        rustls::ProtocolVersion::TLSv1_3 => "tls1.3",
        _ => "unknown",
    }
}

/// A status in Go's words.
pub(crate) fn status_text(status: StatusCode) -> &'static str {
    match status.as_u16() {
        203 => "Non-Authoritative Information",
        413 => "Request Entity Too Large",
        414 => "Request URI Too Long",
        416 => "Requested Range Not Satisfiable",
        _ => status.canonical_reason().unwrap_or_default(),
    }
}

/// All values of a field with commas between.
fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Cow<'a, str> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else {
        return Cow::Borrowed("");
    };
    let mut text = String::from_utf8_lossy(first.as_bytes());
    for value in values {
        let text = text.to_mut();
        text.push(',');
        text.push_str(&String::from_utf8_lossy(value.as_bytes()));
    }
    text
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, str>> {
    headers
        .get_all(http::header::COOKIE)
        .iter()
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| {
            let quoted = value
                .strip_prefix('"')
                .and_then(|value| value.strip_suffix('"'));
            Cow::Borrowed(quoted.unwrap_or(value))
        })
}

fn target<'a>(uri: &'a Uri, key: &UriKey) -> Cow<'a, str> {
    match key {
        UriKey::All => Cow::Borrowed(path_and_query(uri)),
        UriKey::AllEscaped => query::encode(path_and_query(uri)).into(),
        UriKey::Path => path::decode(uri.path()),
        UriKey::PathDir => part(uri, |path| path::split(path).0),
        UriKey::PathEscaped => query::encode(&path::decode(uri.path())).into(),
        UriKey::PathFile => part(uri, |path| path::split(path).1),
        UriKey::PathFileBase => part(uri, |path| {
            let base = path::base(path);
            base.strip_suffix(path::extension(path)).unwrap_or(base)
        }),
        UriKey::PathFileExtension => part(uri, path::extension),
        UriKey::PathSegment(index) => part(uri, |path| {
            path.strip_prefix('/')
                .unwrap_or(path)
                .split('/')
                .nth(*index)
                .unwrap_or_default()
        }),
        UriKey::PrefixedQuery => match uri.query() {
            Some(query) if !query.is_empty() => format!("?{query}").into(),
            _ => Cow::Borrowed(""),
        },
        UriKey::Query => Cow::Borrowed(uri.query().unwrap_or_default()),
        UriKey::QueryEscaped => query::encode(uri.query().unwrap_or_default()).into(),
        UriKey::QueryValue(key) => {
            let query = query::Query::parse(uri.query().unwrap_or_default());
            query.get(key).unwrap_or_default().join(",").into()
        }
    }
}

/// A target in origin form as text.
pub(crate) fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |target| target.as_str())
}

/// A part of the decoded path.
fn part<'a>(uri: &'a Uri, of: impl for<'b> Fn(&'b str) -> &'b str) -> Cow<'a, str> {
    match path::decode(uri.path()) {
        Cow::Borrowed(path) => Cow::Borrowed(of(path)),
        Cow::Owned(path) => of(&path).to_owned().into(),
    }
}

fn remote_prefix(ip: IpAddr, v4: Option<u8>, v6: Option<u8>) -> Cow<'static, str> {
    let bits = if ip.is_ipv4() { v4 } else { v6 };
    match bits.and_then(|bits| IpNet::new(ip, bits).ok()) {
        Some(network) => display(network.trunc()),
        None => Cow::Borrowed(""),
    }
}

fn capture<'a>(exchange: &'a Exchange, name: &str) -> Option<Cow<'a, str>> {
    let captures = exchange.captures.iter().rev();
    captures
        .filter_map(|captured| captured.get(name))
        .next()
        .map(Cow::Borrowed)
}

fn error(exchange: &Exchange, key: ErrorKey) -> Option<Cow<'_, str>> {
    let error = exchange.error.as_ref()?;
    Some(match key {
        ErrorKey::All => display(proto::sidecar::error_chain::Chain(error)),
        ErrorKey::Id => Cow::Borrowed(error.id()),
        ErrorKey::Message => display(error),
        ErrorKey::StatusCode => display(error.status().as_u16()),
        ErrorKey::StatusText => Cow::Borrowed(status_text(error.status())),
        ErrorKey::Trace => Cow::Borrowed(error.side().as_str()),
    })
}

fn tls(exchange: &Exchange, key: TlsKey) -> Option<Cow<'_, str>> {
    let session = exchange.connection.tls.as_ref()?;
    Some(match key {
        TlsKey::CipherSuite => {
            // rustls names suites of TLS 1.3 by its own prefix.
            let name = session.cipher_suite.as_str().unwrap_or_default();
            name.replacen("TLS13_", "TLS_", 1).into()
        }
        TlsKey::Client(key) => key.resolve(session.client_certificate.as_ref()?)?.into(),
        TlsKey::Protocol => Cow::Borrowed(session.alpn.map_or("", |alpn| alpn.as_str())),
        TlsKey::ProtocolMutual => Cow::Borrowed("true"),
        TlsKey::Resumed => Cow::Borrowed(if session.is_resumed { "true" } else { "false" }),
        TlsKey::ServerName => Cow::Borrowed(session.server_name.as_deref().unwrap_or_default()),
        TlsKey::Version => Cow::Borrowed(tls_version(session.version)),
    })
}

fn reverse_proxy<'a>(exchange: &'a Exchange, name: &str) -> Option<Cow<'a, str>> {
    let proxying = &exchange.proxying;
    if let Some(field) = name.strip_prefix("header.") {
        let response = proxying.response.as_deref()?;
        let field = field.parse::<HeaderName>().ok()?;
        return Some(joined(response.headers(), &field));
    }
    let upstream = || proxying.upstream.as_deref();
    let host_and_port = || upstream().map(crate::exchange::split_host_port);
    Some(match name {
        "status_code" => display(proxying.status?.as_u16()),
        "status_text" => {
            let status = proxying.status?;
            display(format_args!("{} {}", status.as_u16(), status_text(status)))
        }
        "retries" => display(proxying.retries),
        "duration" => time::go_duration(proxying.duration?).into(),
        "duration_ms" => display(proxying.duration?.as_secs_f64() * 1e3),
        "upstream.address" | "upstream.hostport" => Cow::Borrowed(upstream()?),
        "upstream.host" => Cow::Borrowed(host_and_port()?.0),
        "upstream.port" => Cow::Borrowed(host_and_port()?.1),
        "upstream.latency" => time::go_duration(proxying.latency?).into(),
        "upstream.latency_ms" => display(proxying.latency?.as_secs_f64() * 1e3),
        _ => return None,
    })
}
