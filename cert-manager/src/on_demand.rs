//! Names that are certified when a client first asks for them: who allows them, and how many at once.
//!
//! Anybody can point a name here and ask for it, so nothing is ordered that the operator's own app
//! has not allowed (`on_demand_tls { ask ... }`). It is asked before each attempt, also to renew, and
//! what it allows holds for that attempt alone. Caddy: `on_demand_tls`.

mod ask;
mod limit;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Weak};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use proto::sidecar::dns::Resolver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::name::Name;
use crate::policy::Policy;

use ask::AskError;
use limit::Bucket;

/// Names that are asked about or obtained at once while clients wait.
const IN_FLIGHT: usize = 64;
/// New names of authorities elsewhere at once, and as many more in a minute. CertMagic: the same.
const ACME_NAMES: Bucket = Bucket::new(10, SignedDuration::from_mins(1));
/// New names of the internal authority at once, and as many more in ten minutes.
const INTERNAL_NAMES: Bucket = Bucket::new(100, SignedDuration::from_mins(10));

/// How long a refusal is remembered: long enough for a client that tries again and again.
const DENIED_FOR: SignedDuration = SignedDuration::from_secs(30);
/// How long it is remembered that there was no answer.
const UNANSWERED_FOR: SignedDuration = SignedDuration::from_secs(2);
/// Refusals that are remembered at most.
const REFUSALS: usize = 4096;

/// Allows names, and limits how many there are.
pub struct OnDemand {
    client: reqwest::Client,
    refusals: Mutex<HashMap<(Name, String), (Refusal, Timestamp)>>,
    /// Names that were allowed for an attempt that has not begun.
    granted: Mutex<HashSet<Name>>,
    turns: Mutex<HashMap<Name, Weak<tokio::sync::Mutex<()>>>>,
    in_flight: Arc<Semaphore>,
    acme_names: Mutex<Bucket>,
    internal_names: Mutex<Bucket>,
    asked: Family<Labels, Counter>,
}

/// Why a name may not be certified now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The app does not want it.
    #[error("{url} does not allow it: {status}")]
    Denied {
        /// What was asked, without its query.
        url: String,
        /// What it answered.
        status: String,
    },
    /// Nothing was said for or against it.
    #[error("{url} does not say whether it is allowed: {reason}")]
    Unanswered {
        /// What was asked, without its query.
        url: String,
        /// Why there is no answer.
        reason: String,
    },
}

/// Leave to go on with an attempt, until this is dropped.
#[derive(Debug)]
pub struct Grant<'a> {
    on_demand: &'a OnDemand,
    name: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: &'static str,
}

impl OnDemand {
    /// Asks over connections to what `resolver` finds.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(resolver: Resolver) -> Result<Self, String> {
        Ok(Self {
            client: ask::client(resolver)?,
            refusals: Mutex::default(),
            granted: Mutex::default(),
            turns: Mutex::default(),
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
            acme_names: Mutex::new(ACME_NAMES),
            internal_names: Mutex::new(INTERNAL_NAMES),
            asked: Family::default(),
        })
    }

    /// Makes the counters known to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "on_demand_permissions",
            "Questions whether a name may be certified on demand, by outcome",
            self.asked.clone(),
        );
    }

    /// Asks whether `name` may be certified by `policy`; a refusal is remembered for a while.
    ///
    /// # Errors
    /// When it may not, or nobody says.
    pub async fn permit(
        &self,
        name: &Name,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let on_demand = policy.on_demand.as_ref();
        let Some(ask_url) = on_demand.and_then(|on_demand| on_demand.ask_url.as_ref()) else {
            return Ok(());
        };
        if self.granted.lock().remove(name) {
            return Ok(());
        }
        let key = (name.clone(), ask_url.clone());
        if let Some((refusal, until)) = self.refusals.lock().get(&key)
            && now < *until
        {
            return Err(refusal.clone());
        }
        let url = ask::without_query(ask_url);
        let refusal = match ask::ask(&self.client, ask_url, name).await {
            Ok(()) => {
                self.count("allowed");
                self.refusals.lock().remove(&key);
                return Ok(());
            }
            Err(AskError::Denied(status)) => {
                self.count("denied");
                Refusal::Denied { url, status }
            }
            Err(AskError::Unanswered(reason)) => {
                self.count("unanswered");
                Refusal::Unanswered { url, reason }
            }
        };
        self.remember(key, refusal.clone(), now);
        Err(refusal)
    }

    /// Has the next [`Self::permit`] of `name` allow it without asking again.
    pub fn grant(&self, name: &Name) -> Grant<'_> {
        self.granted.lock().insert(name.clone());
        Grant {
            on_demand: self,
            name: name.clone(),
        }
    }

    /// A lock of `name`, so that calls for it go one after the other, and the later ones find what
    /// came of the first.
    pub fn turn(&self, name: &Name) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock();
        if let Some(turn) = turns.get(name).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(name.clone(), Arc::downgrade(&turn));
        turn
    }

    /// Room for one more name in flight, or `None` when there are too many.
    pub fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.in_flight).try_acquire_owned().ok()
    }

    /// Counts a new name of `policy`; false when there have been too many of late.
    pub fn count_name(&self, policy: &Policy, now: Timestamp) -> bool {
        let bucket = if policy.is_acme() {
            &self.acme_names
        } else {
            &self.internal_names
        };
        bucket.lock().take(now)
    }

    fn remember(&self, key: (Name, String), refusal: Refusal, now: Timestamp) {
        let until = match refusal {
            Refusal::Denied { .. } => now + DENIED_FOR,
            Refusal::Unanswered { .. } => now + UNANSWERED_FOR,
        };
        let mut refusals = self.refusals.lock();
        if refusals.len() >= REFUSALS {
            // Also what a clock that was put back since would keep for long.
            refusals.retain(|_, (_, until)| now < *until && *until <= now + DENIED_FOR);
        }
        if refusals.len() < REFUSALS {
            refusals.insert(key, (refusal, until));
        }
    }

    fn count(&self, outcome: &'static str) {
        self.asked.get_or_create(&Labels { outcome }).inc();
    }
}

impl fmt::Debug for OnDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDemand").finish_non_exhaustive()
    }
}

impl Drop for Grant<'_> {
    fn drop(&mut self) {
        self.on_demand.granted.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests;
