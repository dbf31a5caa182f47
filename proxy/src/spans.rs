//! Spans of requests, sent to a collector over OTLP (Caddy: `tracing`).
//!
//! A span is recorded by the worker that handles its request, and sent with others by a thread of
//! its own, which drops them when the collector does not keep up: requests never wait for it.

mod settings;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{
    Protocol, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::{self, SdkTracer, SdkTracerProvider, SpanData};
use tokio::runtime::Handle;
use tonic::transport::{Certificate, ClientTlsConfig};

pub(crate) use self::settings::Settings;
use self::settings::{Collector, Transport};
use crate::log_limit::LogLimit;

/// Where spans are recorded, from the first request that wants one on.
#[derive(Default)]
pub struct Spans {
    /// Runs the connections to the collector; without, nothing is sent.
    runtime: Option<Handle>,
    started: OnceLock<Started>,
}

struct Started {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Spans {
    /// Spans that are sent to the collector that the environment names, by connections that live
    /// on `runtime`.
    pub fn exporting(runtime: Handle) -> Self {
        Self {
            runtime: Some(runtime),
            started: OnceLock::new(),
        }
    }

    /// What begins spans.
    pub fn tracer(&self) -> &SdkTracer {
        &self
            .started
            .get_or_init(|| Started::new(self.runtime.as_ref()))
            .tracer
    }

    /// Sends what has not been sent. Blocks for at most `timeout`.
    pub fn finish(&self, timeout: Duration) {
        if let Some(started) = self.started.get()
            && let Err(error) = started.provider.shutdown_with_timeout(timeout)
        {
            tracing::warn!(%error, "the last traces may be missing");
        }
    }
}

impl Started {
    fn new(runtime: Option<&Handle>) -> Self {
        let mut provider = SdkTracerProvider::builder().with_resource(resource());
        if let Some(runtime) = runtime {
            match exporter(runtime) {
                Ok(Some(exporter)) => provider = provider.with_batch_exporter(exporter),
                Ok(None) => {}
                Err(error) => tracing::error!(error, "traces are not sent"),
            }
        }
        let provider = provider.build();
        let tracer = provider.tracer("proxy");
        Self { provider, tracer }
    }
}

/// Who the spans are from, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` say otherwise.
fn resource() -> Resource {
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", "portico"),
            KeyValue::new("webengine.name", "Portico"),
            KeyValue::new("webengine.version", env!("CARGO_PKG_VERSION")),
        ])
        .with_detector(Box::new(EnvResourceDetector::new()))
        .with_detector(Box::new(
            opentelemetry_sdk::resource::TelemetryResourceDetector,
        ))
        .with_attributes(
            std::env::var("OTEL_SERVICE_NAME")
                .ok()
                .filter(|name| !name.is_empty())
                .map(|name| KeyValue::new("service.name", name)),
        )
        .build()
}

fn exporter(runtime: &Handle) -> Result<Option<Reporting>, String> {
    let Some(collector) = Settings::from_environment()?.collector else {
        return Ok(None);
    };
    // Connections belong to the runtime that they are made in.
    let _in_runtime = runtime.enter();
    let built = match collector.transport {
        Transport::Grpc => {
            let mut builder = SpanExporter::builder()
                .with_tonic()
                .with_timeout(collector.timeout);
            if let Some(tls) = grpc_tls(&collector)? {
                builder = builder.with_tls_config(tls);
            }
            builder.build()
        }
        Transport::Http => SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(collector.timeout)
            .with_http_client(http_client(&collector)?)
            .build(),
    };
    Ok(Some(Reporting {
        exporter: Arc::new(built.map_err(|error| error.to_string())?),
        runtime: runtime.clone(),
        collector: collector.name,
        limit: LogLimit::new(),
    }))
}

fn grpc_tls(collector: &Collector) -> Result<Option<ClientTlsConfig>, String> {
    if !collector.is_encrypted {
        return Ok(None);
    }
    let tls = ClientTlsConfig::new();
    Ok(Some(match collector.authority()? {
        Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
        None => tls.with_webpki_roots(),
    }))
}

fn http_client(collector: &Collector) -> Result<reqwest::Client, String> {
    let mut roots = rustls::RootCertStore::empty();
    match collector.authority()? {
        Some(pem) => {
            use rustls_pki_types::CertificateDer;
            use rustls_pki_types::pem::PemObject;

            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| error.to_string())?;
                roots.add(certificate).map_err(|error| error.to_string())?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let tls = rustls::ClientConfig::builder_with_provider(proto::sidecar::identity::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(collector.timeout)
        .build()
        .map_err(|error| error.to_string())
}

/// Sends spans from the runtime, and says in the log when they do not arrive.
struct Reporting {
    exporter: Arc<SpanExporter>,
    runtime: Handle,
    /// Scheme, host and port.
    collector: String,
    limit: LogLimit,
}

impl trace::SpanExporter for Reporting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exporter = Arc::clone(&self.exporter);
        let sending = self
            .runtime
            .spawn(async move { exporter.export(batch).await });
        let sent = match sending.await {
            Ok(sent) => sent,
            Err(error) => Err(OTelSdkError::InternalFailure(error.to_string())),
        };
        if let Err(error) = &sent
            && let Some(suppressed) = self.limit.permit()
        {
            tracing::warn!(
                collector = self.collector,
                spans,
                suppressed,
                %error,
                "traces were not taken: does the collector run, and is it what \
                 OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_PROTOCOL say?"
            );
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spans")
            .field("is_started", &self.started.get().is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Reporting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The exporter's own would show its fields, in which tokens are.
        f.debug_struct("Reporting")
            .field("collector", &self.collector)
            .finish_non_exhaustive()
    }
}
