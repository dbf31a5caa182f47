//! The proxy's metrics, for `/metrics` of the administration listener.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use downstream::{Figures, Server};
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::certs::Certificates;
use crate::edge::Shared;
use crate::http_cache::figures::{self, FIGURES};

/// What is counted in the control plane. Workers count for themselves.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    reloads: Arc<Reloads>,
}

#[derive(Debug, Default)]
struct Reloads {
    applied: AtomicU64,
    refused: AtomicU64,
}

impl Metrics {
    /// Notes a reload.
    pub fn count_reload(&self, is_applied: bool) {
        let counter = if is_applied {
            &self.reloads.applied
        } else {
            &self.reloads.refused
        };
        counter.fetch_add(1, Relaxed);
    }

    /// A registry over everything that the proxy knows of itself.
    pub fn registry(
        &self,
        server: &Arc<Server>,
        shared: &Arc<Shared>,
        certificates: &Certificates,
    ) -> Arc<Mutex<Registry>> {
        let mut registry = Registry::with_prefix("proxy");
        registry.register_collector(Box::new(State {
            metrics: self.clone(),
            server: Arc::downgrade(server),
            shared: Arc::clone(shared),
            certificates: certificates.clone(),
        }));
        Arc::new(Mutex::new(registry))
    }
}

/// Reads the figures when they are asked for.
struct State {
    metrics: Metrics,
    server: Weak<Server>,
    shared: Arc<Shared>,
    certificates: Certificates,
}

impl Collector for State {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Figures {
            accepted,
            connections,
            tunnels,
            requests,
            handshakes_failed,
        } = self
            .server
            .upgrade()
            .map(|server| server.figures())
            .unwrap_or_default();
        let reloads = &self.metrics.reloads;
        let (cached_bytes, cached_uris) = figures::size();
        for (name, help, value) in [
            (
                "connections_accepted",
                "Client connections accepted",
                accepted,
            ),
            ("requests", "Requests received", requests),
            (
                "tls_handshakes_failed",
                "TLS handshakes that failed",
                handshakes_failed,
            ),
            (
                "cache_hits",
                "Requests that `cache` answered with what was fresh",
                FIGURES.hits.load(Relaxed),
            ),
            (
                "cache_stale",
                "Requests that `cache` answered with what was stale",
                FIGURES.stale.load(Relaxed),
            ),
            (
                "cache_collapsed",
                "Requests that `cache` answered with what another one was being given",
                FIGURES.collapsed.load(Relaxed),
            ),
            (
                "cache_misses",
                "Requests that `cache` sent on for want of a response",
                FIGURES.misses.load(Relaxed),
            ),
            (
                "reloads_applied",
                "Reloads put in force",
                reloads.applied.load(Relaxed),
            ),
            (
                "reloads_refused",
                "Reloads refused for errors",
                reloads.refused.load(Relaxed),
            ),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(
                name,
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        for (name, help, value) in [
            (
                "connections",
                "Client connections open, tunnels among them",
                connections,
            ),
            ("cache_bytes", "Bytes that `cache` keeps", cached_bytes),
            (
                "cache_uris",
                "URIs that `cache` has a response for",
                cached_uris,
            ),
            ("tunnels", "Upgraded connections open", tunnels),
            (
                "cert_manager_connected",
                "Whether the stream to cert-manager is open",
                u64::from(self.certificates.is_connected()),
            ),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        self.encode_certificates(&mut encoder)
    }
}

impl State {
    /// One series per name that the configuration wants a certificate for.
    fn encode_certificates(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let config = self.shared.config.load();
        let gauge = ConstGauge::new(0.0_f64);
        let mut family = encoder.encode_descriptor(
            "certificate_not_after_timestamp",
            "End of validity of the certificate in use; 0 while there is none",
            Some(&Unit::Seconds),
            gauge.metric_type(),
        )?;
        for name in config.certificates.names.keys() {
            let not_after = self
                .certificates
                .table()
                .find(name)
                .map_or(0.0, |certificate| {
                    certificate
                        .not_after()
                        .duration_since(SystemTime::UNIX_EPOCH)
                        .map_or(0.0, |since| since.as_secs_f64())
                });
            ConstGauge::new(not_after).encode(family.encode_family(&[("name", name.as_str())])?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}
