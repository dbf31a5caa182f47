//! What is counted, for Prometheus.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use proto::certs::v1;

use crate::manager::{Manager, NameFigures};
use crate::policy::{IssuerId, IssuerPolicy};
use crate::store::local::Rebuilds;

/// Counters of what the manager does.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    orders: Family<Labels, Counter>,
    polls: Family<Labels, Counter>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Without a certificate.
    Failed,
    /// With a certificate.
    Issued,
}

/// What an authority answered when it was asked about renewal (RFC 9773).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// Nothing: it could not be asked.
    Failed,
    /// It suggests no window.
    NoWindow,
    /// A window.
    Window,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    issuer: String,
    outcome: &'static str,
}

impl Metrics {
    /// Counts an attempt.
    pub fn count(&self, issuer: &IssuerPolicy, outcome: Outcome) {
        let labels = Labels {
            issuer: issuer.id().to_string(),
            outcome: match outcome {
                Outcome::Failed => "failed",
                Outcome::Issued => "issued",
            },
        };
        self.orders.get_or_create(&labels).inc();
    }

    /// Counts a question about renewal.
    pub fn count_poll(&self, issuer: &IssuerId, poll: Poll) {
        let labels = Labels {
            issuer: issuer.to_string(),
            outcome: match poll {
                Poll::Failed => "failed",
                Poll::NoWindow => "no_window",
                Poll::Window => "window",
            },
        };
        self.polls.get_or_create(&labels).inc();
    }

    /// Makes the counters known to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "certificate_orders",
            "Attempts to obtain a certificate, by issuer and outcome",
            self.orders.clone(),
        );
        registry.register(
            "renewal_info_polls",
            "Questions to authorities about when to renew, by issuer and outcome",
            self.polls.clone(),
        );
    }
}

/// Makes the state of `manager` and of its store known to `registry`.
pub fn register_state(registry: &mut Registry, manager: Arc<Manager>, rebuilds: Rebuilds) {
    registry.register_collector(Box::new(State { manager, rebuilds }));
}

/// Read when metrics are asked for, so that they always say what is true then.
struct State {
    manager: Arc<Manager>,
    rebuilds: Rebuilds,
}

impl Collector for State {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let names = self.manager.name_figures();
        encode_states(&mut encoder, &names)?;
        encode_names(&mut encoder, &names)?;
        let figures = self.manager.figures();
        for (metric, help, count) in [
            (
                "attempts_under_way",
                "Names that something is being done about",
                figures.under_way,
            ),
            (
                "attempts_waiting",
                "Names that are due and wait for a limit, a proxy, or another attempt",
                figures.waiting,
            ),
        ] {
            let gauge = encoder.encode_descriptor(metric, help, None, MetricType::Gauge)?;
            ConstGauge::new(number(count)).encode(gauge)?;
        }
        let counter = encoder.encode_descriptor(
            "store_rebuilds",
            "How often the database was rebuilt or completed from the certificate files",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(self.rebuilds.count()).encode(counter)?;
        let counter = encoder.encode_descriptor(
            "store_damaged_files",
            "Certificates, orders, accounts and authorities whose files were damaged or gone",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(self.rebuilds.damaged_files()).encode(counter)
    }
}

fn encode_states(
    encoder: &mut DescriptorEncoder<'_>,
    names: &[NameFigures],
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(
        "certificates",
        "Names by the state of their certificate",
        None,
        MetricType::Gauge,
    )?;
    for state in STATES {
        let count = names.iter().filter(|name| name.state == state).count();
        let labels = [("state", state_label(state))];
        ConstGauge::new(number(count)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn encode_names(
    encoder: &mut DescriptorEncoder<'_>,
    names: &[NameFigures],
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(
        "certificate_not_after_seconds",
        "End of validity of each stored certificate, in seconds since 1970",
        None,
        MetricType::Gauge,
    )?;
    for name in names {
        if let Some(not_after) = name.not_after {
            let labels = [("name", name.name.as_str())];
            ConstGauge::new(not_after.as_second()).encode(family.encode_family(&labels)?)?;
        }
    }
    let mut family = encoder.encode_descriptor(
        "certificate_attempts",
        "Attempts to obtain a certificate for each name since the start, by outcome",
        None,
        MetricType::Counter,
    )?;
    for name in names {
        for (outcome, count) in [("issued", name.obtained), ("failed", name.failed)] {
            if count > 0 {
                let labels = [("name", name.name.as_str()), ("outcome", outcome)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    let mut family = encoder.encode_descriptor(
        "certificate_last_error_seconds",
        "When the last attempt for a name failed, in seconds since 1970, by kind of problem",
        None,
        MetricType::Gauge,
    )?;
    for name in names {
        if let Some((at, kind)) = name.last_error {
            let labels = [("name", name.name.as_str()), ("kind", kind)];
            ConstGauge::new(at.as_second()).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

const STATES: [v1::State; 6] = [
    v1::State::Pending,
    v1::State::Issuing,
    v1::State::Valid,
    v1::State::Renewing,
    v1::State::Failed,
    v1::State::Unused,
];

/// A state in lower case.
pub(crate) fn state_label(state: v1::State) -> &'static str {
    match state {
        v1::State::Unspecified => "unknown",
        v1::State::Pending => "pending",
        v1::State::Issuing => "issuing",
        v1::State::Valid => "valid",
        v1::State::Renewing => "renewing",
        v1::State::Failed => "failed",
        v1::State::Unused => "unused",
    }
}
