//! What is known of each name in memory, and when to look at it again.

mod entry;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use proto::certs::v1;
use tokio::sync::Notify;

use super::figures::NameFigures;
use super::limits::Waiting;
use super::transfer;
use crate::challenge::ProxyId;
use crate::name::Name;
use crate::plan::Action;
use crate::policy::{IssuerId, IssuerPolicy};
use crate::record::Record;

use entry::Entry;
use queue::Queues;
pub(super) use queue::{AcmeLane, Lane};

/// Names, the proxies that declare them, and queues of when each is to be looked at.
#[derive(Debug, Default)]
pub(super) struct Names {
    entries: BTreeMap<Name, Entry>,
    proxies: BTreeMap<ProxyId, Proxy>,
    queues: Queues,
    busy: usize,
}

/// Something that is due, reserved for whoever does it.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) name: Name,
    pub(super) action: Action,
    pub(super) lane: Lane,
}

/// What a proxy is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owed {
    /// What is stored of a name.
    Name(Name),
    /// Word that it has everything.
    Synchronized,
}

#[derive(Debug)]
struct Proxy {
    names: BTreeSet<Name>,
    /// What it declares anew, and is owed if it is stored.
    news: BTreeSet<Name>,
    dirty: BTreeSet<Name>,
    /// It is owed word that it has everything.
    synchronize: bool,
    wake: Arc<Notify>,
}

impl Names {
    /// Sets a record and queues it by its plan.
    pub(super) fn insert(&mut self, record: Record, now: Timestamp) {
        let name = record.name.clone();
        match self.entries.get_mut(&name) {
            Some(entry) => {
                entry.record = record;
                entry.waiting = None;
            }
            None => {
                let entry = Entry::new(record, self.count_declarations(&name));
                self.entries.insert(name.clone(), entry);
            }
        }
        self.queue(&name, now);
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn record(&self, name: &Name) -> Option<&Record> {
        self.entries.get(name).map(|entry| &entry.record)
    }

    /// The first issuer of any policy that `is_wanted`.
    pub(super) fn find_issuer(
        &self,
        is_wanted: impl Fn(&IssuerPolicy) -> bool,
    ) -> Option<IssuerPolicy> {
        let policies = self.entries.values();
        let policies = policies.filter_map(|entry| entry.record.policy.as_ref());
        let mut issuers = policies.flat_map(|policy| &policy.issuers);
        issuers.find(|issuer| is_wanted(issuer)).cloned()
    }

    /// Whether a proxy declares a name, or did when it was last heard of; `None` when nothing is
    /// known of the name.
    pub(super) fn is_wanted(&self, name: &Name, now: Timestamp) -> Option<bool> {
        let record = self.entries.get(name)?.present(now);
        Some(record.policy.is_some() && record.declared)
    }

    /// A proxy is connected.
    pub(super) fn connect(&mut self, proxy: ProxyId, wake: Arc<Notify>) {
        let proxy_state = Proxy {
            names: BTreeSet::new(),
            news: BTreeSet::new(),
            dirty: BTreeSet::new(),
            synchronize: false,
            wake,
        };
        self.proxies.insert(proxy, proxy_state);
    }

    /// A proxy is gone. Returns the names that no connected proxy declares any more.
    pub(super) fn disconnect(&mut self, proxy: ProxyId) -> Vec<Name> {
        let gone = self.proxies.remove(&proxy);
        let names = gone.map(|proxy| proxy.names).unwrap_or_default();
        self.undeclare(names)
    }

    /// Replaces what a proxy declares. Returns the names that no connected proxy declares any more.
    pub(super) fn declare(&mut self, proxy: ProxyId, names: BTreeSet<Name>) -> Vec<Name> {
        let Some(known) = self.proxies.get_mut(&proxy) else {
            return Vec::new();
        };
        let before = std::mem::replace(&mut known.names, names.clone());
        known.news = names.difference(&before).cloned().collect();
        known.dirty.retain(|name| names.contains(name));
        for name in names.difference(&before) {
            if let Some(entry) = self.entries.get_mut(name) {
                entry.declared_by += 1;
            }
        }
        self.undeclare(before.difference(&names).cloned().collect())
    }

    /// Has a proxy sent everything that is stored and valid of what it declares anew, and then word
    /// that this was all. The rest it has been sent before.
    pub(super) fn mark_news_dirty(&mut self, proxy: ProxyId, now: Timestamp) {
        let Some(known) = self.proxies.get_mut(&proxy) else {
            return;
        };
        let entries = &self.entries;
        let news = std::mem::take(&mut known.news);
        known.dirty.extend(news.into_iter().filter(|name| {
            let certificate = entries
                .get(name)
                .and_then(|entry| entry.record.certificate.as_ref());
            certificate.is_some_and(|facts| facts.is_valid_at(now))
        }));
        known.synchronize = true;
        known.wake.notify_one();
    }

    /// Has the proxies that declare any of `names` brought up to what is stored.
    pub(super) fn mark_dirty(&mut self, names: &BTreeSet<Name>) {
        for proxy in self.proxies.values_mut() {
            let declared: Vec<_> = names.intersection(&proxy.names).cloned().collect();
            if !declared.is_empty() {
                proxy.dirty.extend(declared);
                proxy.wake.notify_one();
            }
        }
    }

    /// What a proxy is owed next.
    pub(super) fn pop_owed(&mut self, proxy: ProxyId) -> Option<Owed> {
        let known = self.proxies.get_mut(&proxy)?;
        if let Some(name) = known.dirty.pop_first() {
            return Some(Owed::Name(name));
        }
        std::mem::take(&mut known.synchronize).then_some(Owed::Synchronized)
    }

    /// Keeps others from acting on a name; false when somebody does already.
    pub(super) fn reserve(&mut self, name: &Name) -> bool {
        match self.entries.get_mut(name) {
            Some(entry) if !entry.busy => {
                entry.busy = true;
                self.busy += 1;
                true
            }
            _ => false,
        }
    }

    /// The opposite of [`Names::reserve`].
    pub(super) fn release(&mut self, name: &Name, now: Timestamp) {
        if let Some(entry) = self.entries.get_mut(name)
            && std::mem::take(&mut entry.busy)
        {
            self.busy -= 1;
        }
        self.queue(name, now);
    }

    /// Has a name that is due wait all the same.
    pub(super) fn defer(&mut self, name: &Name, waiting: Waiting, now: Timestamp) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.waiting = Some(waiting);
        }
        self.queue(name, now);
    }

    /// An attempt for a name ended.
    pub(super) fn count(&mut self, name: &Name, obtained: bool) {
        if let Some(entry) = self.entries.get_mut(name) {
            if obtained {
                entry.obtained += 1;
            } else {
                entry.failed += 1;
            }
        }
    }

    /// Drops what is known of a name. One that is declared begins anew, and true is returned.
    pub(super) fn forget(&mut self, name: &Name, now: Timestamp) -> bool {
        self.mark_dirty(&BTreeSet::from([name.clone()]));
        let Some(entry) = self.entries.get_mut(name) else {
            return false;
        };
        if entry.declared_by > 0
            && let Some(policy) = entry.record.policy.clone()
        {
            entry.record = Record::new(name.clone(), now);
            entry.record.declare(policy, now);
            entry.waiting = None;
            self.queue(name, now);
            return true;
        }
        if let Some(entry) = self.entries.remove(name) {
            self.busy -= usize::from(entry.busy);
            self.queues.remove(name, entry.place);
            self.queues.put_ask(name, entry.ask_at, None);
        }
        false
    }

    /// Whether the plan for a name is to forget it.
    pub(super) fn is_forgettable(&self, name: &Name, now: Timestamp) -> bool {
        let entry = self.entries.get(name);
        entry.is_some_and(|entry| entry.plan(now) == Action::Forget)
    }

    /// Takes and reserves the most urgent name that is due in the lanes that are open.
    pub(super) fn pop_due(
        &mut self,
        now: Timestamp,
        mut is_open: impl FnMut(&Lane) -> bool,
    ) -> Option<Due> {
        while let Some(name) = self.queues.first_later(now) {
            self.queue(&name, now);
        }
        loop {
            let name = self.queues.first_ready(&mut is_open)?;
            let action = self.entries.get(&name)?.plan(now);
            let lane = self.queue(&name, now);
            // The plan may have changed since it was queued.
            if let Some(lane) = lane.filter(&mut is_open)
                && self.reserve(&name)
            {
                self.queue(&name, now);
                return Some(Due { name, action, lane });
            }
        }
    }

    /// When the first name is to be looked at, beside those that are due.
    pub(super) fn next_later(&self) -> Option<Timestamp> {
        self.queues.next_later()
    }

    /// The lanes in which names are due, and how many.
    pub(super) fn ready_lanes(&self) -> impl Iterator<Item = (&Lane, usize)> {
        self.queues.ready_lanes()
    }

    /// How many names something is being done about.
    pub(super) fn busy(&self) -> usize {
        self.busy
    }

    /// Takes up to `count` names whose authority is to be asked about renewal by `now`. Each is
    /// asked about by nobody else until [`Names::asked`].
    pub(super) fn pop_asks(&mut self, now: Timestamp, count: usize) -> Vec<Name> {
        let mut names = Vec::new();
        while names.len() < count
            && let Some((moment, name)) = self.queues.first_ask().cloned()
            && moment <= now
            && let Some(entry) = self.entries.get_mut(&name)
        {
            // The answer depends on the time as well.
            entry.asking = entry.ask_moment(now).is_some_and(|moment| moment <= now);
            if entry.asking {
                names.push(name.clone());
            }
            self.queue_ask(&name, now);
        }
        names
    }

    /// The authority of a name has been asked, or is not to be asked before `not_before`.
    pub(super) fn asked(&mut self, name: &Name, not_before: Option<Timestamp>, now: Timestamp) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.asking = false;
            entry.ask_not_before = not_before;
        }
        self.queue_ask(name, now);
    }

    /// When the first authority is to be asked about renewal.
    pub(super) fn next_ask(&self) -> Option<Timestamp> {
        self.queues.first_ask().map(|(moment, _)| *moment)
    }

    /// Names that connected proxies declare, but by their record last did before `before`.
    pub(super) fn declared_before(&self, before: Timestamp) -> Vec<Name> {
        let is_stale = |record: &Record| !record.declared || record.declared_at < before;
        let stale = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.declared_by > 0 && is_stale(&entry.record));
        stale.map(|(name, _)| name.clone()).collect()
    }

    /// Names that have a certificate, sorted.
    pub(super) fn certified(&self) -> impl Iterator<Item = &Name> {
        let certified = |entry: &Entry| entry.record.certificate.is_some();
        self.entries
            .iter()
            .filter(move |(_, entry)| certified(entry))
            .map(|(name, _)| name)
    }

    /// How many valid certificates are of the internal authority.
    pub(super) fn count_internal(&self, now: Timestamp) -> usize {
        let facts = self
            .entries
            .values()
            .filter_map(|entry| entry.record.certificate.as_ref());
        facts
            .filter(|facts| facts.issuer == IssuerId::Internal && facts.is_valid_at(now))
            .count()
    }

    /// Directories of the ACME authorities in the policies of all names.
    pub(super) fn directory_urls(&self) -> BTreeSet<String> {
        self.entries
            .values()
            .filter_map(|entry| entry.record.policy.as_ref())
            .flat_map(|policy| transfer::directory_urls(&policy.issuers))
            .collect()
    }

    pub(super) fn status(
        &self,
        name: &Name,
        now: Timestamp,
        gate: impl FnOnce(&Lane) -> Option<Waiting>,
    ) -> Option<v1::NameStatus> {
        self.entries.get(name).map(|entry| entry.status(now, gate))
    }

    pub(super) fn statuses(
        &self,
        now: Timestamp,
        mut gate: impl FnMut(&Lane) -> Option<Waiting>,
    ) -> impl Iterator<Item = v1::NameStatus> {
        let entries = self.entries.values();
        entries.map(move |entry| entry.status(now, &mut gate))
    }

    /// Figures of each name, sorted by name.
    pub(super) fn figures(&self, now: Timestamp) -> impl Iterator<Item = NameFigures> {
        self.entries.values().map(move |entry| entry.figures(now))
    }

    fn undeclare(&mut self, names: BTreeSet<Name>) -> Vec<Name> {
        let mut last = Vec::new();
        for name in names {
            if let Some(entry) = self.entries.get_mut(&name) {
                entry.declared_by = entry.declared_by.saturating_sub(1);
                if entry.declared_by == 0 {
                    last.push(name);
                }
            }
        }
        last
    }

    fn count_declarations(&self, name: &Name) -> u32 {
        let declaring = self
            .proxies
            .values()
            .filter(|proxy| proxy.names.contains(name));
        u32::try_from(declaring.count()).unwrap_or(u32::MAX)
    }

    /// Puts a name where it belongs in the queues. Returns its lane where it is due.
    fn queue(&mut self, name: &Name, now: Timestamp) -> Option<Lane> {
        let entry = self.entries.get_mut(name)?;
        let place = self.queues.settle(entry.place_at(now), &entry.place);
        let lane = place.lane().cloned();
        if place != entry.place {
            let before = std::mem::replace(&mut entry.place, place);
            self.queues.remove(name, before);
            self.queues.put(name, &entry.place);
        }
        self.queue_ask(name, now);
        lane
    }

    fn queue_ask(&mut self, name: &Name, now: Timestamp) {
        if let Some(entry) = self.entries.get_mut(name) {
            let moment = entry.ask_moment(now);
            let before = std::mem::replace(&mut entry.ask_at, moment);
            self.queues.put_ask(name, before, moment);
        }
    }
}
