//! Spans, with a collector that the test plays.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use parking_lot::Mutex;
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Request, Response, Status};

use crate::client::{exchange, get};
use crate::program::Proxy;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Takes spans over HTTP and over gRPC.
struct Collector {
    address: SocketAddr,
    taken: Taken,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone, Default)]
struct Taken(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Taken {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let token = request.metadata().get("x-token");
        assert_eq!(token.map(|token| token.to_str().unwrap()), Some("hush"));
        self.0.lock().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let taken = Taken::default();
        let over_http = taken.clone();
        let take = move |body: Bytes| {
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            over_http.0.lock().push(request);
            std::future::ready(())
        };
        let router = Router::new().route("/v1/traces", post(take)).merge(
            tonic::service::Routes::new(TraceServiceServer::new(taken.clone())).into_axum_router(),
        );
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            taken,
            _runtime: runtime,
        }
    }

    /// What was taken: each span with the attributes of who it is from.
    fn spans(&self) -> Vec<(Vec<KeyValue>, Span)> {
        let mut spans = Vec::new();
        for request in self.taken.0.lock().iter() {
            for of_resource in &request.resource_spans {
                let resource = of_resource.resource.clone().unwrap().attributes;
                for of_scope in &of_resource.scope_spans {
                    let found = of_scope.spans.iter().cloned();
                    spans.extend(found.map(|span| (resource.clone(), span)));
                }
            }
        }
        spans
    }
}

fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|found| found.value.clone()?.value) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => panic!("{key}: {other:?}"),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A server that traces and then does what `handler` says.
fn traced(proxy: &Proxy, handler: &Value) -> Value {
    json!({"plain": {
        "listen": [proxy.http.to_string()],
        "logs": {},
        "routes": [{"handle": [
            {
                "handler": "tracing",
                "span": "{http.request.method} quiz",
                "span_attributes": {"quiz.host": "{http.request.host}"},
            },
            handler,
        ]}],
    }})
}

fn ids() -> Value {
    json!({
        "handler": "static_response",
        "body": "{http.request.header.traceparent} {http.vars.trace_id} {http.vars.span_id}",
    })
}

fn body(answer: &str) -> Vec<String> {
    let body = answer.rsplit("\r\n").next().unwrap_or_default();
    body.split(' ').map(str::to_owned).collect()
}

fn spans_arrive(protocol: &str) {
    let collector = Collector::start();
    let mut proxy = Proxy::new();
    proxy.environment = vec![
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("http://{}", collector.address),
        ),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=hush".to_owned()),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test".to_owned(),
        ),
    ];
    proxy.write(traced(&proxy, &ids()));
    proxy.start();
    let answer = exchange(
        proxy.http,
        &format!(
            "GET /a?token=1 HTTP/1.1\r\nHost: quiz.test:8080\r\n\
             traceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: a=b\r\nConnection: close\r\n\r\n"
        ),
    );
    let [traceparent, trace_id, span_id] = body(&answer.unwrap()).try_into().unwrap();
    assert_eq!(trace_id, TRACE);
    assert_ne!(span_id, PARENT);
    assert_eq!(traceparent, format!("00-{TRACE}-{span_id}-01"));
    // What has not been sent yet is sent at the end.
    assert_eq!(proxy.stop(), 0);

    let [(resource, span)] = collector.spans().try_into().unwrap();
    assert_eq!(attribute(&resource, "service.name"), "portico");
    assert_eq!(attribute(&resource, "deployment.environment.name"), "test");
    assert_eq!(hexadecimal(&span.trace_id), TRACE);
    assert_eq!(hexadecimal(&span.parent_span_id), PARENT);
    assert_eq!(hexadecimal(&span.span_id), span_id);
    assert_eq!(span.trace_state, "a=b");
    assert_eq!(span.name, "GET quiz");
    assert_eq!(span.kind, SpanKind::Server as i32);
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    let length = traceparent.len() + trace_id.len() + span_id.len() + 2;
    for (key, value) in [
        ("quiz.host", "quiz.test"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.response.body.size", length.to_string().as_str()),
        ("url.scheme", "http"),
        ("url.path", "/a"),
        ("server.address", "quiz.test"),
        ("server.port", "8080"),
        ("client.address", "127.0.0.1"),
    ] {
        assert_eq!(attribute(&span.attributes, key), value, "{key}");
    }
    let shown = format!("{span:?}");
    assert!(!shown.contains("token"), "{shown}");
    proxy.wait_for_log(&format!(r#""spanID":"{span_id}""#));
    let log = proxy.log();
    assert!(log.contains(&format!(r#""traceID":"{TRACE}""#)), "{log}");
    assert!(!log.contains("hush"), "{log}");
}

#[test]
fn spans_arrive_over_http() {
    spans_arrive("http/protobuf");
}

#[test]
fn spans_arrive_over_grpc() {
    spans_arrive("grpc");
}

#[test]
fn failures_of_the_server_are_marked_and_faults_of_clients_are_not() {
    let collector = Collector::start();
    let mut proxy = Proxy::new();
    proxy.environment = vec![(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        format!("http://{}/v1/traces", collector.address),
    )];
    let failing = json!({"handler": "error", "status_code": "{http.request.header.status}"});
    proxy.write(traced(&proxy, &failing));
    proxy.start();
    for status in ["404", "500"] {
        let answer = exchange(
            proxy.http,
            &format!(
                "GET / HTTP/1.1\r\nHost: a.test\r\nstatus: {status}\r\nConnection: close\r\n\r\n"
            ),
        );
        assert!(answer.unwrap().contains(status));
    }
    assert_eq!(proxy.stop(), 0);
    let marks: Vec<(String, i32)> = collector
        .spans()
        .iter()
        .map(|(_, span)| {
            let code = attribute(&span.attributes, "http.response.status_code");
            (code, span.status.clone().unwrap_or_default().code)
        })
        .collect();
    let expected = [
        ("404".to_owned(), StatusCode::Unset as i32),
        ("500".to_owned(), StatusCode::Error as i32),
    ];
    assert_eq!(marks, expected);
}

#[test]
fn a_collector_that_is_down_costs_no_request_and_is_in_the_log() {
    let mut proxy = Proxy::new();
    proxy.environment = vec![
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://127.0.0.1:1".to_owned(),
        ),
        ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()),
    ];
    proxy.write(traced(&proxy, &ids()));
    proxy.start();
    let answer = get(proxy.http, "a.test", "/").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    proxy.wait_for("word of the collector", |proxy| {
        let log = proxy.log();
        log.contains("traces were not taken") && log.contains("http://127.0.0.1:1\"")
    });
    assert_eq!(proxy.stop(), 0);
}

#[test]
fn without_propagation_and_collector_only_placeholders_are_set() {
    let mut proxy = Proxy::new();
    proxy.environment = vec![
        ("OTEL_PROPAGATORS", "none".to_owned()),
        ("OTEL_TRACES_EXPORTER", "none".to_owned()),
    ];
    proxy.write(traced(&proxy, &ids()));
    proxy.start();
    let answer = body(&get(proxy.http, "a.test", "/").unwrap());
    assert_eq!(answer[0], "");
    assert_eq!((answer[1].len(), answer[2].len()), (32, 16), "{answer:?}");
    assert_eq!(proxy.stop(), 0);
}

#[test]
fn environment_that_is_no_good_is_an_error_at_the_start() {
    let mut proxy = Proxy::new();
    proxy.environment = vec![("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json".to_owned())];
    proxy.write(traced(&proxy, &ids()));
    let finished = proxy.run(&["serve"]);
    assert_eq!(finished.code, 2, "{finished:?}");
    let expected = "OTEL_EXPORTER_OTLP_PROTOCOL is `http/json`: it can be grpc, http/protobuf";
    assert!(finished.stderr.contains(expected), "{finished:?}");
}
