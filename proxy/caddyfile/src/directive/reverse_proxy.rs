//! `reverse_proxy`: forwards to upstreams.

mod dynamic;
mod health;
mod load_balancing;
mod transport;
mod upstream;

use super::field::{FieldOp, parse_request_op};
use super::header::apply;
use super::response::{self, ResponseMatchers};
use super::{Context, argument, duration, integer, size};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Duration, Handler, HttpTransport, ReverseProxy, Transport};
use crate::value::PRIVATE_RANGES;

pub(super) use self::transport::parse_fastcgi_option;
use self::upstream::Scheme;

const SUBDIRECTIVES: &[&str] = &[
    "dynamic",
    "fail_duration",
    "flush_interval",
    "handle_response",
    "header_down",
    "header_up",
    "health_body",
    "health_fails",
    "health_follow_redirects",
    "health_headers",
    "health_interval",
    "health_method",
    "health_passes",
    "health_path",
    "health_port",
    "health_request_body",
    "health_status",
    "health_timeout",
    "health_upstream",
    "health_uri",
    "lb_policy",
    "lb_retries",
    "lb_retry_match",
    "lb_try_duration",
    "lb_try_interval",
    "max_fails",
    "method",
    "replace_status",
    "request_buffers",
    "response_buffers",
    "rewrite",
    "stream_buffer_size",
    "stream_close_delay",
    "stream_timeout",
    "to",
    "transport",
    "trusted_proxies",
    "unhealthy_latency",
    "unhealthy_request_count",
    "unhealthy_status",
    "verbose_logs",
];

/// `reverse_proxy [<matcher>] [<upstreams...>] { <subdirectives> }`
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let proxy = parse_proxy(cursor, ReverseProxy::default(), context)?;
    Ok(Handler::ReverseProxy(Box::new(proxy)))
}

/// Reads upstreams and subdirectives into `proxy`; the cursor is at the directive's name.
pub(super) fn parse_proxy(
    cursor: &mut Cursor<'_>,
    mut proxy: ReverseProxy,
    context: &mut Context<'_>,
) -> Result<ReverseProxy, Diagnostic> {
    let name = cursor.value();
    let mut scheme = Scheme::default();
    for token in cursor.remaining_args() {
        scheme.add_upstream(token, &mut proxy.upstreams)?;
    }

    let mut reader = Reader {
        proxy,
        scheme,
        transport: None,
        matchers: ResponseMatchers::new(),
        response_blocks: Vec::new(),
    };
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        if token.text.starts_with('@') {
            let definition = &mut cursor.from_next_segment();
            let (name, matcher) = response::parse_definition(definition)?;
            reader.matchers.insert(name, matcher);
        } else if !(reader.subdirective(token, cursor, context)?
            || health::parse(token, cursor, &mut reader.proxy)?
            || load_balancing::parse(
                token,
                cursor,
                &mut reader.proxy,
                &mut context.state.diagnostics,
            )?)
        {
            return Err(cursor.unknown_subdirective(name, SUBDIRECTIVES.iter().copied()));
        }
    }
    reader.finish(cursor, context)
}

/// What is known of a `reverse_proxy` while its block is read.
struct Reader<'t> {
    proxy: ReverseProxy,
    scheme: Scheme,
    transport: Option<Transport>,
    matchers: ResponseMatchers,
    response_blocks: Vec<Cursor<'t>>,
}

impl<'t> Reader<'t> {
    /// Reads one subdirective; `false` if it is none of these.
    fn subdirective(
        &mut self,
        token: &crate::token::Token,
        cursor: &mut Cursor<'t>,
        context: &mut Context<'_>,
    ) -> Result<bool, Diagnostic> {
        let proxy = &mut self.proxy;
        match token.text.as_str() {
            "to" => {
                let upstreams = cursor.remaining_args();
                if upstreams.is_empty() {
                    return Err(cursor.argument_error());
                }
                for upstream in upstreams {
                    self.scheme.add_upstream(upstream, &mut proxy.upstreams)?;
                }
            }
            "dynamic" => {
                context.use_feature(token, "reverse_proxy dynamic");
                if proxy.dynamic_upstreams.is_some() {
                    return Err(cursor.error_here("dynamic upstreams already specified"));
                }
                cursor.expect_arg()?;
                proxy.dynamic_upstreams = Some(dynamic::parse(&mut cursor.from_next_segment())?);
            }
            "flush_interval" => proxy.flush_interval = nanoseconds_or_duration(cursor)?,
            "stream_timeout" => proxy.stream_timeout = nanoseconds_or_duration(cursor)?,
            "stream_close_delay" => proxy.stream_close_delay = nanoseconds_or_duration(cursor)?,
            "stream_buffer_size" => proxy.stream_buffer_size = size(cursor)?,
            "request_buffers" => proxy.request_buffers = size_or_unlimited(cursor)?,
            "response_buffers" => proxy.response_buffers = size_or_unlimited(cursor)?,
            "trusted_proxies" => {
                for range in cursor.remaining_values() {
                    if range == "private_ranges" {
                        proxy
                            .trusted_proxies
                            .extend(PRIVATE_RANGES.map(str::to_owned));
                    } else {
                        proxy.trusted_proxies.push(range);
                    }
                }
            }
            "header_up" => {
                let headers = proxy.headers.get_or_insert_default();
                parse_request_op(cursor, headers.request.get_or_insert_default(), false)?;
            }
            "header_down" => {
                let before = cursor.clone();
                let op =
                    FieldOp::of(&cursor.remaining_args()).ok_or_else(|| before.argument_error())?;
                if op.field.starts_with('?') {
                    let message = "the default value prefix `?` does not work in `header_down`";
                    let help = "use the `header` directive";
                    return Err(cursor.error_here(message).with_help(help));
                }
                let headers = proxy.headers.get_or_insert_default();
                apply(&op, headers.response.get_or_insert_default());
            }
            "method" => {
                let rewrite = proxy.rewrite.get_or_insert_default();
                rewrite.method = argument::one_value(cursor)?;
            }
            "rewrite" => {
                let rewrite = proxy.rewrite.get_or_insert_default();
                rewrite.uri = argument::one_value(cursor)?;
            }
            "transport" => {
                if self.transport.is_some() {
                    return Err(cursor.error_here("transport already specified"));
                }
                let name = cursor.expect_arg()?;
                let feature = format!("reverse_proxy transport {}", name.text);
                context.use_feature(name, &feature);
                self.transport = Some(transport::parse(&mut cursor.from_next_segment())?);
            }
            "handle_response" => {
                context.use_feature(token, "reverse_proxy handle_response");
                self.response_blocks.push(cursor.from_next_segment());
            }
            "replace_status" => {
                let handler = response::parse_replace_status(cursor, &self.matchers)?;
                proxy.handle_response.push(handler);
            }
            "verbose_logs" => {
                if proxy.verbose_logs {
                    return Err(cursor.error_here("verbose_logs already specified"));
                }
                context.use_feature(token, "reverse_proxy verbose_logs");
                proxy.verbose_logs = true;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn finish(
        mut self,
        cursor: &Cursor<'_>,
        context: &mut Context<'_>,
    ) -> Result<ReverseProxy, Diagnostic> {
        // An upstream's scheme decides on the transport where none is written.
        let scheme = self.scheme.name();
        if self.transport.is_none() && matches!(scheme, "https" | "h2c") {
            self.transport = Some(Transport::Http(Box::default()));
        }
        if let Some(transport) = &mut self.transport {
            fit_transport(transport, scheme, cursor)?;
        }
        if let Some(transport) = self.transport
            && transport != Transport::Http(Box::<HttpTransport>::default())
        {
            self.proxy.transport = Some(transport);
        }
        for mut block in self.response_blocks {
            let handler = response::parse_handle_response(&mut block, &self.matchers, context)?;
            self.proxy.handle_response.push(handler);
        }
        response::sort_handlers(&mut self.proxy.handle_response);
        Ok(self.proxy)
    }
}

fn fit_transport(
    transport: &mut Transport,
    scheme: &str,
    cursor: &Cursor<'_>,
) -> Result<(), Diagnostic> {
    match (transport, scheme) {
        (Transport::Http(http), "https") => {
            http.tls.get_or_insert_default();
        }
        (Transport::Http(http), "http") if http.tls.is_some() => {
            let message =
                "upstream address scheme is HTTP but transport is configured for HTTP+TLS (HTTPS)";
            return Err(cursor.error_here(message));
        }
        (Transport::Http(http), "h2c") => {
            http.versions = vec!["h2c".to_owned(), "2".to_owned()];
        }
        (Transport::Fastcgi(_) | Transport::Other(_), "https") => {
            let message =
                "upstreams are configured for HTTPS but transport module does not support TLS";
            return Err(cursor.error_here(message));
        }
        _ => {}
    }
    Ok(())
}

/// A duration, or a bare number of nanoseconds such as `-1`.
fn nanoseconds_or_duration(cursor: &mut Cursor<'_>) -> Result<Duration, Diagnostic> {
    let is_integer = cursor
        .clone()
        .next_arg()
        .is_some_and(|token| token.text.parse::<i64>().is_ok());
    if is_integer {
        return integer(cursor).map(Duration::from_nanoseconds);
    }
    duration(cursor)
}

fn size_or_unlimited(cursor: &mut Cursor<'_>) -> Result<i64, Diagnostic> {
    let is_unlimited = cursor
        .clone()
        .next_arg()
        .is_some_and(|token| token.text == "unlimited");
    let size = if is_unlimited {
        cursor.next_arg();
        -1
    } else {
        size(cursor)?
    };
    cursor.expect_end_of_args()?;
    Ok(size)
}
