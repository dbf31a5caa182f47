//! ACME (RFC 8555) by instant-acme.
//!
//! What instant-acme cannot say is signed and sent here: registrations with a key that is stored
//! already, external accounts, changes of the account key, all fields of an order, and alternate
//! chains.
//!
//! ```text
//! account key stored --> registered --> certificate key stored --> order opened, its URL stored
//!   --> challenge answered by proxies or name servers --> validated --> finalized --> fetched
//! ```
//!
//! Each step is durable before the next, so a run that is killed is taken up with the same account,
//! order and key.

mod account;
mod authorize;
mod chain;
mod failure;
pub(crate) mod http;
mod link;
mod new_order;
mod order;
mod rehearsal;
mod renewal_info;
mod requests;
mod revocation;
mod signing;
mod tries;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use proto::sidecar::dns::Resolver;
use rustls_pki_types::CertificateDer;

use super::{IssueError, Issued, Issuer, RenewalInfo, Request, RevocationReason};
use crate::certificate::{Certificate, PrivateKey};
use crate::challenge::ChallengeBoard;
use crate::clock::Clock;
use crate::name::Name;
use crate::pem;
use crate::policy::{AcmePolicy, IssuerId};
use crate::record::Step;
use crate::store::{Storage, StoreError};

pub use account::{AccountLocks, ZeroSsl};
use authorize::{Refusals, Setback};
use failure::Failure;
pub(crate) use http::Lookup;
use http::Transport;
use requests::Registered;

/// What ACME issuers work with.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Where accounts and open orders are kept.
    pub storage: Arc<dyn Storage>,
    /// Where challenges are published.
    pub challenges: ChallengeBoard,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Resolves the directory's host.
    pub resolver: Resolver,
    /// Certificates trusted for directories, beside the public roots.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// The program that writes DNS records (`--dns-exec`).
    pub dns_exec: Option<PathBuf>,
    /// How long authorities are given to validate and to sign.
    pub patience: Duration,
    /// Keep an account from being registered twice at once.
    pub accounts: AccountLocks,
    /// Where accounts for ZeroSSL come from.
    pub zero_ssl: ZeroSsl,
}

/// How long an authority is given to validate a challenge, and again to sign.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Issues by one account at one ACME authority.
#[derive(Debug)]
pub struct AcmeIssuer {
    environment: Environment,
    id: IssuerId,
    policy: AcmePolicy,
    client: reqwest::Client,
    /// The account key that the policy gives, and the URL of its account once that is known.
    given_key: Option<PrivateKey>,
    given_account_url: Mutex<Option<String>>,
    /// The issuer at the test directory, where there is one.
    rehearsal: Option<Box<Self>>,
}

impl AcmeIssuer {
    /// An issuer that follows `policy`.
    ///
    /// # Errors
    /// When the roots or the account key of the policy are malformed.
    pub fn new(environment: Environment, policy: AcmePolicy) -> Result<Self, IssueError> {
        let directory_url = &policy.directory_url;
        let mut roots = environment.extra_roots.clone();
        if !policy.trusted_roots_pem.trim().is_empty() {
            let more = pem::decode_certificates(&policy.trusted_roots_pem).map_err(|error| {
                IssueError::new(
                    Step::Account,
                    format!("the root certificates for {directory_url} are malformed: {error}"),
                )
                .with_hint("correct the file that acme_ca_root names")
            })?;
            roots.extend(more);
        }
        let client = http::client(&roots, environment.resolver.clone()).map_err(|error| {
            IssueError::new(
                Step::Account,
                format!("no HTTPS client for {directory_url}: {error}"),
            )
        })?;
        let given_key = policy
            .account_key_pem
            .as_ref()
            .map(|pem| PrivateKey::from_pem(pem.reveal()))
            .transpose()
            .map_err(|error| {
                IssueError::new(
                    Step::Account,
                    format!("the account key for {directory_url} cannot be used: {error}"),
                )
                .with_hint("correct account_key in the Caddyfile, or leave it out")
            })?;
        let rehearsal = match rehearsal::policy(&policy) {
            Some(policy) => Some(Box::new(Self::new(environment.clone(), policy)?)),
            None => None,
        };
        Ok(Self {
            environment,
            id: IssuerId::Acme(directory_url.clone()),
            policy,
            client,
            given_key,
            given_account_url: Mutex::default(),
            rehearsal,
        })
    }

    /// Obtains a certificate here, without a rehearsal.
    async fn obtain(&self, request: &Request) -> Result<Issued, Failure> {
        let mut result = self.attempt(request).await;
        if let Err(failure) = &result
            && failure.is_unknown_account()
        {
            tracing::warn!(
                directory = self.policy.directory_url,
                "the authority does not know our account any more; registering its key again"
            );
            self.forget_registration().await?;
            result = self.attempt(request).await;
        }
        result
    }

    /// One attempt, within the time that the policy gives it.
    async fn attempt(&self, request: &Request) -> Result<Issued, Failure> {
        let transport = Transport::new(self.client.clone());
        let attempt = self.try_challenges(request, &transport);
        match self.policy.timeout {
            None => attempt.await,
            Some(timeout) => match tokio::time::timeout(timeout, attempt).await {
                Ok(result) => result,
                Err(_) => Err(Failure::slow(transport.step(), timeout)),
            },
        }
    }

    /// Tries one challenge after the other, each by an order of its own.
    async fn try_challenges(
        &self,
        request: &Request,
        transport: &Transport,
    ) -> Result<Issued, Failure> {
        let mut refusals = Refusals::default();
        loop {
            let ordered = self.order_by_account(request, &refusals, transport).await;
            let Setback {
                failure,
                refused,
                has_alternative,
            } = match ordered {
                Ok(issued) => return Ok(issued),
                Err(setback) => setback,
            };
            let Some(challenge) = refused else {
                return Err(failure);
            };
            refusals.push(challenge, failure);
            if !has_alternative || !self.has_another(request, &refusals) {
                let directory_url = &self.policy.directory_url;
                return Err(refusals
                    .into_failure(request, directory_url)
                    .unwrap_or_else(|| Failure::other(Step::Challenge, "no challenge is left")));
            }
            tracing::warn!(
                name = %request.name,
                %challenge,
                "the authority refuses the challenge; trying another one"
            );
        }
    }

    /// One order. If the account got another key meanwhile, it is made again with that.
    async fn order_by_account(
        &self,
        request: &Request,
        refusals: &Refusals,
        transport: &Transport,
    ) -> Result<Issued, Setback> {
        let account = self.account(transport).await?;
        let result = self.order(request, &account, refusals, transport).await;
        match result {
            Err(setback)
                if setback.refused.is_none()
                    && setback.failure.is_refusal()
                    && self.has_other_key(&account.key.public()).await? =>
            {
                let account = self.account(transport).await?;
                self.order(request, &account, refusals, transport).await
            }
            other => other,
        }
    }

    /// The account of the authority, and the transport of what is to be done by it.
    async fn session(&self) -> Result<(Registered, Transport), Failure> {
        let transport = Transport::new(self.client.clone());
        Ok((self.account(&transport).await?, transport))
    }
}

#[async_trait]
impl Issuer for AcmeIssuer {
    async fn issue(&self, request: &Request) -> Result<Issued, IssueError> {
        if request.rehearse {
            self.rehearse(request).await?;
        }
        let obtained = self.obtain(request).await;
        obtained.map_err(|failure| failure.into_error(&request.name, &self.policy.directory_url))
    }

    async fn stored(&self, name: &Name) -> Result<(), StoreError> {
        let storage = &self.environment.storage;
        match storage.order(&self.id, name).await? {
            // Kept for the TXT records that are still to be removed.
            Some(mut order) if !order.txt_records.is_empty() => {
                order.url = None;
                storage.put_order(&order).await
            }
            _ => storage.remove_order(&self.id, name).await,
        }
    }

    async fn renewal_info(
        &self,
        certificate: &Certificate,
    ) -> Result<Option<RenewalInfo>, IssueError> {
        let asked = self.ask_renewal_info(certificate).await;
        asked.map_err(|failure| failure.into_error(&certificate.name, &self.policy.directory_url))
    }

    async fn revoke(
        &self,
        certificate: &Certificate,
        reason: RevocationReason,
    ) -> Result<(), IssueError> {
        let revoked = self.send_revocation(certificate, reason).await;
        revoked.map_err(|failure| failure.into_error(&certificate.name, &self.policy.directory_url))
    }

    async fn change_account_key(&self) -> Result<(), IssueError> {
        let transport = Transport::new(self.client.clone());
        let changed = self.change_key(&transport).await;
        changed.map_err(|failure| failure.into_error("the account", &self.policy.directory_url))
    }
}
