//! What may begin now: whether somebody can answer challenges, how many attempts are under way, and
//! the limits of each authority.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Manager;
use super::limits::{AccountId, Standing, Waiting};
use super::names::{AcmeLane, Lane};
use crate::policy::IssuerPolicy;
use crate::record::Record;

/// How many attempts may be under way at once at one authority elsewhere. Names whose challenge
/// nobody can reach take minutes each and must not keep the others waiting.
const ACME_ATTEMPTS: usize = 32;
/// How many certificates the internal authority signs at once.
const INTERNAL_ATTEMPTS: usize = 32;

/// Attempts that are under way.
#[derive(Debug)]
pub(super) struct Slots {
    /// By directory.
    acme: Mutex<HashMap<String, Arc<Semaphore>>>,
    internal: Arc<Semaphore>,
}

/// Leave to attempt something, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    /// The account that an order has been counted for.
    pub(super) charged: Option<AccountId>,
    /// How it was counted.
    pub(super) standing: Standing,
    _slot: OwnedSemaphorePermit,
}

impl Manager {
    /// What all that is due in `lane` waits for at `now`; `None` when it may begin.
    pub(super) fn gate(&self, lane: &Lane, now: Timestamp) -> Option<Waiting> {
        let Lane::Acme(acme) = lane else {
            return self.slots.full(lane);
        };
        if acme.needs_proxy && !self.parts.challenges.has_proxies() {
            return Some(Waiting {
                until: None,
                what: "a proxy that can answer the challenge: none is connected".to_owned(),
            });
        }
        self.slots
            .full(lane)
            .or_else(|| self.usable_account(acme, now).err())
    }

    /// Leave to begin in `lane`; `None` when its gate is closed.
    pub(super) fn permit(&self, lane: &Lane, now: Timestamp) -> Option<Permit> {
        let slot = self.slots.of(lane).try_acquire_owned().ok()?;
        let Lane::Acme(acme) = lane else {
            return Some(Permit {
                charged: None,
                standing: Standing::Ordinary,
                _slot: slot,
            });
        };
        let charged = self.usable_account(acme, now).ok()?;
        if let Some(account) = &charged {
            self.limits.lock().take(account, acme.standing, now);
        }
        Some(Permit {
            charged,
            standing: acme.standing,
            _slot: slot,
        })
    }

    /// The account to be used first: the first that its authority does not hold back. One that only
    /// our own limit holds back is waited for, for the order of issuers is a choice. `None` leaves
    /// only the internal authority.
    fn usable_account(
        &self,
        lane: &AcmeLane,
        now: Timestamp,
    ) -> Result<Option<AccountId>, Waiting> {
        let mut limits = self.limits.lock();
        let mut held: Option<Waiting> = None;
        for account in &lane.accounts {
            let by_authority = match lane.standing {
                Standing::Requested => None,
                Standing::Covered | Standing::Ordinary => limits.check_held(account, now),
            };
            match by_authority {
                Some(waiting) => held = Some(sooner(held, waiting)),
                None => {
                    return match limits.check(account, lane.standing, now) {
                        Some(waiting) => Err(waiting),
                        None => Ok(Some(account.clone())),
                    };
                }
            }
        }
        match held {
            Some(waiting) if !lane.or_internal => Err(waiting),
            _ => Ok(None),
        }
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            acme: Mutex::default(),
            internal: Arc::new(Semaphore::new(INTERNAL_ATTEMPTS)),
        }
    }
}

impl Slots {
    fn of(&self, lane: &Lane) -> Arc<Semaphore> {
        let directory_url = match lane {
            Lane::Internal => return Arc::clone(&self.internal),
            Lane::Acme(acme) => acme.accounts.first().map(AccountId::directory_url),
        };
        let directory_url = directory_url.unwrap_or_default();
        let mut known = self.acme.lock();
        if let Some(slots) = known.get(directory_url) {
            return Arc::clone(slots);
        }
        let slots = Arc::new(Semaphore::new(ACME_ATTEMPTS));
        known.insert(directory_url.to_owned(), Arc::clone(&slots));
        slots
    }

    fn full(&self, lane: &Lane) -> Option<Waiting> {
        let is_full = self.of(lane).available_permits() == 0;
        is_full.then(|| Waiting {
            until: None,
            what: "an end of one of the attempts that are under way".to_owned(),
        })
    }
}

/// The accounts that the policy of `record` names.
pub(super) fn accounts(record: &Record) -> Vec<AccountId> {
    let issuers = record.policy.iter().flat_map(|policy| &policy.issuers);
    let accounts = issuers.filter_map(|issuer| match issuer {
        IssuerPolicy::Acme(acme) => Some(AccountId::of(acme)),
        IssuerPolicy::Internal { .. } => None,
    });
    accounts.collect()
}

/// What is over first.
pub(super) fn sooner(known: Option<Waiting>, other: Waiting) -> Waiting {
    match known {
        Some(known) if known.until.is_some() && known.until <= other.until => known,
        _ => other,
    }
}
