//! Places at which tests end the program, as a power cut would.
//!
//! Built with debug assertions, the program aborts at the place that the environment variable
//! `PORTICO_FAIL_AT` names. A release has no such places.

use std::fmt;

/// A step on the way to a certificate, named for what has just been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailPoint {
    /// The account key is stored; the authority does not know it.
    AccountKeyStored,
    /// The authority knows the account; its URL is not stored.
    AccountRegistered,
    /// The URL of the account is stored.
    AccountStored,
    /// The certificate key is stored; there is no order.
    CertificateKeyStored,
    /// The authority has an order; its URL is not stored.
    OrderOpened,
    /// The URL of the order is stored.
    OrderStored,
    /// Every proxy answers the challenge; the authority is not told.
    ChallengePublished,
    /// The authority is told that the challenge is answered.
    ChallengeTold,
    /// The authority is satisfied.
    Validated,
    /// The signing request is sent.
    Finalized,
    /// The certificate is fetched; it is not stored.
    CertificateFetched,
    /// The certificate is stored; its record is not.
    CertificateStored,
    /// The certificate is on its way to the proxies.
    CertificateAnnounced,
    /// The next account key is stored; the authority does not know it.
    NextKeyStored,
    /// The authority knows the account by its next key; that is not stored.
    KeyChanged,
}

impl FailPoint {
    /// Ends the program here if it was told to.
    pub fn reached(self) {
        #[cfg(debug_assertions)]
        if CHOSEN.as_deref() == Some(self.to_string().as_str()) {
            tracing::warn!(fail_point = %self, "aborting, as PORTICO_FAIL_AT asks for");
            std::process::abort();
        }
    }
}

#[cfg(debug_assertions)]
static CHOSEN: std::sync::LazyLock<Option<String>> =
    std::sync::LazyLock::new(|| std::env::var("PORTICO_FAIL_AT").ok());

impl fmt::Display for FailPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccountKeyStored => "account-key-stored",
            Self::AccountRegistered => "account-registered",
            Self::AccountStored => "account-stored",
            Self::CertificateKeyStored => "certificate-key-stored",
            Self::OrderOpened => "order-opened",
            Self::OrderStored => "order-stored",
            Self::ChallengePublished => "challenge-published",
            Self::ChallengeTold => "challenge-told",
            Self::Validated => "validated",
            Self::Finalized => "finalized",
            Self::CertificateFetched => "certificate-fetched",
            Self::CertificateStored => "certificate-stored",
            Self::CertificateAnnounced => "certificate-announced",
            Self::NextKeyStored => "next-key-stored",
            Self::KeyChanged => "key-changed",
        })
    }
}
