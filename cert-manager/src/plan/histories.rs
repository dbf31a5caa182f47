//! Invented histories: whatever happens, no certificate is lost, nobody is asked too often, and in
//! the end there is a certificate.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::tests::{DAY, LIFETIMES, declared, facts, issuer, policy, problem, start};
use super::*;
use crate::backoff::{self, JITTER, LONGEST_ASKED, Retry};
use crate::issuer::RenewalInfo;
use crate::name::Name;
use crate::policy::IssuerPolicy;
use crate::record::IssuerFailure;

const ISSUERS: [&str; 2] = ["https://a.test/", "https://b.test/"];

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    /// Time passes, or the clock is set, by so many minutes.
    Clock(i64),
    /// A proxy declares the name, with so many issuers of which the first is this.
    Declare(usize, usize),
    /// Every proxy drops the name.
    Drop,
    /// An operator asks for a new certificate.
    Request,
    /// An authority answers like this from here on.
    Authority(usize, Mood),
    /// The authority is asked about renewal, and names a window that begins after so many thousandths
    /// of the lifetime and lasts for so many.
    Told(i32, i32),
    /// The authority is asked about renewal and does not answer.
    NotTold,
    /// The program ends and starts again.
    Restart,
}

/// How an authority answers.
#[derive(Clone, Copy, Debug)]
enum Mood {
    /// It issues for so long.
    Issues(SignedDuration),
    /// It fails, and says when to try again.
    Fails(Retry),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let mood = prop_oneof![
        prop::sample::select(&LIFETIMES[..]).prop_map(Mood::Issues),
        Just(Mood::Fails(Retry::Backoff)),
        Just(Mood::Fails(Retry::Daily)),
        (1_u64..1_000_000).prop_map(|s| Mood::Fails(Retry::After(Duration::from_secs(s)))),
    ];
    let event = prop_oneof![
        8 => (1_i64..20_000).prop_map(Event::Clock),
        4 => (1_i64..90).prop_map(Event::Clock),
        1 => (-50_000_i64..0).prop_map(Event::Clock),
        3 => (0..ISSUERS.len(), 1..=ISSUERS.len()).prop_map(|(first, n)| Event::Declare(first, n)),
        1 => Just(Event::Drop),
        1 => Just(Event::Request),
        4 => (0..ISSUERS.len(), mood).prop_map(|(which, mood)| Event::Authority(which, mood)),
        2 => (-2000_i32..2000, 1_i32..500).prop_map(|(begin, length)| Event::Told(begin, length)),
        1 => Just(Event::NotTold),
        1 => Just(Event::Restart),
    ];
    prop::collection::vec(event, 1..80)
}

/// A name, its authorities, and what must hold of them.
struct World {
    now: Timestamp,
    record: Option<Record>,
    moods: [Mood; 2],
    /// When the last attempt failed, and before when there must not be another.
    failed: Option<(Timestamp, Timestamp)>,
    /// The same for each issuer that asked to come back later.
    asked: HashMap<IssuerId, (Timestamp, Timestamp)>,
}

impl World {
    fn new() -> Self {
        Self {
            now: start(),
            record: Some(declared()),
            moods: [Mood::Fails(Retry::Backoff); 2],
            failed: None,
            asked: HashMap::new(),
        }
    }

    fn happen(&mut self, event: &Event) {
        let now = self.now;
        match event {
            Event::Clock(minutes) => self.now += SignedDuration::from_mins(*minutes),
            Event::Declare(first, count) => self.declare(*first, *count),
            Event::Authority(which, mood) => self.moods[*which] = *mood,
            Event::Restart => {
                let stored = serde_json::to_vec(&self.record).unwrap();
                self.record = serde_json::from_slice(&stored).unwrap();
            }
            Event::Drop => self.with_record(|record| record.declared = false),
            Event::Request => {
                self.with_record(|record| record.request_renewal(now));
                self.failed = None;
                self.asked.clear();
            }
            Event::Told(begin, length) => self.with_record(|record| {
                let Some(facts) = record.certificate.clone() else {
                    return;
                };
                let lifetime = lifetime(&facts);
                let window_start = facts.not_before + lifetime * *begin / 1000;
                let info = RenewalInfo {
                    window_start,
                    window_end: window_start + lifetime * *length / 1000,
                    explanation_url: None,
                    ask_again_after: Duration::from_secs(6 * 3600),
                };
                record.told(&facts.serial, Some(info), now, 0.3);
            }),
            Event::NotTold => self.with_record(|record| {
                if let Some(facts) = record.certificate.clone() {
                    record.not_told(&facts.serial, Retry::Backoff, now, 0.3);
                }
            }),
        }
    }

    fn declare(&mut self, first: usize, count: usize) {
        let mut policy = policy();
        let urls = ISSUERS.iter().cycle().skip(first).take(count);
        policy.issuers = urls.map(|url| issuer(url)).collect();
        let now = self.now;
        let record = self
            .record
            .get_or_insert_with(|| Record::new(Name::parse("a.school.org").unwrap(), now));
        if record.policy.as_ref().map(|known| &known.issuers) != Some(&policy.issuers) {
            self.failed = None;
        }
        record.declare(policy, now);
    }

    fn with_record(&mut self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            change(record);
        }
    }

    /// Follows the plan as the manager would.
    fn act(&mut self) {
        let Some(mut record) = self.record.take() else {
            return;
        };
        let now = self.now;
        let valid_before = record
            .certificate
            .clone()
            .filter(|facts| facts.is_valid_at(now));
        match plan(now, record.policy.as_ref(), &record) {
            action @ (Action::Issue | Action::Renew(_)) => {
                self.attempt(action, &mut record);
                self.record = Some(record);
            }
            Action::Forget => {
                assert_eq!(valid_before, None, "a valid certificate was dropped");
                self.asked.clear();
            }
            Action::Wait { until } | Action::BackOff { until } => {
                assert!(until > now, "waits for the past");
                self.record = Some(record);
            }
        }
        if valid_before.is_some() {
            let kept = self
                .record
                .as_ref()
                .and_then(|record| record.certificate.as_ref());
            assert!(
                kept.is_some_and(|facts| facts.is_valid_at(now)),
                "nothing valid is left"
            );
        }
    }

    fn attempt(&mut self, action: Action, record: &mut Record) {
        let now = self.now;
        let mut failures = Vec::new();
        let mut obtained = None;
        let issuers = record.policy.clone().unwrap().issuers;
        for id in issuers.iter().map(IssuerPolicy::id) {
            if record.issuer_waits_until(&id, now).is_some() {
                continue;
            }
            self.assert_may_ask(&id);
            match self.moods[usize::from(id.to_string() == ISSUERS[1])] {
                Mood::Issues(lifetime) => {
                    obtained = Some(Facts {
                        issuer: id,
                        ..facts(now, lifetime)
                    });
                    break;
                }
                Mood::Fails(retry) => failures.push(IssuerFailure {
                    issuer: id,
                    problem: problem(now),
                    retry,
                }),
            }
        }
        if obtained.is_none() && failures.is_empty() {
            // Every issuer waits; the manager looks again when the first does not any more.
            return;
        }
        self.assert_may_attempt(action, record);
        for failure in &failures {
            // What it asked for last counts, also where its last answer asks for nothing.
            self.asked.remove(&failure.issuer);
            if let Retry::After(asked) = failure.retry {
                let until = now + asked.min(LONGEST_ASKED);
                self.asked.insert(failure.issuer.clone(), (now, until));
            }
        }
        match obtained {
            Some(facts) => {
                record.note_failures(&failures, 0.4);
                let issuer = facts.issuer.clone();
                record.succeed(facts);
                record.note_attempt(now, issuer.clone(), None);
                self.asked.remove(&issuer);
                self.failed = None;
            }
            None => {
                let exponent = record.failures.min(16);
                let wait = (backoff::FIRST * 2_u32.pow(exponent)).min(backoff::LONGEST);
                self.failed = Some((now, now + wait.mul_f64(1.0 - JITTER)));
                record.fail_at_issuers(&failures, 0.4);
            }
        }
    }

    fn assert_may_attempt(&self, action: Action, record: &Record) {
        let recalled_since = |failed_at| {
            action == Action::Renew(Reason::Recall)
                && record.recall().is_some_and(|told_at| failed_at < told_at)
        };
        if let Some((failed_at, not_before)) = self.failed
            && !recalled_since(failed_at)
        {
            self.assert_waited(failed_at, not_before, "the backoff");
        }
    }

    fn assert_may_ask(&self, issuer: &IssuerId) {
        if let Some((failed_at, not_before)) = self.asked.get(issuer) {
            self.assert_waited(*failed_at, *not_before, "what the authority asked for");
        }
    }

    /// A wait that a clock set which has been put back since is none.
    fn assert_waited(&self, failed_at: Timestamp, not_before: Timestamp, what: &str) {
        let now = self.now;
        let is_put_back = failed_at.duration_since(now) > CLOCK_TOLERANCE;
        assert!(
            is_put_back || now >= not_before,
            "tried at {now} in spite of {what} until {not_before}"
        );
    }
}

proptest! {
    #[test]
    fn histories_keep_what_is_valid_and_respect_every_wait(events in events()) {
        let mut world = World::new();
        for event in &events {
            world.happen(event);
            world.act();
        }
        // Once the authorities work, a name that is wanted has a certificate in the time that they
        // may ask for.
        world.moods = [Mood::Issues(LIFETIMES[4]); 2];
        world.declare(0, 2);
        for _ in 0..12 {
            world.now += DAY;
            world.declare(0, 2);
            world.act();
        }
        let record = world.record.unwrap();
        let held = record.certificate.as_ref();
        prop_assert!(held.is_some_and(|facts| facts.is_valid_at(world.now)), "{record:?}");
    }

    #[test]
    fn a_renewal_always_leaves_time_to_try_again(
        lifetime in prop::sample::select(&LIFETIMES[..]),
        ratio in 0.01_f64..0.99,
        window in prop::option::of((-2000_i32..2000, 1_i32..2000)),
    ) {
        let mut record = declared();
        record.policy.as_mut().unwrap().renewal_window = RenewalWindow::from_ratio(ratio);
        record.succeed(facts(start(), lifetime));
        record.obtained_at = Some(start());
        if let Some((begin, length)) = window {
            let serial = record.certificate.as_ref().unwrap().serial.clone();
            let window_start = start() + lifetime * begin / 1000;
            let info = RenewalInfo {
                window_start,
                window_end: window_start + lifetime * length / 1000,
                explanation_url: None,
                ask_again_after: Duration::from_secs(3600),
            };
            record.told(&serial, Some(info), start(), 0.0);
        }
        let chosen = record.policy.as_ref().unwrap().renewal_window;
        let at = renewal(chosen, &record).unwrap().at;
        let left = (start() + lifetime).duration_since(at);
        let least = (lifetime / ROOM_FOR_RETRIES).min(chosen.of(lifetime).mul_f64(0.9));
        prop_assert!(left >= least, "{left} of {lifetime}");
        prop_assert!(at > start());
    }
}
