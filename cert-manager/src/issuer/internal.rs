//! The internal authority, for names that no public authority certifies: a root that users trust,
//! an intermediate that signs, leaves that live for hours.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::{IssueError, Issued, Issuer, Request, RevocationReason};
use crate::authority::{AuthorityError, Signer, Usage};
use crate::certificate::{Certificate, CertificateError, PrivateKey};
use crate::clock::Clock;
use crate::name::Name;
use crate::policy::IssuerId;
use crate::record::Step;
use crate::store::{Authority, AuthorityId, Storage, StoreError};

/// Users trust the root by hand, so it stays.
const ROOT_LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 3650);
/// The intermediate is renewed when less than half of this is left, so a leaf may live that long.
const INTERMEDIATE_LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 365);

/// The root and the intermediate, as they are now.
#[derive(Debug)]
pub struct InternalAuthority {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    current: Mutex<Authority>,
}

/// Why the authority cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum InternalError {
    /// It cannot be read or kept.
    #[error("keeping the internal authority")]
    Store(#[from] StoreError),
    /// It cannot sign.
    #[error("signing by the internal authority")]
    Sign(#[from] AuthorityError),
}

impl InternalAuthority {
    /// Loads the authority from `storage`, or makes it on the first start.
    ///
    /// # Errors
    /// When it cannot be read, made or kept.
    pub async fn load(
        storage: Arc<dyn Storage>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InternalError> {
        let now = clock.now();
        let authority = match storage.authority(AuthorityId::Local).await? {
            Some(authority) => authority,
            None => {
                let authority = Authority {
                    id: AuthorityId::Local,
                    root: new_root(now)?,
                    intermediate: None,
                };
                tracing::info!("made the internal certificate authority");
                authority
            }
        };
        let this = Self {
            storage,
            clock,
            current: Mutex::new(authority),
        };
        this.signer().await?;
        Ok(this)
    }

    /// Takes the place of the present authority, for everything that is signed from now on.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub async fn adopt(&self, authority: Authority) -> Result<(), StoreError> {
        let mut current = self.current.lock().await;
        self.storage.put_authority(&authority).await?;
        *current = authority;
        Ok(())
    }

    /// The intermediate, renewed and stored first when it is due.
    async fn signer(&self) -> Result<Signer, InternalError> {
        let now = self.clock.now();
        let mut current = self.current.lock().await;
        if let Some(intermediate) = &current.intermediate
            && is_fresh(intermediate, now)?
        {
            return Ok(intermediate.clone());
        }
        let root = if is_fresh(&current.root, now)? {
            current.root.clone()
        } else {
            tracing::warn!("the internal root ends soon and is replaced; trust the new one");
            new_root(now)?
        };
        let name = "Portico Local Authority - ECC Intermediate";
        let intermediate = root.intermediate(name, now, INTERMEDIATE_LIFETIME)?;
        let renewed = Authority {
            id: AuthorityId::Local,
            root,
            intermediate: Some(intermediate.clone()),
        };
        self.storage.put_authority(&renewed).await?;
        *current = renewed;
        Ok(intermediate)
    }
}

/// Issues by the internal authority, with one lifetime.
#[derive(Debug)]
pub struct InternalIssuer {
    authority: Arc<InternalAuthority>,
    lifetime: SignedDuration,
    sign_with_root: bool,
}

impl InternalIssuer {
    /// Issues leaves that are valid for `lifetime_seconds`, or less when the intermediate ends
    /// before; signed by the root itself if `sign_with_root`.
    pub fn new(
        authority: Arc<InternalAuthority>,
        lifetime_seconds: u64,
        sign_with_root: bool,
    ) -> Self {
        let seconds = i64::try_from(lifetime_seconds).unwrap_or(i64::MAX);
        Self {
            authority,
            lifetime: SignedDuration::from_secs(seconds).min(INTERMEDIATE_LIFETIME),
            sign_with_root,
        }
    }

    async fn sign(&self, request: &Request) -> Result<Certificate, SignError> {
        let mut signer = self.authority.signer().await?;
        if self.sign_with_root {
            signer = self.authority.current.lock().await.root.clone();
        }
        let key = match &request.key {
            Some(key) => key.clone(),
            None => PrivateKey::generate(request.key_type)?,
        };
        let now = self.authority.clock.now();
        let name = request.name.as_str();
        let leaf = signer.leaf(name, &key, Usage::Server, now, self.lifetime)?;
        let mut chain = vec![leaf];
        if !self.sign_with_root {
            chain.push(signer.certificate()?);
        }
        Ok(Certificate::new(
            request.name.clone(),
            IssuerId::Internal,
            chain,
            key,
        )?)
    }
}

#[async_trait]
impl Issuer for InternalIssuer {
    async fn issue(&self, request: &Request) -> Result<Issued, IssueError> {
        let certificate = self.sign(request).await.map_err(|error| {
            let text = proto::sidecar::error_chain::Chain(&error).to_string();
            IssueError::new(Step::Sign, text)
        })?;
        Ok(Issued {
            certificate,
            challenge: None,
        })
    }

    async fn stored(&self, _name: &Name) -> Result<(), StoreError> {
        Ok(())
    }

    async fn revoke(
        &self,
        _certificate: &Certificate,
        _reason: RevocationReason,
    ) -> Result<(), IssueError> {
        Err(IssueError::new(
            Step::Revocation,
            "the internal authority keeps no list of revoked certificates; its own live for hours",
        )
        .with_hint("`cert-manager forget NAME` makes a new certificate with a new key"))
    }
}

#[derive(Debug, thiserror::Error)]
enum SignError {
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Internal(#[from] InternalError),
}

/// Whether `signer` will outlive any leaf that it signs now.
fn is_fresh(signer: &Signer, now: Timestamp) -> Result<bool, AuthorityError> {
    let left = signer.not_after()?.duration_since(now);
    Ok(left > INTERMEDIATE_LIFETIME / 2)
}

fn new_root(now: Timestamp) -> Result<Signer, AuthorityError> {
    let name = format!("Portico Local Authority - {} ECC Root", now.strftime("%Y"));
    Signer::root(&name, now, ROOT_LIFETIME)
}

#[cfg(test)]
mod tests;
