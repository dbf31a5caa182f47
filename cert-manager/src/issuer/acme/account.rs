//! The account at an authority: its key is stored before the authority hears of it, so that
//! registering again after a crash finds the same account (RFC 8555 section 7.3.1).

mod external;
mod rollover;

use std::collections::HashMap;
use std::sync::Arc;

use http::header::LOCATION;
use instant_acme::{Account, Error};
use parking_lot::Mutex;
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};

use super::AcmeIssuer;
use super::failure::Failure;
use super::http::Transport;
use super::requests::{Directory, Registered, Sender};
use super::signing::SigningKey;
use super::tries::{STEP_TIMEOUT, retried};
use crate::certificate::PrivateKey;
use crate::fail_point::FailPoint;
use crate::policy::{ExternalAccount, IssuerId, KeyType};
use crate::record::Step;
use crate::store;

pub use external::ZeroSsl;

/// One lock per account, held while it is registered or its key changed. Issuers that differ in
/// their orders alone share an account. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct AccountLocks(Arc<Mutex<HashMap<AccountId, Arc<tokio::sync::Mutex<()>>>>>);

/// An authority and a contact.
type AccountId = (IssuerId, Option<String>);

impl AccountLocks {
    async fn lock(&self, id: AccountId) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = Arc::clone(self.0.lock().entry(id).or_default());
        lock.lock_owned().await
    }
}

impl AcmeIssuer {
    /// The account, registered first if need be.
    pub(super) async fn account(&self, transport: &Transport) -> Result<Registered, Failure> {
        let directory_url = &self.policy.directory_url;
        let directory = Directory::fetch(transport, directory_url).await?;
        if let Some(key) = &self.given_key {
            return self.given_account(key, directory, transport).await;
        }
        if let Some(kept) = self.kept().await?
            && kept.next_key.is_none()
            && let Some(url) = kept.url
        {
            return self.restore(&kept.key, &url, directory, transport).await;
        }
        let _registering = self.lock_account().await;
        let mut kept = match self.kept().await? {
            Some(kept) if kept.next_key.is_some() => {
                self.finish_rollover(kept, &directory, transport).await?
            }
            Some(kept) => kept,
            None => self.new_account().await?,
        };
        if let Some(url) = &kept.url {
            return self.restore(&kept.key, url, directory, transport).await;
        }
        let external = self.external_account(&mut kept, transport).await?;
        let url = self
            .register(&kept.key, external.as_ref(), &directory, transport)
            .await?;
        FailPoint::AccountRegistered.reached();
        let account = self.restore(&kept.key, &url, directory, transport).await?;
        self.send_contact(&account.acme, transport).await;
        kept.url = Some(url);
        self.environment.storage.put_account(&kept).await?;
        FailPoint::AccountStored.reached();
        tracing::info!(directory = directory_url, "registered an ACME account");
        Ok(account)
    }

    /// Makes the next attempt register the account key again.
    pub(super) async fn forget_registration(&self) -> Result<(), Failure> {
        let _registering = self.lock_account().await;
        *self.given_account_url.lock() = None;
        if let Some(mut kept) = self.kept().await? {
            kept.url = None;
            self.environment.storage.put_account(&kept).await?;
        }
        Ok(())
    }

    /// Whether the account has another key than `used`, or may have: it was changed while an attempt
    /// was under way. Waits for a change that is under way now.
    pub(super) async fn has_other_key(&self, used: &Value) -> Result<bool, Failure> {
        if self.given_key.is_some() {
            return Ok(false);
        }
        let _changing = self.lock_account().await;
        let Some(kept) = self.kept().await? else {
            return Ok(false);
        };
        Ok(kept.next_key.is_some() || self.signing_key(&kept.key)?.public() != *used)
    }

    async fn lock_account(&self) -> tokio::sync::OwnedMutexGuard<()> {
        let id = (self.id.clone(), self.policy.email.clone());
        self.environment.accounts.lock(id).await
    }

    async fn kept(&self) -> Result<Option<store::Account>, Failure> {
        let storage = &self.environment.storage;
        Ok(storage
            .account(&self.id, self.policy.email.as_deref())
            .await?)
    }

    async fn new_account(&self) -> Result<store::Account, Failure> {
        let account = store::Account {
            issuer: self.id.clone(),
            email: self.policy.email.clone(),
            key: PrivateKey::generate(KeyType::P256)?,
            url: None,
            next_key: None,
            external_account: None,
        };
        self.environment.storage.put_account(&account).await?;
        FailPoint::AccountKeyStored.reached();
        Ok(account)
    }

    /// The account of a key that the policy gives. It is the operator's and not stored here, so it
    /// is looked up once in a run.
    async fn given_account(
        &self,
        key: &PrivateKey,
        directory: Directory,
        transport: &Transport,
    ) -> Result<Registered, Failure> {
        let _registering = self.lock_account().await;
        let known = self.given_account_url.lock().clone();
        if let Some(url) = known {
            return self.restore(key, &url, directory, transport).await;
        }
        let external = self.policy.external_account.as_ref();
        let url = self.register(key, external, &directory, transport).await?;
        let account = self.restore(key, &url, directory, transport).await?;
        self.send_contact(&account.acme, transport).await;
        *self.given_account_url.lock() = Some(url);
        Ok(account)
    }

    /// Registers a key, or finds its registration; returns the URL of the account.
    async fn register(
        &self,
        key: &PrivateKey,
        external: Option<&ExternalAccount>,
        directory: &Directory,
        transport: &Transport,
    ) -> Result<String, Failure> {
        let key = self.signing_key(key)?;
        let mut payload = json!({ "termsOfServiceAgreed": true });
        if let Some(external) = external {
            payload["externalAccountBinding"] = self.bind(external, &key, directory)?;
        }
        self.new_account_url(&key, &payload, directory, transport)
            .await
    }

    async fn new_account_url(
        &self,
        key: &SigningKey,
        payload: &Value,
        directory: &Directory,
        transport: &Transport,
    ) -> Result<String, Failure> {
        let signer = (key, Sender::Key);
        let url = &directory.new_account;
        let answer = directory
            .post(Step::Account, transport, signer, url, Some(payload))
            .await?;
        answer
            .header(LOCATION)
            .map(ToOwned::to_owned)
            .ok_or_else(|| {
                let error = Error::Str("no Location of the account");
                Failure::of_request(Step::Account, error, transport)
            })
    }

    async fn restore(
        &self,
        key: &PrivateKey,
        url: &str,
        directory: Directory,
        transport: &Transport,
    ) -> Result<Registered, Failure> {
        let acme = retried!(Step::Account, transport, STEP_TIMEOUT, async {
            Account::builder_with_http(Box::new(transport.clone()))
                .from_parts(
                    url.to_owned(),
                    PrivatePkcs8KeyDer::from(key.secret_der()),
                    self.policy.directory_url.clone(),
                )
                .await
        })?;
        Ok(Registered {
            acme,
            key: self.signing_key(key)?,
            directory,
        })
    }

    fn signing_key(&self, key: &PrivateKey) -> Result<SigningKey, Failure> {
        SigningKey::new(key).map_err(|_| {
            Failure::other(
                Step::Account,
                "the account key is no ECDSA key on the curve P-256, which is the one kind that is \
                 supported",
            )
        })
    }

    /// Tells the authority the contact. Certificates can be had without one, so a refusal is said
    /// and no more.
    async fn send_contact(&self, account: &Account, transport: &Transport) {
        let Some(email) = &self.policy.email else {
            return;
        };
        let contact = format!("mailto:{email}");
        let sent = retried!(Step::Account, transport, STEP_TIMEOUT, async {
            account.update_contacts(&[contact.as_str()]).await
        });
        if let Err(failure) = sent {
            tracing::warn!(
                directory = self.policy.directory_url,
                email,
                ?failure,
                "the authority refuses the contact address; going on without it"
            );
        }
    }
}
