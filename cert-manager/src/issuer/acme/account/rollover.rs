//! Changing the key of an account (RFC 8555 section 7.3.5).
//!
//! ```text
//! next key stored --> authority told --> next key stored as the key
//! ```
//!
//! After a crash in between, the authority is asked whether it knows the next key, which it does
//! only if it was told.

use serde_json::json;

use crate::certificate::PrivateKey;
use crate::fail_point::FailPoint;
use crate::issuer::acme::AcmeIssuer;
use crate::issuer::acme::failure::Failure;
use crate::issuer::acme::http::Transport;
use crate::issuer::acme::requests::{Directory, Sender};
use crate::policy::KeyType;
use crate::record::Step;
use crate::store;

impl AcmeIssuer {
    /// Gives the account a new key.
    pub(in crate::issuer::acme) async fn change_key(
        &self,
        transport: &Transport,
    ) -> Result<(), Failure> {
        let directory_url = &self.policy.directory_url;
        if self.given_key.is_some() {
            return Err(Failure::setting(
                Step::Account,
                format!("the account key for {directory_url} is given by the Caddyfile"),
                "change it there and at the authority, or leave account_key out",
            ));
        }
        let directory = Directory::fetch(transport, directory_url).await?;
        if directory.key_change.is_none() {
            return Err(Failure::unsupported(
                Step::Account,
                "a change of account keys",
            ));
        }
        let _registering = self.lock_account().await;
        let kept = self.kept().await?.filter(|kept| kept.url.is_some());
        let Some(mut kept) = kept else {
            let message = format!("no account at {directory_url} is stored");
            return Err(Failure::other(Step::Account, message));
        };
        if kept.next_key.is_some() {
            // What was begun before a crash is all that was asked for then.
            kept = self.finish_rollover(kept, &directory, transport).await?;
        }
        kept.next_key = Some(PrivateKey::generate(KeyType::P256)?);
        self.environment.storage.put_account(&kept).await?;
        FailPoint::NextKeyStored.reached();
        let told = self.tell_next_key(&kept, &directory, transport).await;
        self.settle(kept, told).await.map(drop)
    }

    /// Ends a change that was begun. One that the authority does not want is given up, and the
    /// account keeps its key.
    pub(super) async fn finish_rollover(
        &self,
        kept: store::Account,
        directory: &Directory,
        transport: &Transport,
    ) -> Result<store::Account, Failure> {
        let told = if self.knows_next_key(&kept, directory, transport).await? {
            Ok(())
        } else {
            self.tell_next_key(&kept, directory, transport).await
        };
        let before = store::Account {
            next_key: None,
            ..kept.clone()
        };
        match self.settle(kept, told).await {
            Err(failure) if failure.is_refusal() => {
                tracing::warn!(
                    directory = self.policy.directory_url,
                    ?failure,
                    "the authority refuses the new account key; going on with the present one"
                );
                Ok(before)
            }
            other => other,
        }
    }

    /// Stores what came of telling the authority: the next key is the key now, or it is dropped
    /// where the authority has refused it. Else it is kept, for the authority may have it.
    async fn settle(
        &self,
        mut kept: store::Account,
        told: Result<(), Failure>,
    ) -> Result<store::Account, Failure> {
        match told {
            Ok(()) => {
                FailPoint::KeyChanged.reached();
                if let Some(next) = kept.next_key.take() {
                    kept.key = next;
                }
                self.environment.storage.put_account(&kept).await?;
                let directory = &self.policy.directory_url;
                tracing::info!(directory, "the account has a new key");
                Ok(kept)
            }
            Err(failure) if failure.is_refusal() => {
                kept.next_key = None;
                self.environment.storage.put_account(&kept).await?;
                Err(failure)
            }
            Err(failure) => Err(failure),
        }
    }

    async fn knows_next_key(
        &self,
        kept: &store::Account,
        directory: &Directory,
        transport: &Transport,
    ) -> Result<bool, Failure> {
        let Some(next) = &kept.next_key else {
            return Ok(false);
        };
        let next = self.signing_key(next)?;
        let payload = json!({ "onlyReturnExisting": true });
        match self
            .new_account_url(&next, &payload, directory, transport)
            .await
        {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_unknown_account() => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn tell_next_key(
        &self,
        kept: &store::Account,
        directory: &Directory,
        transport: &Transport,
    ) -> Result<(), Failure> {
        let (Some(next), Some(account_url)) = (&kept.next_key, &kept.url) else {
            return Ok(());
        };
        let Some(url) = &directory.key_change else {
            return Err(Failure::unsupported(
                Step::Account,
                "a change of account keys",
            ));
        };
        let (old, next) = (self.signing_key(&kept.key)?, self.signing_key(next)?);
        let change = json!({ "account": account_url, "oldKey": old.public() });
        let header = json!({ "jwk": next.public(), "url": url });
        let inner = next
            .sign(header, &change.to_string())
            .map_err(|error| Failure::of_request(Step::Account, error, transport))?;
        let signer = (&old, Sender::Account(account_url));
        directory
            .post(Step::Account, transport, signer, url, Some(&inner))
            .await
            .map(drop)
    }
}
