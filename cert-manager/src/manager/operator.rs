//! What an operator asks of authorities: to revoke a certificate, to change account keys.

use proto::sidecar::error_chain::Chain;

use super::{Change, Manager, RequestError};
use crate::issuer::{IssueError, RevocationReason};
use crate::name::Name;
use crate::policy::{AcmePolicy, IssuerId, IssuerPolicy};
use crate::store;

/// An account whose key was to be changed, and what came of it.
#[derive(Debug)]
pub struct Rollover {
    /// The directory of its authority.
    pub directory_url: String,
    /// Its contact.
    pub email: Option<String>,
    /// Whether it has a new key.
    pub outcome: Result<(), IssueError>,
}

impl Manager {
    /// Has the authority revoke the stored certificate of a name. A name that is still declared is
    /// obtained anew with a new key; proxies serve the revoked certificate until that is there,
    /// except where its key is compromised: then it is withdrawn at once.
    ///
    /// # Errors
    /// When nothing is stored, a certificate is being obtained, or the authority does not revoke.
    pub async fn revoke(&self, name: &Name, reason: RevocationReason) -> Result<(), RequestError> {
        self.reserve_stored(name)?;
        let revoked = self.revoke_reserved(name, reason).await;
        let now = self.now();
        let is_kept = {
            let mut names = self.names.lock();
            let is_wanted = names.is_wanted(name, now) == Some(true);
            let is_kept =
                revoked.is_err() || (is_wanted && reason != RevocationReason::KeyCompromise);
            if is_kept {
                names.release(name, now);
            }
            is_kept
        };
        if is_kept {
            self.wake.notify_one();
        } else {
            self.forget_reserved(name).await?;
        }
        let serial = revoked?;
        tracing::warn!(%name, serial, %reason, "an operator had the certificate revoked");
        Ok(())
    }

    /// Returns the serial number of what is revoked.
    async fn revoke_reserved(
        &self,
        name: &Name,
        reason: RevocationReason,
    ) -> Result<String, RequestError> {
        let certificate = self
            .certificate(name)
            .await?
            .ok_or_else(|| RequestError::NothingStored(name.clone()))?;
        let issuer = &certificate.facts.issuer;
        let own = {
            let names = self.names.lock();
            let policy = names.record(name).and_then(|record| record.policy.as_ref());
            let mut issuers = policy.into_iter().flat_map(|policy| &policy.issuers);
            issuers.find(|policy| policy.id() == *issuer).cloned()
        };
        let policy = own.unwrap_or_else(|| self.policy_at(issuer, None));
        let issuer = self.parts.issuers.issuer(&policy)?;
        issuer.revoke(&certificate, reason).await?;
        let now = self.now();
        // Whatever becomes of the rest: the next certificate is due now, and has a new key.
        self.commit(std::slice::from_ref(name), |record| {
            record.revoked = Some(now);
            record.request_renewal(now);
        })
        .await?;
        self.announce(Change::Revoked {
            name: name.clone(),
            serial: certificate.facts.serial.clone(),
        });
        Ok(certificate.facts.serial)
    }

    /// Gives new keys to the accounts at `directory_url` with the contact `email`, or to all where
    /// these are `None`.
    ///
    /// # Errors
    /// When the accounts cannot be read. What is wrong with one of them is in its outcome.
    pub async fn roll_over_accounts(
        &self,
        directory_url: Option<&str>,
        email: Option<&str>,
    ) -> Result<Vec<Rollover>, RequestError> {
        let accounts = self.parts.storage.accounts().await?;
        let mut done = Vec::new();
        for store::Account {
            issuer,
            email: contact,
            ..
        } in accounts
        {
            let IssuerId::Acme(url) = &issuer else {
                continue;
            };
            if directory_url.is_some_and(|wanted| wanted != url)
                || email.is_some_and(|wanted| Some(wanted) != contact.as_deref())
            {
                continue;
            }
            let outcome = self.roll_over(&issuer, contact.as_deref()).await;
            if let Err(error) = &outcome {
                let error = Chain(error);
                tracing::warn!(directory = url, %error, "an account keeps its key");
            }
            done.push(Rollover {
                directory_url: url.clone(),
                email: contact,
                outcome,
            });
        }
        Ok(done)
    }

    async fn roll_over(&self, issuer: &IssuerId, email: Option<&str>) -> Result<(), IssueError> {
        let policy = match self.policy_at(issuer, Some(email)) {
            IssuerPolicy::Acme(acme) => IssuerPolicy::Acme(Box::new(AcmePolicy {
                account_key_pem: None,
                ..*acme
            })),
            internal => internal,
        };
        let issuer = self.parts.issuers.issuer(&policy)?;
        issuer.change_account_key().await
    }

    /// A policy for what is to be asked of `issuer`, for the account of `email` if that matters: a
    /// declared one, which knows the authority's roots, or else one with nothing but its directory.
    fn policy_at(&self, issuer: &IssuerId, email: Option<Option<&str>>) -> IssuerPolicy {
        let IssuerId::Acme(directory_url) = issuer else {
            return IssuerPolicy::internal();
        };
        let is_account = |acme: &AcmePolicy| {
            acme.directory_url == *directory_url
                && email.is_none_or(|email| acme.email.as_deref() == email)
        };
        let declared = self.names.lock().find_issuer(|policy| match policy {
            IssuerPolicy::Acme(acme) => is_account(acme),
            IssuerPolicy::Internal { .. } => false,
        });
        declared.unwrap_or_else(|| {
            let email = match email {
                Some(email) => email.map(ToOwned::to_owned),
                None => self.parts.defaults.email.clone(),
            };
            IssuerPolicy::Acme(Box::new(AcmePolicy::new(directory_url.clone(), email)))
        })
    }
}
