//! Records requests as spans of traces (Caddy: `tracing`).

use std::borrow::Cow;
use std::error::Error as StdError;

use caddyfile::document;
use http::header::USER_AGENT;
use http::{Response, StatusCode, Version};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, Key, KeyValue};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::Span as SdkSpan;

use super::Filter;
use crate::body::ResponseBody;
use crate::body::observed::{Observed, Observer};
use crate::compile::Scope;
use crate::error::{Error, Side};
use crate::exchange::{Exchange, split_host_port};
use crate::placeholder::{Template, Unknown};
use crate::spans::Settings;

/// What a span is called that has no name (Caddy: `defaultSpanName`).
const UNNAMED: &str = "handler";

/// The handler.
#[derive(Debug)]
pub struct Tracing {
    name: Template,
    attributes: Box<[(Key, Template)]>,
    /// Whether the trace is heard of from clients and told to upstreams.
    propagates: bool,
}

/// A span of which the answer is not known yet.
#[derive(Debug)]
pub struct Unfinished<'a> {
    tracing: &'a Tracing,
    span: SdkSpan,
}

/// A span that ends with its response's body.
#[derive(Debug)]
pub struct OpenSpan {
    span: SdkSpan,
    size: u64,
}

impl Tracing {
    pub(super) fn compile(document: &document::Tracing, scope: &mut Scope) -> Self {
        let propagates = match Settings::from_environment() {
            Ok(settings) => settings.propagates,
            Err(error) => {
                scope.error_with_hint(
                    error,
                    "`tracing` is set up by these variables of the proxy's environment",
                );
                true
            }
        };
        let name = document.span.as_deref().filter(|name| !name.is_empty());
        let attributes = document.span_attributes.iter().map(|(key, value)| {
            let value = scope.template(value, Unknown::Empty);
            (Key::from(key.clone()), value)
        });
        Self {
            attributes: attributes.collect(),
            name: scope.template(name.unwrap_or(UNNAMED), Unknown::Empty),
            propagates,
        }
    }

    /// Begins a span, of the client's trace if it tells one, and tells those behind of it.
    pub(super) fn handle(&self, exchange: &mut Exchange) -> Option<Filter<'_>> {
        let propagator = TraceContextPropagator::new();
        let mut parent = Context::new();
        if self.propagates {
            let fields = HeaderExtractor(&exchange.head.headers);
            parent = propagator.extract_with_context(&parent, &fields);
        }
        let tracer = exchange.worker.shared.spans.tracer();
        let span = tracer
            .span_builder(self.name.expand(exchange).into_owned())
            .with_kind(SpanKind::Server)
            .with_attributes(facts(exchange))
            .start_with_context(tracer, &parent);
        let context = span.span_context().clone();
        let (trace_id, span_id) = (
            context.trace_id().to_string(),
            context.span_id().to_string(),
        );
        if self.propagates {
            let told = Context::new().with_remote_span_context(context);
            let mut fields = HeaderInjector(&mut exchange.head.headers);
            propagator.inject_context(&told, &mut fields);
        }
        let log_fields = &mut exchange.rare_mut().log_fields;
        log_fields.push(("traceID".into(), trace_id.clone().into()));
        log_fields.push(("spanID".into(), span_id.clone().into()));
        exchange.variables.set("trace_id", trace_id);
        exchange.variables.set("span_id", span_id);
        Some(Filter::Tracing(Box::new(Unfinished {
            tracing: self,
            span,
        })))
    }
}

impl Unfinished<'_> {
    /// Has the span end when the response has been sent.
    pub(super) fn conclude(
        mut self,
        response: Response<ResponseBody>,
        exchange: &Exchange,
    ) -> Response<ResponseBody> {
        self.complete(response.status(), exchange);
        response.map(|body| {
            let span = OpenSpan {
                span: self.span,
                size: 0,
            };
            ResponseBody::Traced(Box::new(Observed::new(body, span)))
        })
    }

    /// Ends the span with an error.
    pub(super) fn fail(mut self, error: &Error, exchange: &Exchange) {
        self.complete(error.status(), exchange);
        if error.side() != Side::Downstream {
            self.span.set_status(Status::error(error.to_string()));
        }
        self.span.end();
    }

    fn complete(&mut self, status: StatusCode, exchange: &Exchange) {
        if !self.span.is_recording() {
            return;
        }
        let code = i64::from(status.as_u16());
        self.span
            .set_attribute(KeyValue::new("http.response.status_code", code));
        // OpenTelemetry's semantic conventions: what a client did wrong is no failure of a server.
        if status.is_server_error() {
            self.span.set_status(Status::error(""));
        }
        for (key, value) in &self.tracing.attributes {
            let value = value.expand(exchange).into_owned();
            self.span.set_attribute(KeyValue::new(key.clone(), value));
        }
    }
}

impl Observer for OpenSpan {
    fn sent(&mut self, bytes: u64) {
        self.size += bytes;
    }

    fn failed(&mut self, error: &(dyn StdError + Send + Sync)) {
        self.span.set_status(Status::error(error.to_string()));
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        let size = i64::try_from(self.size).unwrap_or(i64::MAX);
        self.span
            .set_attribute(KeyValue::new("http.response.body.size", size));
        self.span.end();
    }
}

/// What is known of a request, by the names of OpenTelemetry's semantic conventions for HTTP
/// servers. The query is left out, since it may hold secrets.
fn facts(exchange: &Exchange) -> Vec<KeyValue> {
    let connection = &exchange.connection;
    let mut facts = Vec::with_capacity(12);
    let mut know = |name: &'static str, value: Cow<'static, str>| {
        facts.push(KeyValue::new(name, value));
    };
    know(
        "http.request.method",
        exchange.original.method.to_string().into(),
    );
    let scheme = if exchange.is_tls() { "https" } else { "http" };
    know("url.scheme", scheme.into());
    know("url.path", exchange.original.uri.path().to_owned().into());
    know("server.address", exchange.host().to_owned().into());
    know("client.address", exchange.client_ip.to_string().into());
    know(
        "network.peer.address",
        connection.peer.ip().to_string().into(),
    );
    let version = match exchange.head.version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    know("network.protocol.version", version.into());
    if let Some(agent) = exchange.head.headers.get(USER_AGENT)
        && let Ok(agent) = agent.to_str()
    {
        know("user_agent.original", agent.to_owned().into());
    }
    let port = split_host_port(exchange.host_and_port()).1.parse().ok();
    let usual = if exchange.is_tls() { 443 } else { 80 };
    let ports = [
        ("server.port", port.unwrap_or(usual)),
        ("network.peer.port", connection.peer.port()),
    ];
    facts.extend(ports.map(|(name, port)| KeyValue::new(name, i64::from(port))));
    facts
}
