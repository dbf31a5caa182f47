//! What is known of each upstream, over all workers and reloads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use upstream::{BodyError, BodyObserver};

use super::{failure, health};
use crate::log_limit::LogLimit;

/// All upstreams in use, by address as configured. One for the process, since the same upstream
/// stays what it is over reloads and in several sites. Asked when configurations are compiled, and
/// by `status`.
static UPSTREAMS: Mutex<BTreeMap<Box<str>, Weak<UpstreamState>>> = Mutex::new(BTreeMap::new());

/// What is known of one upstream.
#[derive(Debug)]
pub(crate) struct UpstreamState {
    address: Arc<str>,
    requests: AtomicUsize,
    failures: AtomicU64,
    /// Whether `recent` may hold something, so that healthy upstreams cost no lock.
    has_recent: AtomicBool,
    recent: Mutex<Recent>,
    log: LogLimit,
    script_log: LogLimit,
}

#[derive(Debug, Default)]
struct Recent {
    /// When each remembered failure is forgotten.
    forgotten_at: VecDeque<Instant>,
    last_failure: String,
}

/// A request that an upstream is busy with.
#[derive(Debug)]
pub(crate) struct InFlight(Option<Arc<UpstreamState>>);

/// What is known of one upstream, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamFigures {
    /// The address as configured.
    pub address: String,
    /// Whether requests are sent to it.
    pub is_healthy: bool,
    /// What its active health check found, where there is one.
    pub health_check: Option<String>,
    /// Requests in flight.
    pub requests_in_flight: u64,
    /// Requests that failed since start.
    pub failures: u64,
    /// The last failure, if there was one.
    pub last_failure: Option<String>,
}

/// When failures make an upstream unavailable (Caddy: passive health checks).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FailureLimit {
    /// How long a failure is remembered; zero turns this off.
    pub(crate) duration: Duration,
    /// So many remembered failures are too many.
    pub(crate) count: usize,
}

/// What is known of all upstreams in use, by address.
pub fn upstream_states() -> Vec<UpstreamFigures> {
    let states = UPSTREAMS.lock();
    let live = states.values().filter_map(Weak::upgrade);
    live.map(|state| state.figures()).collect()
}

impl UpstreamState {
    /// The state of the upstream at `address`: the one that is in use already, or a new one.
    pub(crate) fn of(address: &str) -> Arc<Self> {
        let mut states = UPSTREAMS.lock();
        if let Some(state) = states.get(address).and_then(Weak::upgrade) {
            return state;
        }
        // Now and then, so that ten thousand upstreams are not looked at for each of them.
        if states.len().is_power_of_two() {
            states.retain(|_, state| state.strong_count() > 0);
        }
        let state = Arc::new(Self::new(address));
        states.insert(address.into(), Arc::downgrade(&state));
        state
    }

    fn new(address: &str) -> Self {
        Self {
            address: address.into(),
            requests: AtomicUsize::new(0),
            failures: AtomicU64::new(0),
            has_recent: AtomicBool::new(false),
            recent: Mutex::default(),
            log: LogLimit::new(),
            script_log: LogLimit::new(),
        }
    }

    /// The address as configured.
    pub(crate) fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// Requests in flight.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// A request begins, and ends when the result is dropped.
    pub(crate) fn begin_request(self: &Arc<Self>) -> InFlight {
        self.requests.fetch_add(1, Ordering::Relaxed);
        InFlight(Some(Arc::clone(self)))
    }

    /// A request failed, and why; remembered for `limit`.
    pub(crate) fn count_failure(&self, reason: &str, limit: FailureLimit) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut recent = self.recent.lock();
        recent.last_failure.clear();
        recent.last_failure.push_str(reason);
        if !limit.duration.is_zero() {
            recent
                .forgotten_at
                .push_back(Instant::now() + limit.duration);
            self.has_recent.store(true, Ordering::Relaxed);
        }
    }

    /// Whether remembered failures do not speak against it.
    pub(crate) fn is_healthy(&self, limit: FailureLimit) -> bool {
        if limit.duration.is_zero() || !self.has_recent.load(Ordering::Relaxed) {
            return true;
        }
        let now = Instant::now();
        let mut recent = self.recent.lock();
        recent.forgotten_at.retain(|at| *at > now);
        if recent.forgotten_at.is_empty() {
            self.has_recent.store(false, Ordering::Relaxed);
        }
        recent.forgotten_at.len() < limit.count
    }

    /// Whether a failure is to be logged now, and if so how many were not since the last one.
    pub(crate) fn may_log(&self) -> Option<u64> {
        self.log.permit()
    }

    /// As [`Self::may_log`], for what a script writes to its standard error.
    pub(crate) fn may_log_script(&self) -> Option<u64> {
        self.script_log.permit()
    }

    fn figures(&self) -> UpstreamFigures {
        let recent = self.recent.lock();
        let now = Instant::now();
        let is_struck = recent.forgotten_at.iter().any(|at| *at > now);
        let (is_up, health_check) = match health::report(&self.address) {
            Some((is_up, report)) => (is_up, Some(report)),
            None => (true, None),
        };
        UpstreamFigures {
            address: self.address.to_string(),
            is_healthy: is_up && !is_struck,
            health_check,
            requests_in_flight: self.requests() as u64,
            failures: self.failures.load(Ordering::Relaxed),
            last_failure: Some(recent.last_failure.clone()).filter(|reason| !reason.is_empty()),
        }
    }
}

impl BodyObserver for UpstreamState {
    fn failed(&self, error: &BodyError) {
        self.count_failure(&error.to_string(), FailureLimit::default());
        failure::log_broken_response(self, error);
    }

    fn ended(&self) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl InFlight {
    /// Lets the response's body end the request instead.
    pub(crate) fn into_observer(mut self) -> Option<Arc<dyn BodyObserver>> {
        self.0.take().map(|state| state as Arc<dyn BodyObserver>)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(state) = &self.0 {
            state.ended();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_shared_while_they_are_in_use() {
        let state = UpstreamState::of("shared.test:1");
        let in_flight = state.begin_request();
        assert_eq!(UpstreamState::of("shared.test:1").requests(), 1);
        drop(in_flight);
        assert_eq!(state.requests(), 0);
        state.count_failure("refused", FailureLimit::default());
        let shown = |shown: &UpstreamFigures| shown.address == "shared.test:1";
        assert!(upstream_states().iter().any(shown));
        drop(state);
        assert!(!upstream_states().iter().any(shown));
        assert_eq!(UpstreamState::of("shared.test:1").figures().failures, 0);
    }

    #[test]
    fn failures_are_remembered_for_a_while() {
        let state = UpstreamState::new("web:8000");
        let limit = FailureLimit {
            duration: Duration::from_secs(60),
            count: 2,
        };
        state.count_failure("refused", limit);
        assert!(state.is_healthy(limit));
        state.count_failure("refused", limit);
        assert!(!state.is_healthy(limit));
        // Whoever does not count failures is not concerned.
        assert!(state.is_healthy(FailureLimit::default()));

        let state = UpstreamState::new("web:8000");
        let brief = FailureLimit {
            duration: Duration::from_nanos(1),
            count: 1,
        };
        state.count_failure("refused", brief);
        assert!(state.is_healthy(brief));
        assert_eq!(state.figures().failures, 1);
        assert_eq!(state.figures().last_failure.unwrap(), "refused");
    }
}
