//! Caddy's active health checks to [`Check`]s.

use std::sync::Arc;

use caddyfile::document::{self, ActiveHealthChecks};
use http::{HeaderName, HeaderValue, Method};
use upstream::{Address, Target};

use super::{Check, Expected, Settings};
use crate::compile::Scope;
use crate::reverse_proxy::address;
use crate::reverse_proxy::transport::{Transport, some};

/// Caddy: the default of `health_interval`.
const INTERVAL: std::time::Duration = std::time::Duration::from_secs(30);
/// Caddy: the default of `health_timeout`.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
/// As much of an answer is read where the configuration sets no limit, in bytes.
const MAX_SIZE: usize = 1 << 20;
/// Stands for the upstream's address in fields of the request.
const UPSTREAM: &str = "{http.reverse_proxy.active.target_upstream}";

/// What the checks of one `reverse_proxy` have in common.
#[derive(Debug)]
pub(in crate::reverse_proxy) struct Plan<'a> {
    document: &'a ActiveHealthChecks,
    uri: Box<str>,
    method: Method,
    body: Box<str>,
    expected: Expected,
    /// What is asked in place of the upstream.
    stand_in: Option<Address>,
    port: Option<u16>,
}

impl<'a> Plan<'a> {
    /// Compiles what is the same for all upstreams; `None` where nothing is to be checked, as when
    /// there is neither a URI nor a port.
    pub(in crate::reverse_proxy) fn compile(
        document: &'a ActiveHealthChecks,
        transport: Option<&document::Transport>,
        scope: &mut Scope,
    ) -> Option<Self> {
        if document.uri.is_empty() && document.path.is_empty() && document.port == 0 {
            return None;
        }
        if matches!(transport, Some(document::Transport::Fastcgi(_))) {
            scope.error_with_hint(
                "health is asked for over HTTP, which a FastCGI responder does not speak",
                "remove `health_*`; `fail_duration` notices failures of requests",
            );
            return None;
        }
        let uri = match document.uri.as_str() {
            "" => document.path.as_str(),
            uri => uri,
        };
        Some(Self {
            document,
            uri: match uri.starts_with('/') {
                true => uri.into(),
                false => format!("/{uri}").into(),
            },
            method: method(&document.method, scope),
            body: scope.constant(&document.body).into(),
            expected: expected(document, scope),
            stand_in: stand_in(document, scope),
            port: port(document, scope),
        })
    }

    /// The check of the upstream with this dial address.
    pub(in crate::reverse_proxy) fn check(
        &self,
        dial: &str,
        transport: &Transport,
        scope: &mut Scope,
    ) -> Option<Arc<Check>> {
        let own = address::parse(dial).ok()?;
        // Caddy: whether TLS is spoken goes by the upstream's own port.
        let target = Target::new(transport.settings(own.clone())).ok()?;
        let document = self.document;
        let headers = document
            .headers
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        let headers: Vec<_> = headers
            .filter_map(|(name, value)| field(name, value, dial, scope))
            .collect();
        let settings = Settings {
            upstream: dial.into(),
            dial: self.dial(own),
            target,
            uri: self.uri.clone(),
            method: self.method.clone(),
            headers: headers.into(),
            body: self.body.clone(),
            follows_redirects: document.follow_redirects,
            interval: some(document.interval).unwrap_or(INTERVAL),
            timeout: some(document.timeout).unwrap_or(TIMEOUT),
            expected: self.expected.clone(),
            passes: at_least_once(document.passes),
            fails: at_least_once(document.fails),
        };
        Some(Check::of(settings))
    }

    fn dial(&self, own: Address) -> Address {
        match (&self.stand_in, self.port) {
            (Some(stand_in), _) => stand_in.clone(),
            (None, None) => own,
            (None, Some(port)) => Address::Host {
                host: match own.host() {
                    // Caddy: a port is one of TCP, also where the upstream is a Unix socket.
                    "" => "127.0.0.1".into(),
                    host => host.into(),
                },
                port,
            },
        }
    }
}

fn method(text: &str, scope: &mut Scope) -> Method {
    if text.is_empty() {
        return Method::GET;
    }
    text.to_ascii_uppercase().parse().unwrap_or_else(|_| {
        scope.error(format!("`{text}` is no method"));
        Method::GET
    })
}

fn expected(document: &ActiveHealthChecks, scope: &mut Scope) -> Expected {
    let body = match document.expect_body.as_str() {
        "" => None,
        pattern => match regex::bytes::Regex::new(pattern) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                scope.error(format!("`{pattern}` is no regular expression: {error}"));
                None
            }
        },
    };
    let status = u16::try_from(document.expect_status).unwrap_or_else(|_| {
        let status = document.expect_status;
        scope.error(format!("`{status}` is no status"));
        0
    });
    let max_size = usize::try_from(document.max_size).ok();
    Expected {
        status,
        body,
        max_size: max_size.filter(|size| *size > 0).unwrap_or(MAX_SIZE),
    }
}

fn stand_in(document: &ActiveHealthChecks, scope: &mut Scope) -> Option<Address> {
    if document.upstream.is_empty() {
        return None;
    }
    match address::parse(&document.upstream) {
        Ok(address) => Some(address),
        Err(error) => {
            scope.error(error.to_string());
            None
        }
    }
}

fn port(document: &ActiveHealthChecks, scope: &mut Scope) -> Option<u16> {
    if document.port == 0 {
        return None;
    }
    let port = u16::try_from(document.port).ok();
    if port.is_none() {
        scope.error(format!("`{}` is no port", document.port));
    }
    port
}

fn field(
    name: &str,
    value: &str,
    dial: &str,
    scope: &mut Scope,
) -> Option<(HeaderName, HeaderValue)> {
    let name = scope.constant(name);
    let value = scope.constant(&value.replace(UPSTREAM, dial));
    Some((scope.header_name(&name)?, scope.header_value(&value)?))
}

fn at_least_once(count: i64) -> u32 {
    u32::try_from(count).unwrap_or_default().max(1)
}
