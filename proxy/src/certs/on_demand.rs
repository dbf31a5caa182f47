//! Certificates for names that clients bring: obtained from cert-manager while the client waits.
//!
//! What was obtained once is declared like any other name from then on, also after a restart, until
//! nobody has asked for it for [`UNUSED_AFTER`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use downstream::{Certificate, Obtaining, OnDemand};
use parking_lot::Mutex;
use proto::certs::v1::{ObtainRequest, Policy};
use proto::sidecar::error_chain::Chain;
use tokio::sync::watch;
use tonic::{Code, Status};

use super::{Certificates, cache, declaration, rfc3339};
use crate::log_limit::LogLimit;

/// A name that no handshake has been for in this time is not declared any more.
const UNUSED_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often uses are noted and what is unused or expired goes.
pub(super) const TEND_INTERVAL: Duration = Duration::from_secs(600);
/// A use is noted again after this time.
const USE_INTERVAL: Duration = Duration::from_secs(3600);

/// How long cert-manager may take. CertMagic: 90 seconds.
const PATIENCE: Duration = Duration::from_secs(90);
/// Names that are obtained at once.
const FLIGHTS: usize = 64;
/// Refusals that are remembered at most.
const REFUSALS: usize = 4096;

/// What is under way, and what has failed just now.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// By name, what ends when its attempt does.
    flights: Mutex<HashMap<Box<str>, watch::Receiver<()>>>,
    /// By name, until when it is refused.
    refused: Mutex<HashMap<Box<str>, Instant>>,
}

/// An attempt under way, until this is dropped.
struct Flight {
    certificates: Certificates,
    name: Box<str>,
    _done: watch::Sender<()>,
}

/// Why there is no certificate.
struct Failure {
    reason: String,
    /// How long to refuse the name without asking again.
    refuse_for: Duration,
    /// It is as it should be, and not worth a warning.
    is_intended: bool,
}

impl OnDemand for Certificates {
    fn obtain(&self, name: &str) -> Option<Obtaining> {
        let policy = self.wanted.borrow().plan.on_demand(name)?;
        if self.attempts.is_refused(name) {
            return None;
        }
        let mut flights = self.attempts.flights.lock();
        if let Some(flight) = flights.get(name) {
            return Some(landing(flight.clone()));
        }
        if flights.len() >= FLIGHTS {
            complain(name, "too many names are being obtained");
            return None;
        }
        let (done, landed) = watch::channel(());
        flights.insert(name.into(), landed.clone());
        drop(flights);
        let flight = Flight {
            certificates: self.clone(),
            name: name.into(),
            _done: done,
        };
        // Of the program and not of the worker: it goes on when the client does not wait.
        self.runtime.spawn(flight.run(policy));
        Some(landing(landed))
    }
}

fn landing(mut flight: watch::Receiver<()>) -> Obtaining {
    Box::pin(async move {
        // Fails when the sender is gone, which is what is waited for.
        let _ = flight.changed().await;
    })
}

impl Flight {
    async fn run(self, policy: usize) {
        if let Err(failure) = self.certificates.bring(&self.name, policy).await {
            self.certificates
                .attempts
                .refuse(&self.name, failure.refuse_for);
            if failure.is_intended {
                let name = &self.name;
                tracing::debug!(name, reason = failure.reason, "no certificate on demand");
            } else {
                complain(&self.name, &failure.reason);
            }
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let attempts = &self.certificates.attempts;
        attempts.flights.lock().remove(&self.name);
    }
}

impl Attempts {
    fn is_refused(&self, name: &str) -> bool {
        let refused = self.refused.lock();
        refused
            .get(name)
            .is_some_and(|until| Instant::now() < *until)
    }

    fn refuse(&self, name: &str, time: Duration) {
        let now = Instant::now();
        let mut refused = self.refused.lock();
        if refused.len() >= REFUSALS {
            refused.retain(|_, until| now < *until);
        }
        if refused.len() < REFUSALS {
            refused.insert(name.into(), now + time);
        }
    }
}

impl Certificates {
    /// Obtains a certificate for `name` and serves it.
    async fn bring(&self, name: &str, policy: usize) -> Result<(), Failure> {
        if self.bring_kept(name).await {
            return Ok(());
        }
        // The data path does not wait for a control plane that is away.
        if !self.is_connected() {
            return Err(Failure::unavailable(
                "there is no connection to cert-manager",
            ));
        }
        let request = ObtainRequest {
            name: name.to_owned(),
            policy: Some(self.policy(policy).await?),
        };
        let mut client = self.client.clone();
        let answered = tokio::time::timeout(PATIENCE, client.obtain(request))
            .await
            .map_err(|_| Failure::unavailable("cert-manager does not answer"))?;
        let received = answered
            .map_err(|status| Failure::of(&status))?
            .into_inner()
            .certificate
            .ok_or_else(|| Failure::unavailable("cert-manager answered without a certificate"))?;
        let now = SystemTime::now();
        let certificate = cache::assemble(&received.chain, &received.private_key, name, now)
            .map_err(|error| {
                Failure::unavailable(format!(
                    "cert-manager sent a certificate that cannot be served: {}",
                    Chain(&error)
                ))
            })?;
        tracing::info!(
            name,
            not_after = %rfc3339(certificate.not_after()),
            "serving a certificate that was obtained for a client"
        );
        self.adopt(name, Arc::new(certificate));
        self.keep_on_demand(name.to_owned(), received.chain, received.private_key)
            .await;
        Ok(())
    }

    /// Serves what another proxy with the same `--data`, or this one before, has kept for `name`.
    async fn bring_kept(&self, name: &str) -> bool {
        let (this, name) = (self.clone(), name.to_owned());
        let restored = tokio::task::spawn_blocking(move || {
            for (name, certificate) in this.on_demand_cache.restore(&[name.as_str()].into()) {
                this.adopt(&name, certificate);
                this.note_use(&name, SystemTime::now());
            }
            this.table.managed(&name).is_some()
        });
        restored.await.unwrap_or(false)
    }

    /// Serves and declares a name that a client has brought, unless it is not wanted any more.
    fn adopt(&self, name: &str, certificate: Arc<Certificate>) {
        self.wanted.send_if_modified(|wanted| {
            let Some(policy) = wanted.plan.on_demand(name) else {
                return false;
            };
            // Under the lock, so that a new plan does not take it away in between.
            self.table.insert([(name.into(), certificate)]);
            Arc::make_mut(&mut wanted.on_demand).insert(name.to_owned(), policy) != Some(policy)
        });
    }

    async fn policy(&self, index: usize) -> Result<Policy, Failure> {
        let plan = Arc::clone(&self.wanted.borrow().plan);
        let read = tokio::task::spawn_blocking(move || {
            let policy = plan.policies.get(index);
            policy.map_or_else(
                || Err("the configuration has changed".to_owned()),
                declaration::policy,
            )
        });
        read.await
            .unwrap_or_else(|error| Err(error.to_string()))
            .map_err(Failure::unavailable)
    }

    async fn keep_on_demand(&self, name: String, chain: Vec<Vec<u8>>, private_key: Vec<u8>) {
        let this = self.clone();
        let kept = tokio::task::spawn_blocking(move || {
            match this.on_demand_cache.store(&name, &chain, &private_key) {
                Ok(()) => this.note_use(&name, SystemTime::now()),
                Err(error) => tracing::warn!(
                    name,
                    error = %Chain(&error),
                    "cannot keep the certificate in --data: after a restart the name would be \
                     obtained anew"
                ),
            }
        });
        if let Err(error) = kept.await {
            tracing::error!(%error, "keeping a certificate failed");
        }
    }

    fn note_use(&self, name: &str, now: SystemTime) {
        if let Err(error) = self.on_demand_cache.note_use(name, now) {
            tracing::debug!(name, error = %Chain(&error), "the use of a name cannot be noted");
        }
    }

    /// Notes which of the names that clients brought are used, and lets go of the others. A
    /// certificate that has expired goes too, so that the next client has one obtained. Blocks.
    pub(super) fn tend_on_demand(&self, now: SystemTime) {
        let names = Arc::clone(&self.wanted.borrow().on_demand);
        for name in names.keys() {
            let certificate = self.table.managed(name);
            let is_used = certificate
                .as_ref()
                .is_some_and(|certificate| certificate.take_use());
            let used_at = self.on_demand_cache.used_at(name);
            let idle = used_at.map(|used_at| now.duration_since(used_at).unwrap_or_default());
            if is_used {
                if idle.is_some_and(|idle| idle >= USE_INTERVAL) {
                    self.note_use(name, now);
                }
            } else if idle.is_some_and(|idle| idle >= UNUSED_AFTER) {
                tracing::info!(name, "no client has asked for this name in 30 days: let go");
                self.let_go(name);
                continue;
            }
            if certificate.is_some_and(|certificate| certificate.not_after() <= now) {
                self.table.remove(name);
            }
        }
    }

    /// Neither serves nor declares a name that a client had brought. Blocks.
    pub(super) fn let_go(&self, name: &str) {
        self.wanted.send_if_modified(|wanted| {
            let known = Arc::make_mut(&mut wanted.on_demand).remove(name);
            if known.is_some() {
                self.table.remove(name);
            }
            known.is_some()
        });
        if let Err(error) = self.on_demand_cache.remove(name) {
            tracing::warn!(error = %Chain(&error), "cannot remove a certificate that is let go");
        }
    }
}

impl Failure {
    fn unavailable(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            refuse_for: Duration::from_secs(1),
            is_intended: false,
        }
    }

    fn of(status: &Status) -> Self {
        let (refuse_for, is_intended) = match status.code() {
            Code::PermissionDenied => (10, true),
            Code::FailedPrecondition | Code::InvalidArgument => (10, false),
            Code::ResourceExhausted => (2, false),
            _ => (1, false),
        };
        Self {
            reason: status.message().to_owned(),
            refuse_for: Duration::from_secs(refuse_for),
            is_intended,
        }
    }
}

/// Anybody can bring names, so they must not fill the log.
fn complain(name: &str, reason: &str) {
    static LIMIT: LogLimit = LogLimit::new();
    if let Some(suppressed) = LIMIT.permit() {
        tracing::warn!(
            name,
            reason,
            suppressed,
            "no certificate for a name that a client brought"
        );
    }
}

#[cfg(test)]
mod tests;
