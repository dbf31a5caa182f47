//! Asks authorities when they would have certificates renewed (RFC 9773), at a pace that neither
//! they nor this machine notice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proto::sidecar::error_chain::Chain;
use proto::sidecar::shutdown::Shutdown;
use tokio::task::JoinSet;

use super::Manager;
use super::limits::Bucket;
use crate::backoff::{self, Retry};
use crate::issuer::{IssueError, RenewalInfo};
use crate::metrics::Poll;
use crate::name::Name;
use crate::plan::spread;
use crate::policy::IssuerId;
use crate::record::{Record, Step};
use crate::store::StoreError;

/// How many are asked about at once, and the time in which as many more may be: a hundred thousand
/// names take three hours, and are asked about a few times a day.
const PACE: (u32, Duration) = (10, Duration::from_secs(1));
/// How long an authority may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time without a look, so that a clock that was set is noticed.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(10);
/// Names that waited for an authority are asked about over this time when it may be asked again.
const SPREAD_AFTER_PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// Authorities that could not be asked.
#[derive(Debug, Default)]
struct Pauses(HashMap<IssuerId, Pause>);

#[derive(Clone, Copy, Debug)]
struct Pause {
    failures: u32,
    until: Timestamp,
}

/// What an authority answered of one certificate.
struct Answer {
    name: Name,
    serial: String,
    issuer: IssuerId,
    result: Result<Option<RenewalInfo>, IssueError>,
}

impl Manager {
    /// Asks about each certificate when it is time, until shutdown.
    pub(super) async fn ask_authorities(self: &Arc<Self>, shutdown: &Shutdown) {
        let mut pace = Bucket::new(PACE.0, PACE.1, self.now());
        let mut pauses = Pauses::default();
        loop {
            let now = self.now();
            let next = match pace.empty_until(now) {
                Some(until) => until,
                None => {
                    let names = self.names.lock().pop_asks(now, pace.available(now));
                    if !names.is_empty() {
                        tokio::select! {
                            () = shutdown.token.cancelled() => return,
                            () = self.ask_about(names, &mut pauses, &mut pace) => {}
                        }
                        continue;
                    }
                    let longest = now + LONGEST_WAIT;
                    let next = self.names.lock().next_ask();
                    next.map_or(longest, |next| next.min(longest))
                }
            };
            tokio::select! {
                () = shutdown.token.cancelled() => return,
                () = self.ask.notified() => {}
                () = self.parts.clock.sleep_until(next) => {}
            }
        }
    }

    async fn ask_about(self: &Arc<Self>, names: Vec<Name>, pauses: &mut Pauses, pace: &mut Bucket) {
        let mut asks = JoinSet::new();
        let mut asked = Vec::new();
        for name in names {
            let now = self.now();
            let record = self.names.lock().record(&name).cloned();
            let certificate = record
                .as_ref()
                .and_then(|record| record.certificate.as_ref());
            let issuer = certificate.map(|facts| &facts.issuer);
            if let Some(until) = issuer.and_then(|issuer| pauses.until(issuer, &name, now)) {
                self.names.lock().asked(&name, Some(until), now);
            } else if let Some(record) = record {
                pace.take(now);
                let manager = Arc::clone(self);
                asks.spawn(async move { manager.ask(record).await });
                asked.push(name);
            }
        }
        let answers = asks.join_all().await;
        let kept = self
            .keep_answers(answers.into_iter().flatten(), pauses)
            .await;
        let now = self.now();
        let not_before = kept.err().map(|error| {
            tracing::error!(
                error = %Chain(&error),
                "what authorities said of renewal cannot be kept"
            );
            now + LONGEST_WAIT
        });
        let mut known = self.names.lock();
        for name in &asked {
            known.asked(name, not_before, now);
        }
    }

    /// `None` when there is nothing to ask any more.
    async fn ask(&self, record: Record) -> Option<Answer> {
        let facts = record.certificate.as_ref()?;
        let issuers = record.policy.iter().flat_map(|policy| &policy.issuers);
        let policy = issuers
            .into_iter()
            .find(|policy| policy.id() == facts.issuer)?;
        let asked = async {
            let stored = self.parts.storage.certificate(&record.name).await;
            let stored = stored
                .map_err(|error| IssueError::new(Step::Store, Chain(&error).to_string()))?
                .ok_or_else(|| IssueError::new(Step::Store, "the certificate is not stored"))?;
            let issuer = self.parts.issuers.issuer(policy)?;
            issuer.renewal_info(&stored).await
        };
        let result = match tokio::time::timeout(TIMEOUT, asked).await {
            Ok(result) => result.and_then(checked),
            Err(_) => Err(IssueError::new(
                Step::RenewalInfo,
                format!("no answer within {} s", TIMEOUT.as_secs()),
            )),
        };
        Some(Answer {
            name: record.name.clone(),
            serial: facts.serial.clone(),
            issuer: facts.issuer.clone(),
            result,
        })
    }

    async fn keep_answers(
        &self,
        answers: impl Iterator<Item = Answer>,
        pauses: &mut Pauses,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let mut by_name = HashMap::new();
        for answer in answers {
            self.note(&answer, pauses, now);
            by_name.insert(answer.name.clone(), answer);
        }
        let names: Vec<Name> = by_name.keys().cloned().collect();
        self.commit_known(&names, |record| {
            let Some(answer) = by_name.get(&record.name) else {
                return;
            };
            let random = rand::random::<f64>();
            match &answer.result {
                Ok(info) => record.told(&answer.serial, info.clone(), now, random),
                Err(error) => record.not_told(&answer.serial, error.retry, now, random),
            }
            warn_of_recall(record, now);
        })
        .await
    }

    fn note(&self, answer: &Answer, pauses: &mut Pauses, now: Timestamp) {
        let poll = match &answer.result {
            Ok(Some(_)) => Poll::Window,
            Ok(None) => Poll::NoWindow,
            Err(_) => Poll::Failed,
        };
        self.parts.metrics.count_poll(&answer.issuer, poll);
        match &answer.result {
            Ok(_) => pauses.end(&answer.issuer),
            Err(error) => {
                tracing::warn!(
                    name = %answer.name,
                    issuer = %answer.issuer,
                    problem = error.message,
                    "the authority cannot be asked when to renew; what is known of it stays"
                );
                if error.step != Step::Store {
                    pauses.begin(&answer.issuer, error.retry, now);
                }
            }
        }
    }
}

impl Pauses {
    /// Until when `issuer` is not asked about `name`, if it is not by `now`.
    fn until(&self, issuer: &IssuerId, name: &Name, now: Timestamp) -> Option<Timestamp> {
        let until = self.0.get(issuer)?.until;
        let spread = SPREAD_AFTER_PAUSE.mul_f64(spread::fraction(name, ""));
        (now < until).then(|| until + spread)
    }

    fn begin(&mut self, issuer: &IssuerId, retry: Retry, now: Timestamp) {
        let pause = self.0.entry(issuer.clone()).or_insert(Pause {
            failures: 0,
            until: now,
        });
        // Those that were asked together fail together.
        if now >= pause.until {
            pause.failures = pause.failures.saturating_add(1);
            let delay = backoff::delay(pause.failures, Duration::ZERO, retry, 0.5);
            pause.until = now + delay;
        }
    }

    fn end(&mut self, issuer: &IssuerId) {
        self.0.remove(issuer);
    }
}

/// A window that ends before it begins is none (RFC 9773 section 4.2).
fn checked(info: Option<RenewalInfo>) -> Result<Option<RenewalInfo>, IssueError> {
    match info {
        Some(info) if info.window_end <= info.window_start => Err(IssueError::new(
            Step::RenewalInfo,
            format!(
                "a window from {} to {} is none",
                info.window_start, info.window_end
            ),
        )),
        info => Ok(info),
    }
}

fn warn_of_recall(record: &Record, now: Timestamp) {
    let window = record.window();
    if let Some(window) = window.filter(|window| window.is_recall() && window.told_at == now) {
        tracing::warn!(
            name = %record.name,
            explanation = window.explanation_url,
            "THE AUTHORITY RECALLS THE CERTIFICATE; it is replaced at once"
        );
    }
}
