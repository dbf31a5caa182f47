//! How often authorities are asked: our own limits, and those that they answer with.
//!
//! Orders are counted by account, as authorities do. What is held back here has cost nothing and is
//! no failure; it waits, and its status says for what.

mod bucket;

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::issuer::preflight::is_public_authority;
use crate::name::Name;
use crate::policy::{AcmePolicy, IssuerId};
use crate::record::{LimitScope, Record};

pub(super) use bucket::Bucket;

/// Orders for one account at once, and the time in which as many more are allowed. CertMagic's.
const BURST: (u32, Duration) = (10, Duration::from_secs(60));
/// Orders of one account in a longer time. Let's Encrypt's: 300 in 3 hours, of which one comes back
/// each 36 seconds.
const SUSTAINED: (u32, Duration) = (300, Duration::from_secs(3 * 3600));

/// An account at an authority: what it counts orders by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AccountId {
    directory_url: String,
    email: Option<String>,
}

/// How an order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// An operator asks for it: it waits for no limit.
    Requested,
    /// It replaces a certificate in the time that the authority named, for which authorities have
    /// no limit. Ours against bursts holds.
    Covered,
    /// It waits for every limit.
    Ordinary,
}

/// What something that is due waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Until when at least; `None` when that cannot be known.
    pub(super) until: Option<Timestamp>,
    /// What for, in words.
    pub(super) what: String,
}

/// The limits of every account.
#[derive(Debug, Default)]
pub(super) struct Limits {
    accounts: HashMap<AccountId, Account>,
}

#[derive(Debug)]
struct Account {
    /// `None` where the authority is somebody's own.
    buckets: Option<Buckets>,
    held: Option<Held>,
    domains: HashMap<String, Held>,
}

#[derive(Debug)]
struct Buckets {
    burst: Bucket,
    sustained: Bucket,
}

/// What an authority's answer holds back.
#[derive(Clone, Debug)]
struct Held {
    until: Timestamp,
    message: String,
}

impl AccountId {
    pub(super) fn of(policy: &AcmePolicy) -> Self {
        Self {
            directory_url: policy.directory_url.clone(),
            email: policy.email.clone(),
        }
    }

    pub(super) fn directory_url(&self) -> &str {
        &self.directory_url
    }

    fn is_at(&self, issuer: &IssuerId) -> bool {
        matches!(issuer, IssuerId::Acme(url) if *url == self.directory_url)
    }
}

impl Limits {
    /// What an order by `account` waits for at `now`, whatever its name; `None` when for nothing.
    pub(super) fn check(
        &mut self,
        account: &AccountId,
        standing: Standing,
        now: Timestamp,
    ) -> Option<Waiting> {
        if standing == Standing::Requested {
            return None;
        }
        if let Some(waiting) = self.check_held(account, now) {
            return Some(waiting);
        }
        let buckets = self.accounts.get_mut(account)?.buckets.as_mut()?;
        if let Some(until) = buckets.burst.empty_until(now) {
            return Some(own_limit(account, BURST, until));
        }
        let until = buckets.sustained.empty_until(now);
        until
            .filter(|_| standing == Standing::Ordinary)
            .map(|until| own_limit(account, SUSTAINED, until))
    }

    /// What the authority's own answers hold `account` back for at `now`.
    pub(super) fn check_held(&self, account: &AccountId, now: Timestamp) -> Option<Waiting> {
        let held = self.accounts.get(account)?.held.as_ref()?;
        (now < held.until).then(|| their_limit(account, held))
    }

    /// What an order for `name` waits for at `now`, beside what holds back its account.
    pub(super) fn check_name(
        &self,
        account: &AccountId,
        name: &Name,
        standing: Standing,
        now: Timestamp,
    ) -> Option<Waiting> {
        if standing == Standing::Requested {
            return None;
        }
        let domains = &self.accounts.get(account)?.domains;
        let text = name.as_str();
        let above = text.match_indices('.').map(|(at, _)| &text[at + 1..]);
        let held = std::iter::once(text)
            .chain(above)
            .find_map(|domain| domains.get(domain).filter(|held| now < held.until))?;
        Some(their_limit(account, held))
    }

    /// Counts an order.
    pub(super) fn take(&mut self, account: &AccountId, standing: Standing, now: Timestamp) {
        let known = self.account(account, now);
        if let Some(buckets) = &mut known.buckets {
            buckets.burst.take(now);
            if standing != Standing::Covered {
                buckets.sustained.take(now);
            }
        }
    }

    /// An order that was counted was not placed.
    pub(super) fn give_back(&mut self, account: &AccountId, standing: Standing, now: Timestamp) {
        let known = self.account(account, now);
        if let Some(buckets) = &mut known.buckets {
            buckets.burst.give_back();
            if standing != Standing::Covered {
                buckets.sustained.give_back();
            }
        }
    }

    /// Holds back what the limits of `account` that `record` has met cover. Returns whether that is
    /// more than its own name.
    pub(super) fn learn(&mut self, account: &AccountId, record: &Record, now: Timestamp) -> bool {
        let mut learned = false;
        for state in record.issuers.iter().filter(|s| account.is_at(&s.issuer)) {
            let (Some(limit), Some(until)) = (&state.limit, state.waits_until(now)) else {
                continue;
            };
            let held = Held {
                until,
                message: limit.message.clone(),
            };
            let known = self.account(account, now);
            match &limit.scope {
                LimitScope::Account => known.held = longer(known.held.take(), held),
                LimitScope::Domain(domain) => {
                    known.domains.retain(|_, held| now < held.until);
                    let before = known.domains.remove(domain);
                    if let Some(held) = longer(before, held) {
                        known.domains.insert(domain.clone(), held);
                    }
                }
                LimitScope::Name => continue,
            }
            learned = true;
        }
        learned
    }

    /// Counts the orders that `record` remembers, after a restart.
    pub(super) fn recall(&mut self, account: &AccountId, record: &Record, now: Timestamp) {
        let known = self.account(account, now);
        if let Some(buckets) = &mut known.buckets {
            let past = record.attempts.iter();
            for attempt in past.filter(|attempt| account.is_at(&attempt.issuer)) {
                buckets.burst.take_earlier(attempt.at, now);
                buckets.sustained.take_earlier(attempt.at, now);
            }
        }
    }

    fn account(&mut self, account: &AccountId, now: Timestamp) -> &mut Account {
        self.accounts
            .entry(account.clone())
            .or_insert_with(|| Account {
                // A company's own authority is as patient as the company likes.
                buckets: is_public_authority(account.directory_url()).then(|| Buckets {
                    burst: Bucket::new(BURST.0, BURST.1, now),
                    sustained: Bucket::new(SUSTAINED.0, SUSTAINED.1, now),
                }),
                held: None,
                domains: HashMap::new(),
            })
    }
}

fn longer(known: Option<Held>, new: Held) -> Option<Held> {
    match known {
        Some(known) if known.until > new.until => Some(known),
        _ => Some(new),
    }
}

fn own_limit(account: &AccountId, limit: (u32, Duration), until: Timestamp) -> Waiting {
    let (orders, within) = limit;
    let within = match within.as_secs() {
        hours if hours >= 3600 => format!("{} h", hours / 3600),
        seconds => format!("{seconds} s"),
    };
    Waiting {
        until: Some(until),
        what: format!(
            "our own limit of {orders} orders in {within} at {}",
            account.directory_url
        ),
    }
}

fn their_limit(account: &AccountId, held: &Held) -> Waiting {
    Waiting {
        until: Some(held.until),
        what: format!("the limit of {}: {}", account.directory_url, held.message),
    }
}

#[cfg(test)]
mod tests;
