//! What the server counts.

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::serve::error::ServeError;

/// The counters of a server. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Bytes of response bodies.
    pub sent_bytes: Counter,
    /// Open files that proxies were given.
    pub handed_over: Counter,
    /// Requests for which the kernel's memory was not enough.
    pub disk_lookups: Counter,
    /// Open connections.
    pub connections: Gauge,
    errors: Family<ErrorLabels, Counter>,
    by_class: [Counter; 5],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabels {
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    reason: &'static str,
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Metrics {
    /// Counters that `registry` shows.
    pub fn register(registry: &mut Registry) -> Self {
        let requests = Family::<ClassLabels, Counter>::default();
        // Looked up once, so that counting a request takes no lock.
        let by_class =
            CLASSES.map(|status| requests.get_or_create(&ClassLabels { status }).clone());
        let metrics = Self {
            sent_bytes: Counter::default(),
            handed_over: Counter::default(),
            disk_lookups: Counter::default(),
            connections: Gauge::default(),
            errors: Family::default(),
            by_class,
        };
        registry.register(
            "static_server_requests",
            "Requests answered, by class of status",
            requests,
        );
        registry.register(
            "static_server_sent_bytes",
            "Bytes of response bodies",
            metrics.sent_bytes.clone(),
        );
        registry.register(
            "static_server_handed_over",
            "Open files that proxies on this host were given",
            metrics.handed_over.clone(),
        );
        registry.register(
            "static_server_disk_lookups",
            "Requests that had to wait for the disk",
            metrics.disk_lookups.clone(),
        );
        registry.register(
            "static_server_errors",
            "Files that could not be served, by reason",
            metrics.errors.clone(),
        );
        registry.register(
            "static_server_connections",
            "Open HTTP connections",
            metrics.connections.clone(),
        );
        metrics
    }

    /// Counts a response.
    pub fn count_response(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len());
        self.by_class[class - 1].inc();
    }

    /// Counts an error, if it is one that an operator should know of.
    pub fn count_error(&self, error: &ServeError) {
        if let Some(reason) = error.reason() {
            self.errors.get_or_create(&ErrorLabels { reason }).inc();
        }
    }
}
