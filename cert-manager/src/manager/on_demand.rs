//! A certificate for a client that waits for it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::broadcast::error::RecvError;

use super::Manager;
use crate::backoff::Retry;
use crate::certificate::Certificate;
use crate::issuer::IssueError;
use crate::name::Name;
use crate::on_demand::Refusal;
use crate::policy::Policy;
use crate::record::{Record, Step};
use crate::store::StoreError;

/// How long one call waits for the attempt, which goes on after that. A little less than a proxy
/// waits, so that it hears why.
const PATIENCE: Duration = Duration::from_secs(85);

/// A name that is asked for again is known to be used at least this often.
const TOUCH_INTERVAL: SignedDuration = SignedDuration::from_hours(24);

/// Why there is no certificate for a client that waits.
#[derive(Debug, thiserror::Error)]
pub enum ObtainError {
    /// The name is none that is certified on demand.
    #[error("{0} is not certified on demand: only host names with a dot and no wildcard are")]
    Name(Name),
    /// The policy is for names that are known beforehand.
    #[error("the policy does not allow names that are not declared")]
    Policy,
    /// The app does not allow it, or does not say.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many names at once.
    #[error("too many new names are being asked for; try again in a minute")]
    TooMany,
    /// It was tried and failed.
    #[error("{message}; the next attempt is {}", next(*next_attempt))]
    Failed {
        /// What happened.
        message: String,
        /// When it is tried again, if it is.
        next_attempt: Option<Timestamp>,
    },
    /// It is still being tried.
    #[error("the authority takes its time; the attempt goes on")]
    Slow,
    /// The storage refuses.
    #[error("reading or keeping what is known of the name")]
    Store(#[from] StoreError),
}

impl Manager {
    /// Obtains a certificate for a name that a client has just asked for, or gives the one that is
    /// stored. Calls for one name, of whichever proxy, share an attempt. Cancel safe: an attempt
    /// that is under way goes on.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn obtain_on_demand(
        &self,
        name: &Name,
        policy: Policy,
    ) -> Result<Certificate, ObtainError> {
        if name.is_wildcard() || name.as_address().is_some() || !name.as_str().contains('.') {
            return Err(ObtainError::Name(name.clone()));
        }
        if policy.on_demand.is_none() {
            return Err(ObtainError::Policy);
        }
        let turn = self.on_demand().turn(name);
        let _turn = turn.lock().await;
        let now = self.now();
        let record = self.names.lock().record(name).cloned();
        let valid = record.as_ref().is_some_and(|record| is_valid(record, now));
        if let Some(record) = &record
            && !valid
            && record.policy.as_ref() == Some(&policy)
            && record.next_attempt.is_some_and(|next| now < next)
        {
            return Err(failed(record));
        }
        let _room = self.on_demand().enter().ok_or(ObtainError::TooMany)?;
        let is_allowed = record.as_ref().is_some_and(was_allowed);
        let _grant = if valid && is_allowed {
            None
        } else {
            self.on_demand().permit(name, &policy, now).await?;
            Some(self.on_demand().grant(name))
        };
        if !valid && !self.on_demand().count_name(&policy, now) {
            return Err(ObtainError::TooMany);
        }
        let mut changes = self.changes.subscribe();
        let before = self.declare_on_demand(name, policy, now).await?;
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(outcome) = self.outcome(name, before) {
                    return outcome;
                }
                match changes.recv().await {
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    // The sender lives in `self`.
                    Err(RecvError::Closed) => return Err(ObtainError::Slow),
                }
            }
        });
        waited.await.unwrap_or(Err(ObtainError::Slow))?;
        let stored = self.certificate(name).await?;
        stored.ok_or_else(|| ObtainError::Failed {
            message: "the certificate was withdrawn at once".to_owned(),
            next_attempt: None,
        })
    }

    /// Asks for leave to make an attempt, where the policy wants that.
    pub(super) async fn permit_attempt(
        &self,
        name: &Name,
        policy: &Policy,
    ) -> Result<(), IssueError> {
        let permitted = self.on_demand().permit(name, policy, self.now()).await;
        permitted.map_err(|refusal| {
            let error = IssueError::new(Step::Permission, refusal.to_string());
            match refusal {
                Refusal::Denied { .. } => error
                    .with_hint(format!(
                        "the app behind `ask` decides; have it allow {name}"
                    ))
                    .with_retry(Retry::Daily),
                Refusal::Unanswered { .. } => error.with_hint(
                    "is the app behind `ask` running, and can cert-manager reach it by this URL?",
                ),
            }
        })
    }

    /// Makes the name wanted by `policy`. Returns the failures so far.
    async fn declare_on_demand(
        &self,
        name: &Name,
        policy: Policy,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        let is_current = |record: &Record| {
            record.declared
                && record.policy.as_ref() == Some(&policy)
                && now.duration_since(record.declared_at) < TOUCH_INTERVAL
        };
        let known = self.names.lock().record(name).cloned();
        if let Some(record) = known.filter(is_current) {
            return Ok(record.failures);
        }
        let mut failures = 0;
        self.commit(std::slice::from_ref(name), |record| {
            record.declare(policy.clone(), now);
            failures = record.failures;
        })
        .await?;
        Ok(failures)
    }

    /// What came of the attempt that began after `before` failures; `None` while it goes on.
    fn outcome(&self, name: &Name, before: u32) -> Option<Result<(), ObtainError>> {
        let now = self.now();
        let names = self.names.lock();
        let Some(record) = names.record(name) else {
            return Some(Err(ObtainError::Failed {
                message: "the name was forgotten".to_owned(),
                next_attempt: None,
            }));
        };
        if is_valid(record, now) {
            return Some(Ok(()));
        }
        (record.failures > before).then(|| Err(failed(record)))
    }
}

fn is_valid(record: &Record, now: Timestamp) -> bool {
    let certificate = record.certificate.as_ref();
    certificate.is_some_and(|facts| facts.is_valid_at(now))
}

/// Whether the certificate of a name was obtained with leave, which was given and not taken back.
fn was_allowed(record: &Record) -> bool {
    let policy = record.policy.as_ref();
    record.declared
        && policy.is_some_and(|policy| policy.on_demand.is_some())
        && record
            .last_problem
            .as_ref()
            .is_none_or(|problem| problem.step != Step::Permission)
}

fn failed(record: &Record) -> ObtainError {
    let problem = record.last_problem.as_ref();
    ObtainError::Failed {
        message: problem
            .map_or("the attempt failed", |problem| problem.message.as_str())
            .to_owned(),
        next_attempt: record.next_attempt,
    }
}

fn next(next_attempt: Option<Timestamp>) -> String {
    next_attempt.map_or_else(|| "not planned".to_owned(), |next| format!("at {next:.0}"))
}
