//! The control authority: the identities by which programs know each other on the control plane.
//!
//! One identity per role is written into a folder of its own, which only its program mounts. They
//! are renewed at half their lifetime; whoever uses them follows the files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proto::sidecar::identity::{
    AUTHORITY_FILE, IDENTITY_FILE, Identity, LiveIdentity, Role, SubscriberId,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};

use crate::authority::{AuthorityError, Signer, Usage};
use crate::certificate::{CertificateError, PrivateKey};
use crate::clock::Clock;
use crate::pem;
use crate::policy::KeyType;
use crate::store::{Authority, AuthorityId, Storage, StoreError, write_file};

/// The root is trusted by files that only this program writes, so nothing is gained by replacing
/// it within the life of an installation.
const ROOT_LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 365 * 30);

/// An identity is valid this long, and renewed at half of it.
const IDENTITY_LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 30);

/// How often the identities are looked at: soon enough for somebody who has removed one to wait for.
const CHECK_INTERVAL: SignedDuration = SignedDuration::from_secs(30);

/// The roles whose identities are written to files; the manager's own stays in memory.
const WRITTEN: [Role; 3] = [Role::Proxy, Role::StaticServer, Role::Operator];

/// The control authority.
#[derive(Debug)]
pub struct ControlAuthority {
    root: Signer,
    folder: PathBuf,
    holders: Vec<Holder>,
    clock: Arc<dyn Clock>,
}

/// Somebody whose identity is written to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    role: Role,
    subscriber: Option<SubscriberId>,
}

/// Why identities cannot be provided.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The authority's key cannot be read or written.
    #[error("keeping the control authority")]
    Store(#[from] StoreError),
    /// An identity cannot be made.
    #[error("making an identity")]
    Authority(#[from] AuthorityError),
    /// An identity cannot be used.
    #[error("making an identity")]
    Identity(#[from] proto::sidecar::identity::IdentityError),
    /// An identity cannot be written.
    #[error(
        "writing the identity {} (--control); the folder must be writable for this user",
        path.display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl ControlAuthority {
    /// Loads the authority from `storage`, or makes it on the first start. Identities go to a
    /// folder per role below `folder`.
    ///
    /// # Errors
    /// When the authority cannot be read, made or kept.
    pub async fn load(
        storage: &dyn Storage,
        folder: PathBuf,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ControlError> {
        let root = match storage.authority(AuthorityId::Control).await? {
            Some(authority) => authority.root,
            None => {
                let root = Signer::root("Portico control plane", clock.now(), ROOT_LIFETIME)?;
                storage
                    .put_authority(&Authority {
                        id: AuthorityId::Control,
                        root: root.clone(),
                        intermediate: None,
                    })
                    .await?;
                tracing::info!("made the control authority");
                root
            }
        };
        let holders = WRITTEN.map(|role| Holder {
            role,
            subscriber: None,
        });
        Ok(Self {
            root,
            folder,
            holders: holders.into(),
            clock,
        })
    }

    /// Provides identities for these subscribers, too.
    #[must_use]
    pub fn with_subscribers(mut self, ids: impl IntoIterator<Item = SubscriberId>) -> Self {
        self.holders.extend(ids.into_iter().map(|id| Holder {
            role: Role::Subscriber,
            subscriber: Some(id),
        }));
        self
    }

    /// Makes a new identity for a role.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn identity(&self, role: Role) -> Result<Identity, ControlError> {
        let (key, certificate) = self.issue(&role.dns_name())?;
        let authority = self.root.certificate().map_err(AuthorityError::from)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.secret_der().to_vec()));
        Ok(Identity::new(vec![certificate], key, vec![authority])?)
    }

    /// Writes the identities that are missing, of another authority, or past half their lifetime.
    /// Returns the folders that were written. Blocks.
    ///
    /// # Errors
    /// When one cannot be written; the others are written all the same.
    pub fn write_due(&self) -> Result<Vec<String>, ControlError> {
        let mut written = Vec::new();
        let mut failure = None;
        for holder in &self.holders {
            let name = holder.folder();
            let folder = self.folder.join(&name);
            if self.is_current(&folder, holder) {
                continue;
            }
            match self.write(&folder, holder) {
                Ok(()) => written.push(name),
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(written), Err)
    }

    /// Keeps the files and `own`, the manager's identity, renewed. Runs until dropped.
    pub async fn keep_renewed(self: Arc<Self>, own: LiveIdentity) {
        let mut own_renewed_at = self.clock.now();
        loop {
            self.clock
                .sleep_until(self.clock.now() + CHECK_INTERVAL)
                .await;
            let authority = Arc::clone(&self);
            let written = tokio::task::spawn_blocking(move || authority.write_due()).await;
            match written {
                Ok(Ok(roles)) if roles.is_empty() => {}
                Ok(Ok(roles)) => tracing::info!(?roles, "renewed control identities"),
                Ok(Err(error)) => tracing::error!(
                    error = %proto::sidecar::error_chain::Chain(&error),
                    "control identities cannot be renewed; trying again in a moment"
                ),
                // The runtime is ending.
                Err(_) => return,
            }
            let now = self.clock.now();
            if now >= own_renewed_at + IDENTITY_LIFETIME / 2 {
                match self.identity(Role::CertManager) {
                    Ok(identity) => {
                        own.set(identity);
                        own_renewed_at = now;
                    }
                    Err(error) => tracing::error!(
                        error = %proto::sidecar::error_chain::Chain(&error),
                        "this program's own identity cannot be renewed"
                    ),
                }
            }
        }
    }

    fn issue(
        &self,
        dns_name: &str,
    ) -> Result<(PrivateKey, CertificateDer<'static>), AuthorityError> {
        let key = PrivateKey::generate(KeyType::P256)?;
        let now = self.clock.now();
        let certificate = self
            .root
            .leaf(dns_name, &key, Usage::Peer, now, IDENTITY_LIFETIME)?;
        Ok((key, certificate))
    }

    fn write(&self, folder: &Path, holder: &Holder) -> Result<(), ControlError> {
        let (key, certificate) = self.issue(&holder.dns_name())?;
        let mut identity = key.to_pem();
        identity.push_str(&pem::encode("CERTIFICATE", &certificate));
        // The authority first: an identity must never be there without what it is checked by.
        for (file, text, mode) in [
            (AUTHORITY_FILE, self.root.certificate_pem.as_str(), 0o644),
            (IDENTITY_FILE, identity.as_str(), 0o600),
        ] {
            let path = folder.join(file);
            write_file(&path, text.as_bytes(), mode, 0o755)
                .map_err(|source| ControlError::Write { path, source })?;
        }
        Ok(())
    }

    /// Whether a holder's files can be left as they are.
    fn is_current(&self, folder: &Path, holder: &Holder) -> bool {
        self.check(folder, holder).unwrap_or(false)
    }

    fn check(&self, folder: &Path, holder: &Holder) -> Result<bool, CertificateError> {
        let own = self.root.certificate()?;
        let read = |file: &str| CertificateDer::from_pem_file(folder.join(file));
        let (Ok(authority), Ok(leaf)) = (read(AUTHORITY_FILE), read(IDENTITY_FILE)) else {
            return Ok(false);
        };
        if authority != own
            || Role::of_certificate(&leaf) != Some(holder.role)
            || SubscriberId::of_certificate(&leaf) != holder.subscriber
            || PrivateKeyDer::from_pem_file(folder.join(IDENTITY_FILE)).is_err()
        {
            return Ok(false);
        }
        let (_, parsed) = x509_parser::parse_x509_certificate(&leaf)
            .map_err(|error| CertificateError::Malformed(error.to_string()))?;
        let now = self.clock.now();
        let left = parsed.validity().not_after.timestamp() - now.as_second();
        Ok(left > (IDENTITY_LIFETIME / 2).as_secs() && is_signed_by(&leaf, &own, now))
    }
}

impl Holder {
    fn folder(&self) -> String {
        match &self.subscriber {
            Some(id) => id.folder(),
            None => self.role.to_string(),
        }
    }

    fn dns_name(&self) -> String {
        match &self.subscriber {
            Some(id) => id.dns_name(),
            None => self.role.dns_name(),
        }
    }
}

fn is_signed_by(leaf: &CertificateDer<'_>, root: &CertificateDer<'_>, now: Timestamp) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    if roots.add(root.clone().into_owned()).is_err() {
        return false;
    }
    let Ok(verifier) = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        proto::sidecar::identity::provider(),
    )
    .build() else {
        return false;
    };
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(
        now.as_second().unsigned_abs(),
    ));
    verifier.verify_client_cert(leaf, &[], now).is_ok()
}

#[cfg(test)]
mod tests;
