//! The one owner of what is known of each name: what proxies declare, what is stored, and what is
//! being done about it.
//!
//! ```text
//! proxies --declare--> names --plan--> queue --> jobs --> issuers
//!    ^                   |                         |
//!    +---deliver---------+--announce--> watchers   +--> storage, then names
//! ```
//!
//! What is due begins as far as `gate` lets it: in lanes, by urgency, within the limits of each
//! authority. Beside that, `renewal_info` asks authorities when they would have certificates renewed.
//!
//! A record changes in one place, `Manager::commit`: first in the storage, then in memory, then
//! watchers and proxies hear of it.

mod checks;
mod figures;
mod gate;
mod jobs;
mod limits;
mod maintenance;
mod names;
mod on_demand;
mod operator;
mod renewal_info;
mod session;
mod transfer;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use proto::certs::v1;
use tokio::sync::{Notify, broadcast};

use crate::certificate::Certificate;
use crate::challenge::ChallengeBoard;
use crate::clock::Clock;
use crate::issuer::{IssueError, Issuers};
use crate::metrics::Metrics;
use crate::name::Name;
use crate::on_demand::OnDemand;
use crate::policy::{Defaults, Policy};
use crate::record::Record;
use crate::store::{Storage, StoreError};

pub use figures::{Figures, NameFigures};
use gate::Slots;
use limits::Limits;
use names::Names;
pub use on_demand::ObtainError;
pub use operator::Rollover;
pub use session::{Delivery, ProxySession};
pub use transfer::{Imported, ImportedAccount, ImportedCertificate};
pub(crate) use view::timestamp;

/// Watchers that fall behind by more changes than this are told everything anew.
const CHANGES: usize = 1024;

/// Records that are written together. A hundred thousand at once would take gigabytes of memory, and
/// keep those that an attempt waits for waiting.
const WRITTEN_AT_ONCE: usize = 512;

/// What the manager works with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// What outlives a run.
    pub storage: Arc<dyn Storage>,
    /// Who issues.
    pub issuers: Arc<dyn Issuers>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The open challenges and the connected proxies.
    pub challenges: ChallengeBoard,
    /// What applies where a policy leaves something open.
    pub defaults: Defaults,
    /// What is counted.
    pub metrics: Metrics,
    /// Who allows names that clients bring.
    pub on_demand: Arc<OnDemand>,
}

/// The one owner of what is known of each name.
#[derive(Debug)]
pub struct Manager {
    parts: Parts,
    names: Mutex<Names>,
    /// Locked after `names` where both are.
    limits: Mutex<Limits>,
    slots: Slots,
    /// Held while records are written, so that they reach the storage in the order of their
    /// changes.
    writing: tokio::sync::Mutex<()>,
    changes: broadcast::Sender<Change>,
    /// What is due may have changed.
    wake: Notify,
    /// What authorities are to be asked may have changed.
    ask: Notify,
}

/// Something happened to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is gone.
    Forgotten(Name),
    /// Its authority has revoked a certificate.
    Revoked {
        /// The name.
        name: Name,
        /// The certificate's serial number.
        serial: String,
    },
    /// Its status is another.
    Status(Name),
}

/// Why an operator's request is refused.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nothing is known of the name.
    #[error("{0} is neither declared by a proxy nor stored")]
    Unknown(Name),
    /// Nothing is stored of the name.
    #[error("nothing is stored for {0}")]
    NothingStored(Name),
    /// No proxy wants the name.
    #[error(
        "no proxy declares {0}, so it cannot be renewed: add it to the Caddyfile, or is the proxy \
         running?"
    )]
    Undeclared(Name),
    /// A certificate is being obtained.
    #[error("a certificate for {0} is being obtained; try again when that is done")]
    Busy(Name),
    /// The authority does not do it.
    #[error("{0}")]
    Authority(#[from] IssueError),
    /// The storage refuses.
    #[error("keeping the change")]
    Store(#[from] StoreError),
}

impl Manager {
    /// A manager of what `parts.storage` holds. It acts once [`Manager::maintain`] runs.
    ///
    /// # Errors
    /// When the storage cannot be read.
    pub async fn load(parts: Parts) -> Result<Arc<Self>, StoreError> {
        let mut names = Names::default();
        let now = parts.clock.now();
        let mut limits = Limits::default();
        for record in parts.storage.records().await? {
            for account in gate::accounts(&record) {
                limits.recall(&account, &record, now);
                limits.learn(&account, &record, now);
            }
            names.insert(record, now);
        }
        tracing::info!(names = names.len(), "loaded what is stored");
        Ok(Arc::new(Self {
            parts,
            names: Mutex::new(names),
            limits: Mutex::new(limits),
            slots: Slots::default(),
            writing: tokio::sync::Mutex::default(),
            changes: broadcast::Sender::new(CHANGES),
            wake: Notify::new(),
            ask: Notify::new(),
        }))
    }

    /// The open challenges.
    pub fn challenges(&self) -> &ChallengeBoard {
        &self.parts.challenges
    }

    fn on_demand(&self) -> &OnDemand {
        &self.parts.on_demand
    }

    /// The policy that a proxy means for `name`.
    ///
    /// # Errors
    /// What in it cannot be followed, in words for an operator.
    pub fn policy(&self, wire: &v1::Policy, name: &Name) -> Result<Policy, &'static str> {
        Policy::from_wire(wire, name, &self.parts.defaults)
    }

    /// The stored certificate of `name`.
    ///
    /// # Errors
    /// When the storage cannot be read.
    pub async fn certificate(&self, name: &Name) -> Result<Option<Certificate>, StoreError> {
        self.parts.storage.certificate(name).await
    }

    /// The status of every name, sorted by name.
    pub fn list(&self) -> Vec<v1::NameStatus> {
        let now = self.now();
        let names = self.names.lock();
        names.statuses(now, |lane| self.gate(lane, now)).collect()
    }

    /// The status of one name.
    pub fn status(&self, name: &Name) -> Option<v1::NameStatus> {
        let now = self.now();
        let names = self.names.lock();
        names.status(name, now, |lane| self.gate(lane, now))
    }

    /// Every change from now on.
    pub fn watch(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Obtains a new certificate now, whatever the present one's age and past failures.
    ///
    /// # Errors
    /// When nothing is known of the name or no proxy wants it.
    pub async fn renew(&self, name: &Name) -> Result<(), RequestError> {
        let now = self.now();
        {
            let names = self.names.lock();
            let wanted = names
                .is_wanted(name, now)
                .ok_or_else(|| RequestError::Unknown(name.clone()))?;
            if !wanted {
                return Err(RequestError::Undeclared(name.clone()));
            }
        }
        self.commit(std::slice::from_ref(name), |record| {
            record.request_renewal(now);
        })
        .await?;
        tracing::info!(%name, "an operator asked for a new certificate");
        Ok(())
    }

    /// Drops what is stored for a name; one that is still declared begins anew.
    ///
    /// # Errors
    /// When nothing is stored, or a certificate is being obtained.
    pub async fn forget(&self, name: &Name) -> Result<(), RequestError> {
        self.reserve_stored(name)?;
        self.forget_reserved(name).await?;
        tracing::info!(%name, "an operator dropped what was stored");
        Ok(())
    }

    /// Keeps others from acting on a name that has a certificate.
    fn reserve_stored(&self, name: &Name) -> Result<(), RequestError> {
        let mut names = self.names.lock();
        match names.record(name) {
            Some(record) if record.certificate.is_some() => {}
            _ => return Err(RequestError::NothingStored(name.clone())),
        }
        if names.reserve(name) {
            Ok(())
        } else {
            Err(RequestError::Busy(name.clone()))
        }
    }

    /// Drops what is stored for a name that is reserved, and releases it.
    async fn forget_reserved(&self, name: &Name) -> Result<(), StoreError> {
        let writing = self.writing.lock().await;
        let now = self.now();
        let removed = self.parts.storage.remove_name(name).await;
        let kept = {
            let mut names = self.names.lock();
            names.release(name, now);
            removed?;
            names.forget(name, now)
        };
        drop(writing);
        self.announce(if kept {
            Change::Status(name.clone())
        } else {
            Change::Forgotten(name.clone())
        });
        self.wake.notify_one();
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// Changes the records of `names`, each made if it is not there: in the storage, then in
    /// memory, then announced.
    async fn commit(
        &self,
        names: &[Name],
        change: impl FnMut(&mut Record),
    ) -> Result<(), StoreError> {
        let now = self.now();
        let new = |name: &Name| Some(Record::new(name.clone(), now));
        self.write(names, new, change).await
    }

    /// Changes the records of those of `names` that are there.
    async fn commit_known(
        &self,
        names: &[Name],
        change: impl FnMut(&mut Record),
    ) -> Result<(), StoreError> {
        self.write(names, |_| None, change).await
    }

    async fn write(
        &self,
        names: &[Name],
        new: impl Fn(&Name) -> Option<Record>,
        mut change: impl FnMut(&mut Record),
    ) -> Result<(), StoreError> {
        for some in names.chunks(WRITTEN_AT_ONCE) {
            let now = self.now();
            let _writing = self.writing.lock().await;
            let records: Vec<Record> = {
                let known = self.names.lock();
                let found = some.iter().filter_map(|name| {
                    let mut record = known.record(name).cloned().or_else(|| new(name))?;
                    change(&mut record);
                    Some(record)
                });
                found.collect()
            };
            self.parts.storage.put_records(&records).await?;
            {
                let mut known = self.names.lock();
                for record in records {
                    known.insert(record, now);
                }
            }
            for name in some {
                self.announce(Change::Status(name.clone()));
            }
            self.wake.notify_one();
            self.ask.notify_one();
        }
        Ok(())
    }

    /// Removes a name that nobody wants and that has no valid certificate.
    async fn forget_unused(&self, name: &Name) -> Result<(), StoreError> {
        let now = self.now();
        let _writing = self.writing.lock().await;
        // Somebody may have declared it since.
        if !self.names.lock().is_forgettable(name, now) {
            return Ok(());
        }
        self.parts.storage.remove_name(name).await?;
        if !self.names.lock().forget(name, now) {
            self.announce(Change::Forgotten(name.clone()));
        }
        tracing::info!(%name, "forgotten: no proxy declares it and it has no valid certificate");
        Ok(())
    }

    fn announce(&self, change: Change) {
        // Fails when nobody watches.
        let _ = self.changes.send(change);
    }

    /// Has the proxies that declare `name` brought up to what is stored.
    fn deliver(&self, name: &Name) {
        self.names
            .lock()
            .mark_dirty(&BTreeSet::from([name.clone()]));
    }
}

#[cfg(test)]
mod tests;
