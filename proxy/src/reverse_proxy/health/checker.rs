//! Runs the checks of the configuration in force.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use proto::sidecar::dns::Resolver;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use super::probe::Probe;
use super::{Change, Check};
use crate::compile::Config;

/// Runs the active health checks, on a runtime that is not the workers'.
pub struct Checker {
    resolver: Resolver,
    runtime: Handle,
    running: Mutex<Vec<Running>>,
}

/// Stops its check when it is dropped.
struct Running {
    check: Arc<Check>,
    task: AbortHandle,
}

impl Checker {
    /// Checks nothing yet; will do so on the runtime that this is called on.
    pub fn new(resolver: Resolver) -> Self {
        Self {
            resolver,
            runtime: Handle::current(),
            running: Mutex::default(),
        }
    }

    /// Runs the checks of `config` and no others; those that run already go on undisturbed.
    pub fn apply(&self, config: &Config) {
        let mut wanted: Vec<&Arc<Check>> = Vec::new();
        for check in config.servers.iter().flat_map(|server| &server.checks) {
            if !wanted.iter().any(|known| Arc::ptr_eq(known, check)) {
                wanted.push(check);
            }
        }
        let mut running = self.running.lock();
        running.retain(|run| wanted.iter().any(|check| Arc::ptr_eq(check, &run.check)));
        for check in wanted {
            if running.iter().any(|run| Arc::ptr_eq(check, &run.check)) {
                continue;
            }
            let task = run(Arc::clone(check), self.resolver.clone());
            running.push(Running {
                check: Arc::clone(check),
                task: self.runtime.spawn(task).abort_handle(),
            });
        }
    }
}

async fn run(check: Arc<Check>, resolver: Resolver) {
    let settings = &check.settings;
    let upstream = &settings.upstream;
    let probe = match Probe::new(settings, resolver) {
        Ok(probe) => probe,
        Err(cause) => {
            tracing::error!(%upstream, cause, "the health of `{upstream}` cannot be checked");
            return;
        }
    };
    let mut ticks = tokio::time::interval(settings.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = probe.ask(settings).await;
        let reason = answer.as_ref().err().cloned().unwrap_or_default();
        match check.count(answer) {
            Change::None => {}
            Change::Down => tracing::warn!(
                %upstream,
                "`{upstream}` is down and gets no requests until its health check passes: {reason}"
            ),
            Change::Up => tracing::info!(%upstream, "`{upstream}` is up again"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker")
            .field("running", &self.running.lock().len())
            .finish_non_exhaustive()
    }
}
