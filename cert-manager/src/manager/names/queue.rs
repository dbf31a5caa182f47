//! When each name is to be looked at, and who goes first of those that are due.
//!
//! Names that are to be looked at later are ordered by that moment; names that are due by urgency,
//! in lanes. A lane is what opens and closes as a whole: while an authority's limit holds back a
//! hundred thousand names, none of them is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::manager::limits::{AccountId, Standing};
use crate::name::Name;
use crate::plan::{Action, Urgency};
use crate::policy::{IssuerPolicy, Policy};

/// What an attempt needs, and which limits it counts against.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::manager) enum Lane {
    /// An authority elsewhere.
    Acme(Arc<AcmeLane>),
    /// Nobody else.
    Internal,
}

/// What an attempt at an authority elsewhere needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::manager) struct AcmeLane {
    /// The accounts that may be used, in order; never empty.
    pub(in crate::manager) accounts: Vec<AccountId>,
    /// Whether the internal authority is tried as well.
    pub(in crate::manager) or_internal: bool,
    /// Whether a proxy must answer challenges.
    pub(in crate::manager) needs_proxy: bool,
    /// How the order counts.
    pub(in crate::manager) standing: Standing,
}

/// Where a name stands in the queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    later: Option<Timestamp>,
    ready: Option<(Lane, Urgency, Timestamp)>,
}

/// The queues.
#[derive(Debug, Default)]
pub(super) struct Queues {
    later: BTreeSet<(Timestamp, Name)>,
    ready: BTreeMap<Lane, BTreeSet<(Urgency, Timestamp, Name)>>,
    /// When the authority is to be asked about renewal.
    asks: BTreeSet<(Timestamp, Name)>,
}

impl Lane {
    /// The lane of a name with `policy`, of which `standing` is how its orders count.
    pub(super) fn of(policy: Option<&Policy>, standing: Standing) -> Self {
        let Some(policy) = policy.filter(|policy| policy.is_acme()) else {
            return Self::Internal;
        };
        let accounts = policy.issuers.iter().filter_map(|issuer| match issuer {
            IssuerPolicy::Acme(acme) => Some(AccountId::of(acme)),
            IssuerPolicy::Internal { .. } => None,
        });
        let accounts: Vec<_> = accounts.collect();
        Self::Acme(Arc::new(AcmeLane {
            or_internal: accounts.len() < policy.issuers.len(),
            accounts,
            needs_proxy: policy.needs_proxy(),
            standing,
        }))
    }
}

impl Place {
    /// To be looked at at `moment`.
    pub(super) fn later(moment: Timestamp) -> Self {
        Self {
            later: Some(moment),
            ready: None,
        }
    }

    /// Due since `since`; `urgent_at` is when it becomes more urgent.
    pub(super) fn ready(
        lane: Lane,
        urgency: Urgency,
        since: Timestamp,
        urgent_at: Option<Timestamp>,
    ) -> Self {
        Self {
            later: urgent_at,
            ready: Some((lane, urgency, since)),
        }
    }

    /// Its lane where it is due.
    pub(super) fn lane(&self) -> Option<&Lane> {
        self.ready.as_ref().map(|(lane, ..)| lane)
    }
}

impl Queues {
    /// The place in which a name that was at `before` does not lose its turn. Names share what
    /// their lane is made of.
    pub(super) fn settle(&self, mut place: Place, before: &Place) -> Place {
        if let Some((lane, urgency, since)) = &mut place.ready {
            if let Some((known, _)) = self.ready.get_key_value(lane) {
                *lane = known.clone();
            }
            if let Some((lane_before, urgency_before, since_before)) = &before.ready
                && (lane_before, urgency_before) == (&*lane, &*urgency)
            {
                *since = *since_before;
            }
        }
        place
    }

    pub(super) fn put(&mut self, name: &Name, place: &Place) {
        if let Some(moment) = place.later {
            self.later.insert((moment, name.clone()));
        }
        if let Some((lane, urgency, since)) = &place.ready {
            let lane = self.ready.entry(lane.clone()).or_default();
            lane.insert((*urgency, *since, name.clone()));
        }
    }

    pub(super) fn remove(&mut self, name: &Name, place: Place) {
        if let Some(moment) = place.later {
            self.later.remove(&(moment, name.clone()));
        }
        if let Some((lane, urgency, since)) = place.ready
            && let Some(names) = self.ready.get_mut(&lane)
        {
            names.remove(&(urgency, since, name.clone()));
            if names.is_empty() {
                self.ready.remove(&lane);
            }
        }
    }

    /// The first name that is to be looked at by `now`; it stays where it is.
    pub(super) fn first_later(&self, now: Timestamp) -> Option<Name> {
        let (moment, name) = self.later.first()?;
        (*moment <= now).then(|| name.clone())
    }

    /// The most urgent name that is due in the lanes that are open; it stays where it is.
    pub(super) fn first_ready(&self, mut is_open: impl FnMut(&Lane) -> bool) -> Option<Name> {
        let open = self.ready.iter().filter(|(lane, _)| is_open(lane));
        let first = open.filter_map(|(_, names)| names.first()).min()?;
        Some(first.2.clone())
    }

    /// When the first name is to be looked at.
    pub(super) fn next_later(&self) -> Option<Timestamp> {
        self.later.first().map(|(moment, _)| *moment)
    }

    /// The lanes in which names are due, and how many.
    pub(super) fn ready_lanes(&self) -> impl Iterator<Item = (&Lane, usize)> {
        self.ready.iter().map(|(lane, names)| (lane, names.len()))
    }

    /// Has the authority of a name asked at `moment` in place of `before`.
    pub(super) fn put_ask(
        &mut self,
        name: &Name,
        before: Option<Timestamp>,
        moment: Option<Timestamp>,
    ) {
        if before == moment {
            return;
        }
        if let Some(before) = before {
            self.asks.remove(&(before, name.clone()));
        }
        if let Some(moment) = moment {
            self.asks.insert((moment, name.clone()));
        }
    }

    /// The first name whose authority is to be asked, and when; it stays where it is.
    pub(super) fn first_ask(&self) -> Option<&(Timestamp, Name)> {
        self.asks.first()
    }
}

/// When a name of which `action` is the plan is to be looked at again.
pub(super) fn moment_of(action: Action) -> Option<Timestamp> {
    match action {
        Action::Issue | Action::Renew(_) | Action::Forget => None,
        Action::Wait { until } | Action::BackOff { until } => Some(until),
    }
}
