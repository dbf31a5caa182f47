//! Active health checks: asking upstreams how they are, beside the requests of clients.
//!
//! One [`Checker`] for the process asks; workers only look at a flag of the [`Check`]. The check
//! of an upstream is the same one for as long as nothing of it changes in the configuration, so a
//! reload neither forgets that an upstream is down nor asks it once more.
//!
//! ```text
//! up ── `fails` bad answers in a row ──► down
//!  ▲                                      │
//!  └──── `passes` good ones in a row ─────┘      (nobody asked yet: up)
//! ```

mod checker;
mod compile;
mod probe;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use parking_lot::Mutex;
use upstream::{Address, Target};

pub use self::checker::Checker;
pub(super) use self::compile::Plan;

/// Live checks by the address of their upstream.
type Registry = Mutex<HashMap<Box<str>, Vec<Weak<Check>>>>;

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::default);

/// The health check of one upstream, and what came of it.
pub struct Check {
    settings: Settings,
    is_down: AtomicBool,
    tally: Mutex<Tally>,
}

/// What is asked, and which answers are good.
#[derive(Clone, Debug)]
struct Settings {
    /// The upstream's address as configured.
    upstream: Box<str>,
    /// What is dialled: the upstream, or what stands for it.
    dial: Address,
    /// How it is spoken to.
    target: Arc<Target>,
    /// The URI in origin form.
    uri: Box<str>,
    method: Method,
    headers: Box<[(HeaderName, HeaderValue)]>,
    body: Box<str>,
    follows_redirects: bool,
    interval: Duration,
    timeout: Duration,
    expected: Expected,
    /// Good answers in a row that make it healthy.
    passes: u32,
    /// Bad answers in a row that make it unhealthy.
    fails: u32,
}

/// Which answers are good.
#[derive(Clone, Debug)]
struct Expected {
    /// A status, a class as one digit, or 0 for 2xx.
    status: u16,
    body: Option<regex::bytes::Regex>,
    /// As much of the body is read, in bytes.
    max_size: usize,
}

#[derive(Debug, Default)]
struct Tally {
    /// Answers like the last one, in a row.
    in_a_row: u32,
    last: Option<Result<(), String>>,
}

/// What an answer led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Down,
    None,
    Up,
}

impl Check {
    /// The check with these settings: the one that is in use already, or a new one.
    fn of(settings: Settings) -> Arc<Self> {
        let mut registry = REGISTRY.lock();
        let same_upstream = registry.entry(settings.upstream.clone()).or_default();
        same_upstream.retain(|check| check.strong_count() > 0);
        let known = same_upstream.iter().filter_map(Weak::upgrade);
        if let Some(check) = known.into_iter().find(|check| check.settings == settings) {
            return check;
        }
        let check = Arc::new(Self {
            settings,
            is_down: AtomicBool::new(false),
            tally: Mutex::default(),
        });
        same_upstream.push(Arc::downgrade(&check));
        check
    }

    /// Whether requests may be sent to the upstream.
    pub(super) fn is_up(&self) -> bool {
        !self.is_down.load(Ordering::Relaxed)
    }

    /// Counts an answer; `Err` says what was wrong with it.
    fn count(&self, answer: Result<(), String>) -> Change {
        let mut tally = self.tally.lock();
        let is_good = answer.is_ok();
        let was_good = tally.last.as_ref().map(Result::is_ok);
        tally.in_a_row = match was_good {
            Some(was_good) if was_good == is_good => tally.in_a_row.saturating_add(1),
            _ => 1,
        };
        tally.last = Some(answer);
        let limit = match is_good {
            true => self.settings.passes,
            false => self.settings.fails,
        };
        if tally.in_a_row < limit || self.is_up() == is_good {
            return Change::None;
        }
        self.is_down.store(!is_good, Ordering::Relaxed);
        match is_good {
            true => Change::Up,
            false => Change::Down,
        }
    }

    /// What came of it so far, for people.
    fn report(&self) -> String {
        let last = self.tally.lock().last.clone();
        match (self.is_up(), last) {
            (_, None) => "not checked yet".to_owned(),
            (true, Some(Ok(()))) => "up".to_owned(),
            (true, Some(Err(reason))) => format!("up, but: {reason}"),
            (false, Some(Err(reason))) => format!("down: {reason}"),
            (false, Some(Ok(()))) => "down, but answers again".to_owned(),
        }
    }
}

/// Whether no check of the upstream at `address` speaks against it, and what they say; `None`
/// where it is not checked.
pub(super) fn report(address: &str) -> Option<(bool, String)> {
    let registry = REGISTRY.lock();
    let checks = registry.get(address)?.iter().filter_map(Weak::upgrade);
    let mut is_up = true;
    let mut reports: Vec<String> = Vec::new();
    for check in checks {
        is_up &= check.is_up();
        reports.push(check.report());
    }
    reports.sort_unstable();
    reports.dedup();
    (!reports.is_empty()).then(|| (is_up, reports.join("; ")))
}

impl Drop for Check {
    fn drop(&mut self) {
        let mut registry = REGISTRY.lock();
        if let Some(checks) = registry.get_mut(&self.settings.upstream) {
            checks.retain(|check| check.strong_count() > 0);
            if checks.is_empty() {
                registry.remove(&self.settings.upstream);
            }
        }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("upstream", &self.settings.upstream)
            .field("is_up", &self.is_up())
            .finish_non_exhaustive()
    }
}

impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            upstream,
            dial,
            target,
            uri,
            method,
            headers,
            body,
            follows_redirects,
            interval,
            timeout,
            expected,
            passes,
            fails,
        } = self;
        let pattern = |expected: &Expected| {
            let body = expected.body.as_ref();
            body.map(|body| body.as_str().to_owned())
        };
        *upstream == other.upstream
            && *dial == other.dial
            // Equal settings have the same target.
            && Arc::ptr_eq(target, &other.target)
            && *uri == other.uri
            && *method == other.method
            && *headers == other.headers
            && *body == other.body
            && *follows_redirects == other.follows_redirects
            && *interval == other.interval
            && *timeout == other.timeout
            && expected.status == other.expected.status
            && expected.max_size == other.expected.max_size
            && pattern(expected) == pattern(&other.expected)
            && *passes == other.passes
            && *fails == other.fails
    }
}

#[cfg(test)]
mod tests;
