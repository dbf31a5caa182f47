//! One attempt to obtain a certificate for a name.

use std::time::Duration;

use jiff::Timestamp;
use proto::sidecar::error_chain::Chain;

use super::Manager;
use super::gate::{self, Permit};
use super::limits::{AccountId, Standing, Waiting};
use crate::backoff;
use crate::certificate::PrivateKey;
use crate::fail_point::FailPoint;
use crate::issuer::{IssueError, Issued, Request};
use crate::metrics::Outcome;
use crate::name::Name;
use crate::policy::{IssuerId, IssuerPolicy, Policy};
use crate::record::{IssuerFailure, Record, Step};

/// What came of an attempt.
enum Attempted {
    /// Nobody was asked: every issuer has to wait.
    Deferred(Waiting),
    /// No issuer issued.
    Failed(Vec<IssuerFailure>),
    /// A certificate is stored; what failed before is told as well.
    Obtained(Box<Issued>, Vec<IssuerFailure>),
}

impl Manager {
    /// Tries the issuers of the policy in order, and keeps what comes of it.
    pub(super) async fn obtain(&self, name: &Name, permit: &Permit) {
        let (record, policy) = {
            let names = self.names.lock();
            let Some(record) = names.record(name) else {
                return;
            };
            let Some(policy) = record.policy.clone() else {
                return;
            };
            (record.clone(), policy)
        };
        let attempted = match self.permit_attempt(name, &policy).await {
            Ok(()) => self.try_issuers(&record, &policy, permit).await,
            Err(refused) => {
                // Nothing was ordered.
                self.give_back(permit.charged.clone(), permit.standing);
                Attempted::Failed(self.failed_at_all(&policy, refused))
            }
        };
        match attempted {
            Attempted::Deferred(waiting) => self.defer(name, waiting),
            Attempted::Failed(failures) => {
                self.keep_failures(name, &policy, &failures).await;
                if let Some(last) = failures.last() {
                    self.look_after(name, &policy, last.problem.step).await;
                }
            }
            Attempted::Obtained(issued, failures) => {
                self.keep_success(name, &issued, &failures).await;
            }
        }
    }

    async fn try_issuers(&self, record: &Record, policy: &Policy, permit: &Permit) -> Attempted {
        let mut request = match self.request(record, policy).await {
            Ok(request) => request,
            Err(error) => return Attempted::Failed(self.failed_at_all(policy, error)),
        };
        let mut failures = Vec::new();
        let mut waiting = None;
        let mut charged = permit.charged.clone();
        for issuer in &policy.issuers {
            let standing = standing_at(issuer, record, permit.standing);
            if let Some(held) = self.hold_back(record, issuer, standing, &mut charged) {
                waiting = Some(gate::sooner(waiting, held));
                continue;
            }
            let id = issuer.id();
            let state = record.issuer_state(&id);
            request.rehearse = state.is_some_and(|state| state.rehearse);
            match self.try_issuer(&request, issuer, standing).await {
                Ok(issued) => {
                    self.parts.metrics.count(issuer, Outcome::Issued);
                    self.give_back(charged, permit.standing);
                    return Attempted::Obtained(Box::new(issued), failures);
                }
                Err(error) => {
                    self.parts.metrics.count(issuer, Outcome::Failed);
                    let retry = error.retry;
                    tracing::info!(
                        name = %record.name,
                        issuer = %id,
                        step = %error.step,
                        problem = error.message,
                        "no certificate from this issuer"
                    );
                    failures.push(IssuerFailure {
                        issuer: id,
                        problem: error.into_problem(self.now()),
                        retry,
                    });
                }
            }
        }
        self.give_back(charged, permit.standing);
        match waiting {
            Some(waiting) if failures.is_empty() => Attempted::Deferred(waiting),
            None if failures.is_empty() => {
                let error =
                    IssueError::new(Step::Preflight, "the policy of the name has no issuer");
                Attempted::Failed(self.failed_at_all(policy, error))
            }
            _ => Attempted::Failed(failures),
        }
    }

    /// Obtains a certificate and stores it, in that order made durable.
    async fn try_issuer(
        &self,
        request: &Request,
        policy: &IssuerPolicy,
        standing: Standing,
    ) -> Result<Issued, IssueError> {
        if let Err(error) = self.look_ahead(&request.name, policy).await {
            // Nothing was ordered.
            self.give_back(account_of(policy), standing);
            return Err(error);
        }
        let issuer = self.parts.issuers.issuer(policy)?;
        let issued = issuer.issue(request).await?;
        self.parts
            .storage
            .put_certificate(&issued.certificate)
            .await
            .map_err(in_store)?;
        if let Err(error) = issuer.stored(&request.name).await {
            // Harmless: an order whose certificate is stored is not gone on with.
            tracing::warn!(name = %request.name, error = %Chain(&error), "an order is left over");
        }
        Ok(issued)
    }

    async fn request(&self, record: &Record, policy: &Policy) -> Result<Request, IssueError> {
        let key = self.key_to_keep(record, policy).await?;
        Ok(Request {
            name: record.name.clone(),
            key_type: policy.key_type,
            key,
            replaces: record
                .certificate
                .as_ref()
                .map(|facts| facts.serial.clone()),
            rehearse: false,
            challenge: record.challenge,
        })
    }

    /// The key of the present certificate where the policy keeps it and wants its kind; never that of a
    /// certificate which has been revoked.
    async fn key_to_keep(
        &self,
        record: &Record,
        policy: &Policy,
    ) -> Result<Option<PrivateKey>, IssueError> {
        let has_good = record.certificate.is_some() && record.revoked.is_none();
        if !policy.reuse_private_key || !has_good {
            return Ok(None);
        }
        let stored = self.parts.storage.certificate(&record.name).await;
        let key = stored.map_err(in_store)?.map(|stored| stored.key);
        Ok(key.filter(|key| key.is_of(policy.key_type)))
    }

    /// What an order at `issuer` waits for; else the order is counted. `charged` is the account
    /// that one has been counted for already.
    fn hold_back(
        &self,
        record: &Record,
        issuer: &IssuerPolicy,
        standing: Standing,
        charged: &mut Option<AccountId>,
    ) -> Option<Waiting> {
        let now = self.now();
        let id = issuer.id();
        if let Some(until) = record.issuer_waits_until(&id, now) {
            let state = record.issuer_state(&id);
            let limit = state.and_then(|state| state.limit.as_ref());
            let why = limit.map_or("what failed there before", |limit| &limit.message);
            return Some(Waiting {
                until: Some(until),
                what: format!("{id}: {why}"),
            });
        }
        let account = account_of(issuer)?;
        let mut limits = self.limits.lock();
        if let Some(waiting) = limits.check_name(&account, &record.name, standing, now) {
            return Some(waiting);
        }
        if charged.as_ref() == Some(&account) {
            *charged = None;
            return None;
        }
        let waiting = limits.check(&account, standing, now);
        if waiting.is_none() {
            limits.take(&account, standing, now);
        }
        waiting
    }

    fn give_back(&self, account: Option<AccountId>, standing: Standing) {
        if let Some(account) = account {
            let now = self.now();
            self.limits.lock().give_back(&account, standing, now);
        }
    }

    fn defer(&self, name: &Name, mut waiting: Waiting) {
        let now = self.now();
        // Or the name would be tried again at once.
        waiting.until.get_or_insert(now + backoff::FIRST);
        tracing::debug!(%name, waiting_for = waiting.what, "an attempt waits");
        self.names.lock().defer(name, waiting, now);
    }

    async fn keep_success(&self, name: &Name, issued: &Issued, failures: &[IssuerFailure]) {
        FailPoint::CertificateStored.reached();
        let facts = &issued.certificate.facts;
        tracing::info!(
            %name,
            issuer = %facts.issuer,
            serial = facts.serial,
            not_after = %facts.not_after,
            "certificate obtained"
        );
        let now = self.now();
        let random = rand::random::<f64>();
        let kept = self
            .commit(std::slice::from_ref(name), |record| {
                record.note_failures(failures, random);
                record.succeed(facts.clone());
                record.challenge = issued.challenge.or(record.challenge);
                record.note_attempt(now, facts.issuer.clone(), None);
            })
            .await;
        if let Err(error) = kept {
            tracing::error!(%name, error = %Chain(&error), "a record cannot be kept");
        }
        self.names.lock().count(name, true);
        self.learn_limits(name, now);
        self.deliver(name);
        FailPoint::CertificateAnnounced.reached();
    }

    async fn keep_failures(&self, name: &Name, policy: &Policy, failures: &[IssuerFailure]) {
        let Some(IssuerFailure { problem, .. }) = failures.last() else {
            return;
        };
        let now = self.now();
        let random = rand::random::<f64>();
        let mut delay = Duration::ZERO;
        let mut count = 0;
        let kept = self
            .commit(std::slice::from_ref(name), |record| {
                // Other issuers, declared meanwhile, are tried without delay.
                if record.policy.as_ref().map(|known| &known.issuers) == Some(&policy.issuers) {
                    delay = record.fail_at_issuers(failures, random);
                }
                count = record.failures;
            })
            .await;
        let headline = match problem.step {
            Step::Challenge => "Challenge failed",
            _ => "No certificate",
        };
        let advice = match problem.hint.as_str() {
            "" => problem.message.as_str(),
            hint => hint,
        };
        tracing::warn!(
            %name,
            step = %problem.step,
            problem = problem.message,
            failures = count,
            next_attempt = %(now + delay),
            "{headline}: {advice}"
        );
        if let Err(error) = kept {
            tracing::error!(%name, error = %Chain(&error), "a failure cannot be kept");
            // Kept in memory all the same, or the name would be tried again at once.
            let mut names = self.names.lock();
            if let Some(mut record) = names.record(name).cloned() {
                record.fail_at_issuers(failures, random);
                names.insert(record, now);
            }
        }
        self.names.lock().count(name, false);
        self.learn_limits(name, now);
    }

    /// Holds back what the limits that the attempt for `name` has met cover.
    fn learn_limits(&self, name: &Name, now: Timestamp) {
        let Some(record) = self.names.lock().record(name).cloned() else {
            return;
        };
        let mut limits = self.limits.lock();
        for account in gate::accounts(&record) {
            if limits.learn(&account, &record, now) {
                tracing::warn!(
                    %name,
                    directory = account.directory_url(),
                    "the authority asks to come back later; other names wait as well"
                );
            }
        }
    }

    fn failed_at_all(&self, policy: &Policy, error: IssueError) -> Vec<IssuerFailure> {
        let first = policy.issuers.first();
        vec![IssuerFailure {
            issuer: first.map_or(IssuerId::Internal, IssuerPolicy::id),
            retry: error.retry,
            problem: error.into_problem(self.now()),
        }]
    }
}

/// How an order at `issuer` counts: only the authority of the present certificate has named a time.
fn standing_at(issuer: &IssuerPolicy, record: &Record, standing: Standing) -> Standing {
    let certificate = record.certificate.as_ref();
    match standing {
        Standing::Covered if certificate.is_none_or(|facts| facts.issuer != issuer.id()) => {
            Standing::Ordinary
        }
        standing => standing,
    }
}

fn account_of(policy: &IssuerPolicy) -> Option<AccountId> {
    match policy {
        IssuerPolicy::Acme(acme) => Some(AccountId::of(acme)),
        IssuerPolicy::Internal { .. } => None,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a parameter of map_err")]
fn in_store(error: crate::store::StoreError) -> IssueError {
    IssueError::new(Step::Store, Chain(&error).to_string())
}
