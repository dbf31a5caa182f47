//! How upstreams are reached.

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::directive::{duration, integer, one_value, size, tls};
use crate::document::{FastcgiTransport, HttpTransport, Resolver, Transport, UpstreamTls};

const HTTP_OPTIONS: &[&str] = &[
    "compression",
    "dial_fallback_delay",
    "dial_timeout",
    "expect_continue_timeout",
    "forward_proxy_url",
    "keepalive",
    "keepalive_idle_conns",
    "keepalive_idle_conns_per_host",
    "keepalive_interval",
    "local_address",
    "max_conns_per_host",
    "max_response_header",
    "network_proxy",
    "proxy_protocol",
    "read_buffer",
    "read_timeout",
    "resolvers",
    "response_header_timeout",
    "tls",
    "tls_client_auth",
    "tls_curves",
    "tls_except_ports",
    "tls_insecure_skip_verify",
    "tls_renegotiation",
    "tls_server_name",
    "tls_timeout",
    "tls_trust_pool",
    "tls_trusted_ca_certs",
    "versions",
    "write_buffer",
    "write_timeout",
];

/// Reads a transport from its name on.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Transport, Diagnostic> {
    cursor.next_token();
    match cursor.value() {
        "http" => parse_http(cursor).map(|http| Transport::Http(Box::new(http))),
        "fastcgi" => parse_fastcgi(cursor).map(Transport::Fastcgi),
        name => {
            let diagnostic = cursor.error_here(format!("unknown transport `{name}`"));
            Err(diagnostic.with_suggestion(name, ["fastcgi", "http"]))
        }
    }
}

fn parse_http(cursor: &mut Cursor<'_>) -> Result<HttpTransport, Diagnostic> {
    let mut http = HttpTransport::default();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        let name = token.text.as_str();
        match name {
            "read_buffer" => http.read_buffer_size = size(cursor)?,
            "write_buffer" => http.write_buffer_size = size(cursor)?,
            "max_response_header" => http.max_response_header_size = size(cursor)?,
            "read_timeout" => http.read_timeout = duration(cursor)?,
            "write_timeout" => http.write_timeout = duration(cursor)?,
            "dial_timeout" => http.dial_timeout = duration(cursor)?,
            "dial_fallback_delay" => http.dial_fallback_delay = duration(cursor)?,
            "response_header_timeout" => http.response_header_timeout = duration(cursor)?,
            "expect_continue_timeout" => http.expect_continue_timeout = duration(cursor)?,
            "max_conns_per_host" => http.max_conns_per_host = integer(cursor)?,
            "local_address" => http.local_address = cursor.expect_arg()?.text.clone(),
            "versions" => http.versions = at_least_one(cursor)?,
            "resolvers" => {
                http.resolver = Some(Resolver {
                    addresses: at_least_one(cursor)?,
                })
            }
            "forward_proxy_url" => {
                let url = cursor.expect_arg()?;
                http.network_proxy = Some(serde_json::json!({ "from": "url", "url": url.text }));
            }
            "network_proxy" => {
                cursor.expect_arg()?;
                http.network_proxy = Some(parse_network_proxy(&mut cursor.from_next_segment())?);
            }
            "proxy_protocol" => {
                let version = cursor.expect_arg()?;
                if !matches!(version.text.as_str(), "v1" | "v2") {
                    let message = format!("invalid proxy protocol version `{}`", version.text);
                    return Err(
                        Diagnostic::error_at(version, message).with_help("use `v1` or `v2`")
                    );
                }
                http.proxy_protocol = version.text.clone();
            }
            "compression" => {
                if cursor.next_arg().is_some_and(|token| token.text == "off") {
                    http.compression = Some(false);
                }
            }
            _ if name.starts_with("keepalive") => parse_keep_alive(name, cursor, &mut http)?,
            "tls" => {
                http.tls.get_or_insert_default();
            }
            _ if name.starts_with("tls_") => {
                parse_tls(name, cursor, http.tls.get_or_insert_default())?;
            }
            _ => {
                let known = HTTP_OPTIONS.iter().copied();
                return Err(cursor.unknown_subdirective("transport http", known));
            }
        }
    }
    Ok(http)
}

fn at_least_one(cursor: &mut Cursor<'_>) -> Result<Vec<String>, Diagnostic> {
    let values = cursor.remaining_values();
    if values.is_empty() {
        Err(cursor.argument_error())
    } else {
        Ok(values)
    }
}

fn parse_network_proxy(cursor: &mut Cursor<'_>) -> Result<serde_json::Value, Diagnostic> {
    cursor.next_token();
    match cursor.value() {
        "none" => Ok(serde_json::json!({ "from": "none" })),
        "url" => Ok(serde_json::json!({ "from": "url", "url": one_value(cursor)? })),
        name => {
            let diagnostic = cursor.error_here(format!("unknown network proxy `{name}`"));
            Err(diagnostic.with_suggestion(name, ["none", "url"]))
        }
    }
}

fn parse_keep_alive(
    name: &str,
    cursor: &mut Cursor<'_>,
    http: &mut HttpTransport,
) -> Result<(), Diagnostic> {
    let keep_alive = http.keep_alive.get_or_insert_default();
    match name {
        "keepalive" => {
            if cursor
                .clone()
                .next_arg()
                .is_some_and(|token| token.text == "off")
            {
                cursor.next_arg();
                keep_alive.enabled = Some(false);
            } else {
                keep_alive.idle_timeout = duration(cursor)?;
            }
        }
        "keepalive_interval" => keep_alive.probe_interval = duration(cursor)?,
        "keepalive_idle_conns" => keep_alive.max_idle_conns = integer(cursor)?,
        "keepalive_idle_conns_per_host" => keep_alive.max_idle_conns_per_host = integer(cursor)?,
        _ => {
            let known = HTTP_OPTIONS.iter().copied();
            return Err(cursor.unknown_subdirective("transport http", known));
        }
    }
    Ok(())
}

fn parse_tls(name: &str, cursor: &mut Cursor<'_>, tls: &mut UpstreamTls) -> Result<(), Diagnostic> {
    match name {
        "tls_client_auth" => match cursor.remaining_args().as_slice() {
            [automate] => tls.client_certificate_automate = automate.text.clone(),
            [certificate, key] => {
                tls.client_certificate_file = certificate.text.clone();
                tls.client_certificate_key_file = key.text.clone();
            }
            _ => return Err(cursor.argument_error()),
        },
        "tls_insecure_skip_verify" => {
            cursor.expect_end_of_args()?;
            tls.insecure_skip_verify = true;
        }
        "tls_curves" => tls.curves = at_least_one(cursor)?,
        "tls_timeout" => tls.handshake_timeout = duration(cursor)?,
        "tls_trusted_ca_certs" => {
            if tls.ca.is_some() {
                return Err(cursor.error_here(BOTH_TRUSTS));
            }
            tls.root_ca_pem_files = at_least_one(cursor)?;
        }
        "tls_trust_pool" => {
            if tls.ca.is_some() || !tls.root_ca_pem_files.is_empty() {
                return Err(cursor.error_here(BOTH_TRUSTS));
            }
            cursor.expect_arg()?;
            tls.ca = Some(tls::parse_trust_pool(&mut cursor.from_next_segment())?);
        }
        "tls_server_name" => tls.server_name = cursor.expect_arg()?.text.clone(),
        "tls_renegotiation" => {
            let level = cursor.expect_arg()?;
            let known = ["freely", "never", "once"];
            if !known.contains(&level.text.as_str()) {
                let message = format!("unknown renegotiation level `{}`", level.text);
                return Err(
                    Diagnostic::error_at(level, message).with_suggestion(&level.text, known)
                );
            }
            tls.renegotiation = level.text.clone();
        }
        "tls_except_ports" => tls.except_ports = at_least_one(cursor)?,
        _ => {
            let known = HTTP_OPTIONS.iter().copied();
            return Err(cursor.unknown_subdirective("transport http", known));
        }
    }
    Ok(())
}

const BOTH_TRUSTS: &str =
    "trusted certificates are given twice: use one `tls_trust_pool` or `tls_trusted_ca_certs`";

fn parse_fastcgi(cursor: &mut Cursor<'_>) -> Result<FastcgiTransport, Diagnostic> {
    let mut fastcgi = FastcgiTransport::default();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        if !parse_fastcgi_option(&token.text, cursor, &mut fastcgi)? {
            let known = [
                "capture_stderr",
                "dial_timeout",
                "env",
                "read_timeout",
                "resolve_root_symlink",
                "root",
                "split",
                "write_timeout",
            ];
            return Err(cursor.unknown_subdirective("transport fastcgi", known));
        }
    }
    Ok(fastcgi)
}

/// Reads an option that `transport fastcgi` and `php_fastcgi` share; `false` if it is none.
pub(in crate::directive) fn parse_fastcgi_option(
    name: &str,
    cursor: &mut Cursor<'_>,
    fastcgi: &mut FastcgiTransport,
) -> Result<bool, Diagnostic> {
    match name {
        "root" => fastcgi.root = cursor.expect_arg()?.text.clone(),
        "split" => fastcgi.split_path = at_least_one(cursor)?,
        "env" => {
            let [key, value] = cursor.expect_args()?;
            fastcgi.env.insert(key.text.clone(), value.text.clone());
        }
        "resolve_root_symlink" => {
            cursor.expect_end_of_args()?;
            fastcgi.resolve_root_symlink = true;
        }
        "dial_timeout" => fastcgi.dial_timeout = duration(cursor)?,
        "read_timeout" => fastcgi.read_timeout = duration(cursor)?,
        "write_timeout" => fastcgi.write_timeout = duration(cursor)?,
        "capture_stderr" => {
            cursor.expect_end_of_args()?;
            fastcgi.capture_stderr = true;
        }
        _ => return Ok(false),
    }
    Ok(true)
}
