//! One connected proxy: what it declares, and what it is to be sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use super::Manager;
use super::names::Owed;
use crate::certificate::Certificate;
use crate::challenge::{ChallengeId, ProxyId};
use crate::name::Name;
use crate::policy::Policy;
use crate::store::StoreError;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A connected proxy. Connected until [`ProxySession::end`].
#[derive(Debug)]
pub struct ProxySession {
    id: ProxyId,
    manager: Arc<Manager>,
    wake: Arc<Notify>,
}

/// What a proxy is to be sent.
#[derive(Debug)]
pub enum Delivery {
    /// Serve this certificate.
    Certificate(Box<Certificate>),
    /// All that was stored at the last declaration has been sent.
    Synchronized,
    /// Serve none.
    Withdrawn(Name),
}

impl ProxySession {
    /// A proxy that has just connected and not declared anything.
    pub fn begin(manager: Arc<Manager>) -> Self {
        let session = Self {
            id: ProxyId(NEXT_ID.fetch_add(1, Ordering::Relaxed)),
            wake: Arc::default(),
            manager,
        };
        let mut names = session.manager.names.lock();
        names.connect(session.id, Arc::clone(&session.wake));
        drop(names);
        session
    }

    /// Replaces what the proxy declares, then has it sent all that is stored of what is new in it.
    /// From its first declaration on it is counted on to answer challenges.
    ///
    /// # Errors
    /// When the declaration cannot be kept.
    pub async fn declare(&self, subjects: BTreeMap<Name, Policy>) -> Result<(), StoreError> {
        let manager = &self.manager;
        let now = manager.now();
        let declared: Vec<Name> = {
            let names = manager.names.lock();
            let is_news = |(name, policy): &(&Name, &Policy)| {
                let record = names.record(name);
                record.is_none_or(|known| !known.declared || known.policy.as_ref() != Some(*policy))
            };
            let news = subjects.iter().filter(is_news);
            news.map(|(name, _)| name.clone()).collect()
        };
        let all: BTreeSet<Name> = subjects.keys().cloned().collect();
        let dropped = manager.names.lock().declare(self.id, all);
        manager
            .commit(&declared, |record| {
                if let Some(policy) = subjects.get(&record.name) {
                    record.declare(policy.clone(), now);
                }
            })
            .await?;
        manager
            .commit(&dropped, |record| record.declared = false)
            .await?;
        manager.names.lock().mark_news_dirty(self.id, now);
        manager
            .challenges()
            .connect(self.id, Arc::clone(&self.wake));
        manager.wake.notify_one();
        Ok(())
    }

    /// What the proxy calls itself, for reports.
    pub fn label(&self, label: &str) {
        self.manager.challenges().label(self.id, label.to_owned());
    }

    /// The proxy now answers a challenge.
    pub fn acknowledge(&self, id: ChallengeId) {
        self.manager.challenges().acknowledge(self.id, id);
    }

    /// Returns when there may be something to send. Cancel safe.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// What to send next; `None` when the proxy has everything.
    ///
    /// # Errors
    /// When the storage cannot be read.
    pub async fn next_delivery(&self) -> Result<Option<Delivery>, StoreError> {
        let owed = self.manager.names.lock().pop_owed(self.id);
        let name = match owed {
            None => return Ok(None),
            Some(Owed::Synchronized) => return Ok(Some(Delivery::Synchronized)),
            Some(Owed::Name(name)) => name,
        };
        Ok(Some(match self.manager.certificate(&name).await? {
            Some(certificate) => Delivery::Certificate(Box::new(certificate)),
            None => Delivery::Withdrawn(name),
        }))
    }

    /// The proxy is gone. What it alone declared stays wanted, for it may come back.
    ///
    /// # Errors
    /// When the moment cannot be kept.
    pub async fn end(self) -> Result<(), StoreError> {
        self.manager.challenges().disconnect(self.id);
        let last = self.manager.names.lock().disconnect(self.id);
        let now = self.manager.now();
        self.manager
            .commit(&last, |record| record.declared_at = now)
            .await
    }
}
