//! `servers`: settings of all servers or of the one at an address.

use serde_json::{Map, Value as Json, json};

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::directive::{State, duration, integer, is_supported, size};
use crate::document::{CloudflareIps, HttpMetrics, IpSource, Server, ServerLogs, StaticIps};
use crate::token::Token;
use crate::value::PRIVATE_RANGES;

const NAMES: &[&str] = &[
    "0rtt",
    "client_ip_headers",
    "enable_full_duplex",
    "keepalive_count",
    "keepalive_idle",
    "keepalive_interval",
    "listener_wrappers",
    "log_credentials",
    "max_header_size",
    "metrics",
    "name",
    "packet_conn_wrappers",
    "protocols",
    "strict_sni_host",
    "timeouts",
    "trace",
    "trusted_proxies",
    "trusted_proxies_strict",
    "trusted_proxies_unix",
];

/// Settings of servers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ServerOptions {
    /// Address of the server that is meant; empty is all that no other option names.
    pub(crate) listener: String,
    /// New name of the server; empty keeps it.
    pub(crate) name: String,
    log_credentials: bool,
    trace: bool,
    /// Only the fields that options can set are used.
    settings: Server,
}

impl ServerOptions {
    /// Reads the option from its address on.
    pub(super) fn parse(
        option: &Token,
        cursor: &mut Cursor<'_>,
        state: &mut State,
    ) -> Result<Self, Diagnostic> {
        let mut options = Self::default();
        options.settings.written = option.into();
        if let Some(address) = cursor.next_arg() {
            options.listener = address.text.clone();
            cursor.expect_end_of_args()?;
        }
        let nesting = cursor.nesting();
        while let Some(token) = cursor.next_block(nesting) {
            let feature = format!("{} {}", option.text, token.text);
            if !is_supported(&feature) {
                let message = format!("`{feature}` is not supported yet");
                state
                    .diagnostics
                    .push(Diagnostic::unsupported_at(token, message));
            }
            options.parse_option(token, cursor)?;
        }
        Ok(options)
    }

    /// An error about the option as a whole.
    pub(crate) fn error(&self, message: String) -> Diagnostic {
        let diagnostic = Diagnostic::error(message);
        match self.settings.written.0 {
            Some(origin) => diagnostic.at_origin(origin),
            None => diagnostic,
        }
    }

    /// Applies the settings to `server`.
    pub(crate) fn apply(&self, server: &mut Server) {
        let settings = self.settings.clone();
        server.written = settings.written;
        server.listener_wrappers = settings.listener_wrappers;
        server.packet_conn_wrappers = settings.packet_conn_wrappers;
        server.read_timeout = settings.read_timeout;
        server.read_header_timeout = settings.read_header_timeout;
        server.write_timeout = settings.write_timeout;
        server.idle_timeout = settings.idle_timeout;
        server.keepalive_interval = settings.keepalive_interval;
        server.keepalive_idle = settings.keepalive_idle;
        server.keepalive_count = settings.keepalive_count;
        server.max_header_bytes = settings.max_header_bytes;
        server.enable_full_duplex = settings.enable_full_duplex;
        server.strict_sni_host = settings.strict_sni_host;
        server.trusted_proxies = settings.trusted_proxies;
        server.client_ip_headers = settings.client_ip_headers;
        server.trusted_proxies_strict = settings.trusted_proxies_strict;
        server.trusted_proxies_unix = settings.trusted_proxies_unix;
        server.protocols = settings.protocols;
        server.allow_0rtt = settings.allow_0rtt;
        server.metrics = settings.metrics;
        if self.log_credentials || self.trace {
            let logs = server.logs.get_or_insert_with(ServerLogs::default);
            logs.should_log_credentials |= self.log_credentials;
            logs.trace |= self.trace;
        }
    }

    fn parse_option(&mut self, token: &Token, cursor: &mut Cursor<'_>) -> Result<(), Diagnostic> {
        let server = &mut self.settings;
        match token.text.as_str() {
            "name" => {
                if self.listener.is_empty() {
                    let message = "cannot set a name for a server without a listener address";
                    return Err(cursor.error_here(message));
                }
                self.name = cursor.expect_arg()?.text.clone();
            }
            "listener_wrappers" => server.listener_wrappers = parse_wrappers(cursor)?,
            "packet_conn_wrappers" => server.packet_conn_wrappers = parse_wrappers(cursor)?,
            "timeouts" => parse_timeouts(cursor, server)?,
            "keepalive_interval" => server.keepalive_interval = duration(cursor)?,
            "keepalive_idle" => server.keepalive_idle = duration(cursor)?,
            "keepalive_count" => server.keepalive_count = integer(cursor)?,
            "max_header_size" => {
                server.max_header_bytes = size(cursor)?;
                cursor.expect_end_of_args()?;
            }
            "enable_full_duplex" => {
                cursor.expect_end_of_args()?;
                server.enable_full_duplex = true;
            }
            "log_credentials" => {
                cursor.expect_end_of_args()?;
                self.log_credentials = true;
            }
            "trace" => {
                cursor.expect_end_of_args()?;
                self.trace = true;
            }
            "protocols" => server.protocols = parse_protocols(cursor)?,
            "strict_sni_host" => {
                server.strict_sni_host = Some(match cursor.next_arg() {
                    None => true,
                    Some(word) if word.text == "on" => true,
                    Some(word) if word.text == "insecure_off" => false,
                    Some(word) => {
                        let message = format!(
                            "strict_sni_host only supports `on` or `insecure_off`, got `{}`",
                            word.text
                        );
                        return Err(Diagnostic::error_at(word, message));
                    }
                });
            }
            "trusted_proxies" => server.trusted_proxies = Some(parse_trusted_proxies(cursor)?),
            "trusted_proxies_strict" => {
                cursor.expect_end_of_args()?;
                server.trusted_proxies_strict = 1;
            }
            "trusted_proxies_unix" => {
                cursor.expect_end_of_args()?;
                server.trusted_proxies_unix = true;
            }
            "client_ip_headers" => {
                for header in cursor.remaining_args() {
                    if server.client_ip_headers.contains(&header.text) {
                        let message =
                            format!("client IP header {} specified more than once", header.text);
                        return Err(Diagnostic::error_at(header, message));
                    }
                    server.client_ip_headers.push(header.text.clone());
                }
                cursor.expect_no_block()?;
            }
            "0rtt" => match cursor.expect_arg()?.text.as_str() {
                "off" => server.allow_0rtt = Some(false),
                other => {
                    let message = format!("unsupported 0rtt argument `{other}` (only `off`)");
                    return Err(cursor.error_here(message));
                }
            },
            "metrics" => server.metrics = Some(parse_metrics(cursor)?),
            _ => return Err(cursor.unknown_subdirective("servers", NAMES.iter().copied())),
        }
        Ok(())
    }
}

/// ```text
/// metrics {
///     per_host
///     observe_catchall_hosts
/// }
/// ```
pub(super) fn parse_metrics(cursor: &mut Cursor<'_>) -> Result<HttpMetrics, Diagnostic> {
    let mut metrics = HttpMetrics::default();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "per_host" => metrics.per_host = true,
            "observe_catchall_hosts" => metrics.observe_catchall_hosts = true,
            "otlp" => metrics.otlp = true,
            _ => {
                let known = ["observe_catchall_hosts", "otlp", "per_host"];
                return Err(cursor.unknown_subdirective("metrics", known));
            }
        }
    }
    Ok(metrics)
}

fn parse_timeouts(cursor: &mut Cursor<'_>, server: &mut Server) -> Result<(), Diagnostic> {
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "read_body" => server.read_timeout = duration(cursor)?,
            "read_header" => server.read_header_timeout = duration(cursor)?,
            "write" => server.write_timeout = duration(cursor)?,
            "idle" => server.idle_timeout = duration(cursor)?,
            _ => {
                let known = ["idle", "read_body", "read_header", "write"];
                return Err(cursor.unknown_subdirective("timeouts", known));
            }
        }
    }
    Ok(())
}

fn parse_protocols(cursor: &mut Cursor<'_>) -> Result<Vec<String>, Diagnostic> {
    let known = ["h1", "h2", "h2c", "h3"];
    let mut protocols: Vec<String> = Vec::new();
    for token in cursor.remaining_args() {
        if !known.contains(&token.text.as_str()) {
            let message = format!(
                "unknown protocol `{}`: expected h1, h2, h2c, or h3",
                token.text
            );
            return Err(Diagnostic::error_at(token, message));
        }
        if protocols.contains(&token.text) {
            let message = format!("protocol {} specified more than once", token.text);
            return Err(Diagnostic::error_at(token, message));
        }
        protocols.push(token.text.clone());
    }
    cursor.expect_no_block()?;
    Ok(protocols)
}

fn parse_trusted_proxies(cursor: &mut Cursor<'_>) -> Result<IpSource, Diagnostic> {
    let source = cursor.expect_arg()?;
    if source.text == "cloudflare" {
        return parse_cloudflare(cursor).map(IpSource::Cloudflare);
    }
    if source.text != "static" {
        let message = format!("unknown IP range source `{}`", source.text);
        return Err(Diagnostic::error_at(source, message)
            .with_help("write `trusted_proxies static <ranges>` or `trusted_proxies cloudflare`"));
    }
    let mut ranges = Vec::new();
    for range in cursor.remaining_values() {
        if range == "private_ranges" {
            ranges.extend(PRIVATE_RANGES.map(str::to_owned));
        } else {
            ranges.push(range);
        }
    }
    Ok(IpSource::Static(StaticIps { ranges }))
}

fn parse_cloudflare(cursor: &mut Cursor<'_>) -> Result<CloudflareIps, Diagnostic> {
    cursor.expect_end_of_args()?;
    let mut source = CloudflareIps::default();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "interval" => source.interval = duration(cursor)?,
            "timeout" => source.timeout = duration(cursor)?,
            _ => return Err(cursor.unknown_subdirective("cloudflare", ["interval", "timeout"])),
        }
    }
    Ok(source)
}

fn parse_wrappers(cursor: &mut Cursor<'_>) -> Result<Vec<Json>, Diagnostic> {
    let mut wrappers = Vec::new();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        let mut wrapper = match token.text.as_str() {
            "proxy_protocol" => parse_proxy_protocol(cursor)?,
            "http_redirect" => parse_http_redirect(cursor)?,
            "tls" => Map::new(),
            _ => {
                let known = ["http_redirect", "proxy_protocol", "tls"];
                return Err(cursor.unknown_subdirective("listener_wrappers", known));
            }
        };
        wrapper.insert("wrapper".to_owned(), token.text.clone().into());
        wrappers.push(Json::Object(wrapper));
    }
    Ok(wrappers)
}

fn parse_proxy_protocol(cursor: &mut Cursor<'_>) -> Result<Map<String, Json>, Diagnostic> {
    let mut wrapper = Map::new();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "timeout" => {
                wrapper.insert("timeout".to_owned(), json!(duration(cursor)?));
            }
            key @ ("allow" | "deny") => {
                let ranges = cursor.remaining_values().into_iter().map(Json::from);
                match wrapper.get_mut(key) {
                    Some(Json::Array(known)) => known.extend(ranges),
                    _ => {
                        wrapper.insert(key.to_owned(), ranges.collect());
                    }
                }
            }
            "fallback_policy" => {
                let policy = cursor.expect_arg()?.text.to_ascii_uppercase();
                let known = ["IGNORE", "REJECT", "REQUIRE", "SKIP", "USE"];
                if !known.contains(&policy.as_str()) {
                    let message = format!("unknown fallback policy `{policy}`");
                    return Err(cursor.error_here(message).with_suggestion(&policy, known));
                }
                wrapper.insert("fallback_policy".to_owned(), policy.into());
            }
            _ => {
                let known = ["allow", "deny", "fallback_policy", "timeout"];
                return Err(cursor.unknown_subdirective("proxy_protocol", known));
            }
        }
    }
    Ok(wrapper)
}

fn parse_http_redirect(cursor: &mut Cursor<'_>) -> Result<Map<String, Json>, Diagnostic> {
    let mut wrapper = Map::new();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        if token.text != "max_header_bytes" {
            return Err(cursor.unknown_subdirective("http_redirect", ["max_header_bytes"]));
        }
        wrapper.insert("max_header_bytes".to_owned(), integer(cursor)?.into());
    }
    Ok(wrapper)
}
