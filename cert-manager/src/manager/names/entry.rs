//! One name.

use std::borrow::Cow;

use jiff::Timestamp;
use proto::certs::v1;

use super::queue::{Lane, Place, moment_of};
use crate::manager::figures::NameFigures;
use crate::manager::limits::{Standing, Waiting};
use crate::manager::view::{self, Situation};
use crate::plan::{Action, Urgency, ask_at, ends_soon_at, plan};
use crate::record::Record;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Record,
    /// How many connected proxies declare it.
    pub(super) declared_by: u32,
    /// Something is being done about it.
    pub(super) busy: bool,
    /// What it waits for, although it is due.
    pub(super) waiting: Option<Waiting>,
    /// Where it stands in the queues.
    pub(super) place: Place,
    /// When its authority is asked about renewal, and before which moment it is not.
    pub(super) ask_at: Option<Timestamp>,
    /// Its authority is being asked.
    pub(super) asking: bool,
    pub(super) ask_not_before: Option<Timestamp>,
    /// Attempts since the start of the program.
    pub(super) obtained: u64,
    pub(super) failed: u64,
}

impl Entry {
    pub(super) fn new(record: Record, declared_by: u32) -> Self {
        Self {
            record,
            declared_by,
            busy: false,
            waiting: None,
            place: Place::default(),
            ask_at: None,
            asking: false,
            ask_not_before: None,
            obtained: 0,
            failed: 0,
        }
    }

    /// What to do.
    pub(super) fn plan(&self, now: Timestamp) -> Action {
        let record = self.present(now);
        plan(now, record.policy.as_ref(), &record)
    }

    /// The record, with the declaration of a connected proxy as fresh as can be.
    pub(super) fn present(&self, now: Timestamp) -> Cow<'_, Record> {
        let mut record = Cow::Borrowed(&self.record);
        let is_stale = !record.declared || record.declared_at < now;
        if self.declared_by > 0 && is_stale {
            let record = record.to_mut();
            record.declared = true;
            record.declared_at = now;
        }
        record
    }

    /// Where the name belongs in the queues.
    pub(super) fn place_at(&self, now: Timestamp) -> Place {
        if self.busy {
            return Place::default();
        }
        let action = self.plan(now);
        if let Some(moment) = moment_of(action) {
            return Place::later(moment);
        }
        if let Some(until) = self.waits_until(now) {
            return Place::later(until);
        }
        let urgency = Urgency::of(action, &self.record, now);
        let urgent_at = ends_soon_at(&self.record).filter(|moment| now < *moment);
        Place::ready(self.lane(action), urgency, now, urgent_at)
    }

    /// When the authority is to be asked about renewal.
    pub(super) fn ask_moment(&self, now: Timestamp) -> Option<Timestamp> {
        if self.asking {
            return None;
        }
        let record = self.present(now);
        let moment = ask_at(now, record.policy.as_ref(), &record)?;
        Some(
            self.ask_not_before
                .map_or(moment, |not_before| not_before.max(moment)),
        )
    }

    pub(super) fn status(
        &self,
        now: Timestamp,
        gate: impl FnOnce(&Lane) -> Option<Waiting>,
    ) -> v1::NameStatus {
        let record = self.present(now);
        let action = plan(now, record.policy.as_ref(), &record);
        let is_due = !self.busy && matches!(action, Action::Issue | Action::Renew(_));
        let waiting = is_due.then(|| {
            let own = self.waiting.clone();
            own.filter(|waiting| waiting.until.is_some_and(|until| now < until))
                .or_else(|| gate(&self.lane(action)))
        });
        let situation = Situation {
            action,
            busy: self.busy,
            declared_by: self.declared_by,
            waiting: waiting.flatten(),
        };
        view::status(&record, situation, now)
    }

    pub(super) fn figures(&self, now: Timestamp) -> NameFigures {
        let record = self.present(now);
        let action = plan(now, record.policy.as_ref(), &record);
        let certificate = record.certificate.as_ref();
        let is_valid = certificate.is_some_and(|facts| facts.is_valid_at(now));
        NameFigures {
            name: record.name.clone(),
            state: view::state(&record, action, self.busy, is_valid),
            not_after: certificate.map(|facts| facts.not_after),
            obtained: self.obtained,
            failed: self.failed,
            last_error: record
                .last_problem
                .as_ref()
                .map(|problem| (problem.at, problem.kind())),
        }
    }

    /// How an order for the name counts.
    pub(super) fn standing(&self) -> Standing {
        let record = &self.record;
        let replaces_in_time = || {
            let policy = record.policy.as_ref().zip(record.certificate.as_ref());
            record.window().is_some()
                && policy.is_some_and(|(policy, facts)| {
                    policy
                        .issuers
                        .first()
                        .is_some_and(|first| first.id() == facts.issuer)
                })
        };
        if record.is_requested_anew() {
            Standing::Requested
        } else if replaces_in_time() {
            Standing::Covered
        } else {
            Standing::Ordinary
        }
    }

    /// Forgetting needs nobody else.
    fn lane(&self, action: Action) -> Lane {
        let policy = self.record.policy.as_ref();
        Lane::of(policy.filter(|_| action != Action::Forget), self.standing())
    }

    fn waits_until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = self.waiting.as_ref()?.until?;
        (now < until).then_some(until)
    }
}
