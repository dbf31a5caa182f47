//! What a failure means for the client, and what the log says about it.

use std::error::Error as _;

use http::StatusCode;
use upstream::{Address, BodyError, SendError, SendErrorKind};

use super::state::UpstreamState;
use crate::body::RequestBodyError;
use crate::error::{Error, Side};

/// What is spoken with an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    FastCgi,
    Http,
}

/// The error that ends a request whose last try failed like this, after the log was told.
pub(super) fn conclude<B: 'static>(
    site: &str,
    protocol: Protocol,
    address: &Address,
    state: &UpstreamState,
    error: SendError<B>,
) -> Error {
    if error.kind == SendErrorKind::RequestBody {
        let is_too_large = matches!(
            RequestBodyError::find(&error),
            Some(RequestBodyError::TooLarge)
        );
        return client_error(is_too_large, error.source);
    }
    let message = describe(address, protocol, error.kind);
    if let Some(suppressed) = state.may_log() {
        let cause = error.source().map(ToString::to_string);
        tracing::error!(
            site,
            upstream = %address,
            cause,
            suppressed = (suppressed > 0).then_some(suppressed),
            "{message}"
        );
    }
    let status = match error.kind {
        // Caddy: only a response that does not come in time is a 504; connecting is a 502.
        SendErrorKind::HeaderTimeout => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    let kind = error.kind;
    let concluded = Error::new(status, Side::Upstream, format!("{address}: {kind}"));
    match error.source {
        Some(source) => concluded.with_source(source),
        None => concluded,
    }
}

/// Tells the log that a response broke off after its head had been passed on.
pub(super) fn log_broken_response(state: &UpstreamState, error: &BodyError) {
    if let Some(suppressed) = state.may_log() {
        let upstream = state.address();
        tracing::error!(
            %upstream,
            cause = error.source().map(ToString::to_string),
            suppressed = (suppressed > 0).then_some(suppressed),
            "{error}, so the client's response was broken off too: did `{upstream}` crash or \
             restart?"
        );
    }
}

/// No upstream is available (Caddy: `no upstreams available`).
pub(super) fn unavailable(site: &str, state: Option<&UpstreamState>) -> Error {
    if let Some(suppressed) = state.and_then(UpstreamState::may_log) {
        tracing::error!(
            site,
            suppressed = (suppressed > 0).then_some(suppressed),
            "no upstream is available: all of them are unhealthy or have as many requests as they \
             may"
        );
    }
    Error::new(
        StatusCode::SERVICE_UNAVAILABLE,
        Side::Upstream,
        "no upstreams available",
    )
}

/// The upstream's response cannot be passed on.
pub(super) fn response(address: &Address, message: &str) -> Error {
    Error::new(
        StatusCode::BAD_GATEWAY,
        Side::Upstream,
        format!("{address}: {message}"),
    )
}

/// The request's own body cannot be read.
pub(super) fn request_body(error: RequestBodyError) -> Error {
    client_error(
        matches!(error, RequestBodyError::TooLarge),
        Some(Box::new(error)),
    )
}

fn client_error(
    is_too_large: bool,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    let (status, message) = if is_too_large {
        (
            StatusCode::PAYLOAD_TOO_LARGE,
            "the request body is too large",
        )
    } else {
        // The client went away: nobody sees this but the access log. nginx and Caddy: 499.
        let closed = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        (closed, "the client closed its connection")
    };
    let concluded = Error::new(status, Side::Downstream, message);
    match source {
        Some(source) => concluded.with_source(source),
        None => concluded,
    }
}

/// What happened and what to look at.
fn describe(address: &Address, protocol: Protocol, kind: SendErrorKind) -> String {
    let look = look_at(address, protocol);
    match kind {
        SendErrorKind::Refused => {
            format!("`{address}` refused the connection: {}", look.is_it_up)
        }
        SendErrorKind::NameNotFound => format!(
            "`{}` does not resolve: is the service in the same Compose project and network, and \
             is it running?",
            address.host()
        ),
        SendErrorKind::Resolve => format!(
            "no name server answered for `{}`: is the proxy on a Docker network, and is its \
             `/etc/resolv.conf` right?",
            address.host()
        ),
        SendErrorKind::ConnectTimeout => format!(
            "`{address}` did not accept the connection in time: is it on a network that the proxy \
             is on too, and {}",
            look.is_it_busy
        ),
        SendErrorKind::Unreachable => format!("`{address}` cannot be reached: {}", look.is_it_up),
        SendErrorKind::HeaderTimeout => format!(
            "`{address}` did not answer within `{}`: {}",
            match protocol {
                Protocol::FastCgi => "read_timeout",
                Protocol::Http => "response_header_timeout",
            },
            look.is_it_busy
        ),
        SendErrorKind::Closed => format!(
            "`{address}` closed the connection without answering: {}",
            look.did_it_crash
        ),
        SendErrorKind::Protocol if protocol == Protocol::FastCgi => format!(
            "`{address}` did not answer with valid FastCGI: is this the port or socket that \
             php-fpm listens on? An app that speaks HTTP is reached with `reverse_proxy` and \
             without `transport fastcgi`"
        ),
        SendErrorKind::Protocol => format!(
            "`{address}` did not answer with valid HTTP: is this the right port, and does it \
             expect HTTPS (`reverse_proxy https://{address}`)?"
        ),
        SendErrorKind::Tls => format!(
            "the TLS handshake with `{address}` failed: does it speak TLS on this port, and is its \
             certificate valid for the name and trusted (`tls_trust_pool`, `tls_server_name`)?"
        ),
        SendErrorKind::RequestBody => "the client's request body ended early".to_owned(),
    }
}

/// Questions that lead on, for the kind of host that it is.
struct Look {
    is_it_up: String,
    is_it_busy: String,
    did_it_crash: String,
}

fn look_at(address: &Address, protocol: Protocol) -> Look {
    let host = address.host();
    if let Some(socket) = address.path() {
        let socket = socket.display();
        let is_it_up = match protocol {
            Protocol::FastCgi => format!(
                "is php-fpm running, does its pool `listen` on {socket}, and may the proxy's user \
                 write to it (`listen.mode`)? Between containers, its folder has to be a volume \
                 that both mount"
            ),
            Protocol::Http => format!(
                "is the app running, does it listen on {socket}, and may the proxy's user write to \
                 it? Between containers, its folder has to be a volume that both mount"
            ),
        };
        return Look {
            is_it_up,
            is_it_busy: "is the app overloaded or stuck? see its log".to_owned(),
            did_it_crash: "did the app crash or restart? see its log".to_owned(),
        };
    }
    let is_local = host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    if is_local {
        return Look {
            is_it_up: "does anything listen there? Inside a container, this is the proxy's own \
                       container: name the app's service instead, such as `web:8000`"
                .to_owned(),
            is_it_busy: "is the app overloaded or stuck?".to_owned(),
            did_it_crash: "did the app crash or restart? see its log".to_owned(),
        };
    }
    let is_service = !host.is_empty() && !host.contains(['.', ':']);
    if is_service {
        let app = match protocol {
            Protocol::FastCgi => "php-fpm",
            Protocol::Http => "the app",
        };
        return Look {
            is_it_up: format!(
                "is the container up, and does {app} listen on 0.0.0.0 and on this port? see \
                 `docker compose logs {host}`"
            ),
            is_it_busy: format!("is it overloaded or stuck? see `docker compose logs {host}`"),
            did_it_crash: format!("did it crash or restart? see `docker compose logs {host}`"),
        };
    }
    Look {
        is_it_up: "is the app running and does it listen there? see its log".to_owned(),
        is_it_busy: "is the app overloaded or stuck? see its log".to_owned(),
        did_it_crash: "did the app crash or restart? see its log".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(address: &str, kind: SendErrorKind) -> String {
        let address = super::super::address::parse(address).unwrap();
        describe(&address, Protocol::Http, kind)
    }

    #[test]
    fn messages_about_scripts_speak_of_php() {
        let said = |address: &str, kind| {
            let address = super::super::address::parse(address).unwrap();
            describe(&address, Protocol::FastCgi, kind)
        };
        assert_eq!(
            said("php:9000", SendErrorKind::Refused),
            "`php:9000` refused the connection: is the container up, and does php-fpm listen on \
             0.0.0.0 and on this port? see `docker compose logs php`"
        );
        let socket = said("unix//run/php.sock", SendErrorKind::Unreachable);
        assert!(socket.contains("`listen` on /run/php.sock"), "{socket}");
        assert!(said("php:80", SendErrorKind::Protocol).contains("valid FastCGI"));
        assert!(said("php:9000", SendErrorKind::HeaderTimeout).contains("`read_timeout`"));
    }

    #[test]
    fn messages_say_what_to_look_at() {
        assert_eq!(
            said("web:8000", SendErrorKind::Refused),
            "`web:8000` refused the connection: is the container up, and does the app listen on \
             0.0.0.0 and on this port? see `docker compose logs web`"
        );
        assert!(said("localhost:80", SendErrorKind::Refused).contains("own container"));
        assert!(said("10.0.0.7:80", SendErrorKind::Refused).contains("is the app running"));
        assert_eq!(
            said("web:8000", SendErrorKind::NameNotFound),
            "`web` does not resolve: is the service in the same Compose project and network, and \
             is it running?"
        );
        assert!(said("web:8000", SendErrorKind::Closed).contains("`docker compose logs web`"));
        assert!(said("unix//run/a.sock", SendErrorKind::Unreachable).contains("unix//run/a.sock"));
    }
}
