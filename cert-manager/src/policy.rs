//! How certificates of a name are to be obtained, as its proxy declares it.

mod issuer;
mod secret;
#[cfg(test)]
mod tests;
mod wire;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use issuer::{
    AcmePolicy, Challenges, DnsChallenge, DnsProvider, ExternalAccount, IssuerId, IssuerPolicy,
    PreferredChains,
};
pub use secret::Secret;

/// The directory of Let's Encrypt's production authority.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The directory of ZeroSSL, which is tried after Let's Encrypt where a contact is known.
pub const ZERO_SSL: &str = "https://acme.zerossl.com/v2/DV90";

/// How long a leaf of the internal authority is valid unless the policy says otherwise.
pub const INTERNAL_LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// How certificates of a name are to be obtained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Tried in order until one issues; never empty.
    pub issuers: Vec<IssuerPolicy>,
    /// The kind of private key.
    pub key_type: KeyType,
    /// Whether a renewal keeps the private key.
    #[serde(default)]
    pub reuse_private_key: bool,
    /// When a certificate is renewed whose authority does not say when.
    #[serde(default)]
    pub renewal_window: RenewalWindow,
    /// Present where the name was not known before a client asked for it.
    #[serde(default)]
    pub on_demand: Option<OnDemand>,
}

/// The share of the lifetime that is left when a certificate is renewed, in millionths; `None` is
/// one third.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RenewalWindow(Option<u32>);

/// Names that are certified when a client first asks for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDemand {
    /// URL that allows a name; `None` allows every one.
    pub ask_url: Option<String>,
}

/// The kind of a certificate's private key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyType {
    /// Ed25519; no public authority certifies it.
    Ed25519,
    /// ECDSA on the curve P-256.
    #[default]
    P256,
    /// ECDSA on the curve P-384.
    P384,
    /// RSA of 2048 bits.
    Rsa2048,
    /// RSA of 4096 bits.
    Rsa4096,
}

/// What applies where a policy leaves something open.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// ACME directory.
    pub acme_ca: String,
    /// Contact of ACME accounts.
    pub email: Option<String>,
}

impl Policy {
    /// By this issuer, with nothing else chosen.
    pub fn of(issuer: IssuerPolicy) -> Self {
        Self {
            issuers: vec![issuer],
            key_type: KeyType::default(),
            reuse_private_key: false,
            renewal_window: RenewalWindow::default(),
            on_demand: None,
        }
    }

    /// Whether certificates of `issuer` are what the policy asks for. One that an operator imported
    /// is used until it is due.
    pub fn accepts(&self, issuer: &IssuerId) -> bool {
        let is_wanted = |policy: &IssuerPolicy| policy.id() == *issuer;
        *issuer == IssuerId::Imported || self.issuers.iter().any(is_wanted)
    }

    /// Whether a proxy must answer a challenge before the first issuer issues.
    pub fn needs_proxy(&self) -> bool {
        match self.issuers.first() {
            Some(IssuerPolicy::Acme(acme)) => acme.challenges.dns.is_none(),
            Some(IssuerPolicy::Internal { .. }) | None => false,
        }
    }

    /// Whether an authority elsewhere is asked first.
    pub fn is_acme(&self) -> bool {
        matches!(self.issuers.first(), Some(IssuerPolicy::Acme(_)))
    }
}

impl RenewalWindow {
    /// The share `ratio`; no certificate is left without renewal, so it is between 1 % and 99 %.
    pub fn from_ratio(ratio: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to what fits"
        )]
        Self(Some((ratio.clamp(0.01, 0.99) * 1e6).round() as u32))
    }

    /// The part of `lifetime` that is left when the window opens.
    pub fn of(self, lifetime: jiff::SignedDuration) -> jiff::SignedDuration {
        match self.0 {
            Some(millionths) => lifetime.mul_f64(f64::from(millionths) / 1e6),
            None => lifetime / 3,
        }
    }
}
