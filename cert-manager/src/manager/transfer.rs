//! What comes from elsewhere and what goes there.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;

use super::Manager;
use crate::certificate::{Certificate, CertificateError, Facts, PrivateKey};
use crate::name::Name;
use crate::policy::{IssuerId, IssuerPolicy, LETS_ENCRYPT, ZERO_SSL};
use crate::store::{Account, Authority, AuthorityId, StoreError, transfer};

/// The directory of Let's Encrypt's staging authority.
const LETS_ENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

/// Authorities by the organization that their certificates name as issuer.
const ORGANIZATIONS: [(&str, &str); 2] =
    [("O=Let's Encrypt", LETS_ENCRYPT), ("O=ZeroSSL", ZERO_SSL)];

/// What became of something that was to be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It is stored now.
    Taken,
    /// What is stored stays, for this reason.
    Kept(String),
    /// It cannot be used, for this reason.
    Refused(String),
}

/// A certificate that is to be imported.
#[derive(Debug)]
pub struct ImportedCertificate {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key.
    pub key: PrivateKey,
    /// Who issued it, where that is known.
    pub issuer: Option<IssuerId>,
}

/// An account that is to be imported. Caddy names its authority by a folder alone.
#[derive(Debug)]
pub struct ImportedAccount {
    /// Caddy's folder for the authority.
    pub folder: String,
    /// Directories that the folder may be of.
    pub directory_urls: Vec<String>,
    /// Contact, without `mailto:`.
    pub email: Option<String>,
    /// The account key.
    pub key: PrivateKey,
    /// The account's URL, if known.
    pub url: Option<String>,
}

impl Manager {
    /// Stores a certificate from elsewhere for every name that it is for, unless a newer one is
    /// stored. It is used by whoever declares the name, and renewed in its time.
    ///
    /// # Errors
    /// When the storage refuses.
    pub async fn import_certificate(
        &self,
        import: ImportedCertificate,
    ) -> Result<Vec<(String, Imported)>, StoreError> {
        let issuer = match import.issuer {
            Some(issuer) => issuer,
            None => guess_issuer(&import.chain),
        };
        let names = match leaf_names(&import.chain, &issuer) {
            Ok(names) => names,
            Err(error) => return Ok(vec![(String::new(), Imported::Refused(error.to_string()))]),
        };
        if names.is_empty() {
            let reason = "the certificate is for no DNS name or address".to_owned();
            return Ok(vec![(String::new(), Imported::Refused(reason))]);
        }
        let mut outcomes = Vec::new();
        for text in names {
            let outcome = match Name::parse(&text) {
                Err(error) => Imported::Refused(error.to_string()),
                Ok(name) => {
                    let (chain, key) = (import.chain.clone(), import.key.clone());
                    match Certificate::new(name, issuer.clone(), chain, key) {
                        Err(error) => Imported::Refused(error.to_string()),
                        Ok(certificate) => self.take_certificate(certificate).await?,
                    }
                }
            };
            outcomes.push((text, outcome));
        }
        Ok(outcomes)
    }

    /// Stores an account from elsewhere, unless there is one already.
    ///
    /// # Errors
    /// When the storage refuses.
    pub async fn import_account(&self, import: ImportedAccount) -> Result<Imported, StoreError> {
        let Some(issuer) = self.issuer_of_folder(&import) else {
            return Ok(Imported::Refused(format!(
                "the folder {} does not say which authority the account is with, and no \
                 certificate does; a site with that authority in the Caddyfile helps",
                import.folder
            )));
        };
        if let Err(error) = import.key.key_pair() {
            return Ok(Imported::Refused(error.to_string()));
        }
        let stored = self
            .parts
            .storage
            .account(&issuer, import.email.as_deref())
            .await?;
        match stored {
            Some(stored) if stored.key.secret_der() == import.key.secret_der() => {
                return Ok(Imported::Kept("it is stored already".to_owned()));
            }
            Some(Account { url: Some(url), .. }) => {
                return Ok(Imported::Kept(format!("another account is in use: {url}")));
            }
            // One that is not registered yet is worth nothing.
            Some(_) | None => {}
        }
        let account = Account {
            issuer,
            email: import.email,
            key: import.key,
            url: import.url,
            next_key: None,
            external_account: None,
        };
        self.parts.storage.put_account(&account).await?;
        tracing::info!(directory = %account.issuer, "an operator imported an account");
        Ok(Imported::Taken)
    }

    /// Makes an authority from elsewhere the internal one. If the present one has certificates in
    /// use, only with `replace`.
    ///
    /// # Errors
    /// When the storage refuses.
    pub async fn import_authority(
        &self,
        authority: Authority,
        replace: bool,
    ) -> Result<Imported, StoreError> {
        if let Err(error) = authority.root.check() {
            return Ok(Imported::Refused(error.to_string()));
        }
        if let Ok(not_after) = authority.root.not_after()
            && not_after <= self.now()
        {
            return Ok(Imported::Refused(format!("its root ended on {not_after}")));
        }
        let present = self.parts.storage.authority(AuthorityId::Local).await?;
        if let Some(present) = present
            && present.root.certificate().ok() == authority.root.certificate().ok()
        {
            return Ok(Imported::Kept("it is stored already".to_owned()));
        }
        let used = self.names.lock().count_internal(self.now());
        if used > 0 && !replace {
            return Ok(Imported::Kept(format!(
                "the present internal authority has {used} certificates in use; with \
                 --replace-authority new ones are signed by the imported authority"
            )));
        }
        self.parts.issuers.adopt(authority).await?;
        tracing::info!("an operator imported the internal authority");
        Ok(Imported::Taken)
    }

    /// The names that have a certificate, sorted; only those of `wanted`, if that is not empty.
    /// The second part are those of `wanted` that have none.
    pub fn exportable(&self, wanted: &BTreeSet<Name>) -> (Vec<Name>, Vec<Name>) {
        let stored: BTreeSet<Name> = self.names.lock().certified().cloned().collect();
        if wanted.is_empty() {
            return (stored.into_iter().collect(), Vec::new());
        }
        wanted
            .iter()
            .cloned()
            .partition(|name| stored.contains(name))
    }

    /// Every account.
    ///
    /// # Errors
    /// When the storage cannot be read.
    pub async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.parts.storage.accounts().await
    }

    /// The internal authority.
    ///
    /// # Errors
    /// When the storage cannot be read.
    pub async fn internal_authority(&self) -> Result<Option<Authority>, StoreError> {
        self.parts.storage.authority(AuthorityId::Local).await
    }

    async fn take_certificate(&self, certificate: Certificate) -> Result<Imported, StoreError> {
        let now = self.now();
        let name = certificate.name.clone();
        let facts = &certificate.facts;
        if !facts.is_valid_at(now) {
            return Ok(Imported::Refused(format!(
                "it ended on {}",
                facts.not_after
            )));
        }
        // Makes the record, so that nobody else can begin to obtain a certificate.
        self.commit(std::slice::from_ref(&name), |_| {}).await?;
        if !self.names.lock().reserve(&name) {
            return Ok(Imported::Refused(
                "a certificate for it is being obtained; try again when that is done".to_owned(),
            ));
        }
        let taken = self.take_reserved(&certificate, now).await;
        self.names.lock().release(&name, now);
        self.wake.notify_one();
        taken
    }

    async fn take_reserved(
        &self,
        certificate: &Certificate,
        now: Timestamp,
    ) -> Result<Imported, StoreError> {
        let (name, facts) = (&certificate.name, &certificate.facts);
        let stored = self
            .names
            .lock()
            .record(name)
            .and_then(|record| record.certificate.clone());
        if let Some(reason) = stored.and_then(|stored| reason_to_keep(&stored, facts, now)) {
            return Ok(Imported::Kept(reason));
        }
        self.parts.storage.put_certificate(certificate).await?;
        self.commit(std::slice::from_ref(name), |record| {
            record.succeed(facts.clone());
        })
        .await?;
        self.deliver(name);
        tracing::info!(
            %name,
            issuer = %facts.issuer,
            serial = facts.serial,
            not_after = %facts.not_after,
            "an operator imported a certificate"
        );
        Ok(Imported::Taken)
    }

    fn issuer_of_folder(&self, import: &ImportedAccount) -> Option<IssuerId> {
        let named = import.directory_urls.iter().cloned();
        let known = [LETS_ENCRYPT, LETS_ENCRYPT_STAGING, ZERO_SSL].map(ToOwned::to_owned);
        let default = self.parts.defaults.acme_ca.clone();
        named
            .chain([default])
            .chain(self.names.lock().directory_urls())
            .chain(known)
            .map(IssuerId::Acme)
            .find(|issuer| transfer::issuer_folder(issuer) == import.folder)
    }
}

/// Why a certificate that is stored is better than one from elsewhere, if it is.
fn reason_to_keep(stored: &Facts, import: &Facts, now: Timestamp) -> Option<String> {
    if stored.fingerprint_sha256 == import.fingerprint_sha256 {
        return Some("it is stored already".to_owned());
    }
    // Some authorities have their certificates begin minutes or an hour before they are made.
    let is_newer = import.not_before > stored.not_before && import.not_after >= stored.not_after;
    (stored.is_valid_at(now) && !is_newer).then(|| {
        format!(
            "it is older than the stored one, which is of {} and valid until {}",
            stored.not_before, stored.not_after
        )
    })
}

/// Directories of the ACME authorities of a record's policy.
pub(super) fn directory_urls(issuers: &[IssuerPolicy]) -> impl Iterator<Item = String> {
    issuers.iter().filter_map(|policy| match policy.id() {
        IssuerId::Acme(directory_url) => Some(directory_url),
        IssuerId::Imported | IssuerId::Internal => None,
    })
}

fn leaf_names(
    chain: &[CertificateDer<'_>],
    issuer: &IssuerId,
) -> Result<Vec<String>, CertificateError> {
    let leaf = chain
        .first()
        .ok_or_else(|| CertificateError::Malformed("the chain is empty".to_owned()))?;
    Ok(Facts::of_leaf(leaf, issuer.clone())?.subject_alternative_names)
}

/// A certificate names its issuer, but not the directory that it came from.
fn guess_issuer(chain: &[CertificateDer<'_>]) -> IssuerId {
    let facts = chain
        .first()
        .and_then(|leaf| Facts::of_leaf(leaf, IssuerId::Imported).ok());
    let parts: Vec<String> = facts
        .map(|facts| facts.issuer_name.split(", ").map(str::to_owned).collect())
        .unwrap_or_default();
    ORGANIZATIONS
        .into_iter()
        .find(|(organization, _)| parts.iter().any(|part| part == organization))
        .map_or(IssuerId::Imported, |(_, directory_url)| {
            IssuerId::Acme(directory_url.to_owned())
        })
}
