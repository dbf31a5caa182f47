//! The head of the request as the upstream gets it.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TE, UPGRADE, VIA};
use http::{HeaderMap, HeaderValue, Method, Uri, Version};

use super::hop_by_hop::{self, Framing, UnsupportedCoding};
use crate::exchange::Exchange;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// A request's head, ready to be sent.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    /// Whether the client wants to switch protocols, and the upstream is asked to.
    pub(super) is_upgrade: bool,
}

/// Makes the upstream's request head of the client's, as Caddy does: fields of the client's
/// connection alone go, `X-Forwarded-*` and `Via` come.
pub(super) fn prepare(
    exchange: &Exchange,
    is_trusted: bool,
    has_body: bool,
) -> Result<Prepared, UnsupportedCoding> {
    let head = &exchange.head;
    let mut headers = head.headers.clone();
    let removed = hop_by_hop::remove(&mut headers);
    // Go answers 501 too: the upstream would get a coded body and not know of it.
    if removed.framing == Framing::Unsupported {
        return Err(UnsupportedCoding);
    }
    if removed.framing == Framing::Chunked {
        // RFC 9112 section 6.1: chunks go before a length, which must not be forwarded.
        headers.remove(CONTENT_LENGTH);
    }
    if removed.takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    let upgrade = removed
        .upgrade
        .filter(|_| head.version == Version::HTTP_11)
        .and_then(|protocols| lower_case(&protocols));
    let is_upgrade = upgrade.is_some();
    if let Some(protocols) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, protocols);
    }
    let (method, uri) = match exchange.proxying.rewritten.as_deref() {
        Some((method, uri)) => {
            if !has_body {
                headers.remove(CONTENT_LENGTH);
            }
            (method, uri)
        }
        None => (&head.method, &head.uri),
    };
    if !has_body
        && matches!(*method, Method::POST | Method::PUT | Method::PATCH)
        && !headers.contains_key(CONTENT_LENGTH)
    {
        // RFC 9110 section 8.6: methods that are expected to have content say that they have none.
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    forwarded(&mut headers, exchange, is_trusted);
    headers.append(VIA, via(head.version));
    Ok(Prepared {
        method: method.clone(),
        uri: uri.clone(),
        headers,
        is_upgrade,
    })
}

/// The value of `Via` for a message that was received in `version` (RFC 9110 section 7.6.3).
pub(super) fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_10 => "1.0 Portico",
        Version::HTTP_2 => "2.0 Portico",
        Version::HTTP_3 => "3.0 Portico",
        _ => "1.1 Portico",
    })
}

/// Protocols to upgrade to, in lower case as Caddy sends them. Not `h2c`: past it, requests would
/// reach the upstream that no route has seen, and nobody uses it (RFC 9113 section 3.1).
fn lower_case(protocols: &HeaderValue) -> Option<HeaderValue> {
    let protocols = protocols.to_str().ok()?.to_ascii_lowercase();
    let is_h2c = protocols
        .split(',')
        .any(|protocol| protocol.trim() == "h2c");
    if is_h2c {
        return None;
    }
    HeaderValue::try_from(protocols).ok()
}

/// Sets `X-Forwarded-*`. What the client itself says there holds only if it is a trusted proxy.
fn forwarded(headers: &mut HeaderMap, exchange: &Exchange, is_trusted: bool) {
    headers.remove(HTTP2_SETTINGS);
    let proto = HeaderValue::from_static(if exchange.is_tls() { "https" } else { "http" });
    if !is_trusted {
        let client = exchange.connection.peer_value().clone();
        headers.insert(X_FORWARDED_FOR, client);
        headers.insert(X_FORWARDED_PROTO, proto);
        if let Some(host) = headers.get(HOST).cloned() {
            headers.insert(X_FORWARDED_HOST, host);
        }
        return;
    }
    let clients = match all_values(headers, &X_FORWARDED_FOR) {
        Some(prior) => {
            let client = exchange.connection.peer.ip().to_canonical();
            HeaderValue::try_from(format!("{prior}, {client}")).ok()
        }
        None => Some(exchange.connection.peer_value().clone()),
    };
    if let Some(clients) = clients {
        headers.insert(X_FORWARDED_FOR, clients);
    }
    keep_last(headers, &X_FORWARDED_PROTO, Some(proto));
    let host = headers.get(HOST).cloned();
    keep_last(headers, &X_FORWARDED_HOST, host);
}

/// The last value of a field, or `default` where it has none.
fn keep_last(headers: &mut HeaderMap, name: &HeaderName, default: Option<HeaderValue>) {
    let last = headers.get_all(name).iter().next_back();
    let value = last.filter(|value| !value.is_empty()).cloned().or(default);
    if let Some(value) = value {
        headers.insert(name, value);
    }
}

/// All values of a field in one list.
fn all_values(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<&str> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let joined = values.join(", ");
    (!joined.is_empty()).then_some(joined)
}
