//! Policies as proxies declare them.

use std::time::Duration;

use proto::certs::v1;
use proto::certs::v1::dns_challenge::Provider;

use super::{
    AcmePolicy, Challenges, Defaults, DnsChallenge, DnsProvider, ExternalAccount, IssuerPolicy,
    KeyType, LETS_ENCRYPT, OnDemand, Policy, PreferredChains, RenewalWindow, Secret, ZERO_SSL,
};
use crate::name::{Name, Standing};

impl Policy {
    /// The policy that `wire` means for `name`.
    ///
    /// Without issuers, names that no public authority certifies come from the internal one.
    ///
    /// # Errors
    /// What in it cannot be followed, in words for an operator.
    pub fn from_wire(
        wire: &v1::Policy,
        name: &Name,
        defaults: &Defaults,
    ) -> Result<Self, &'static str> {
        let mut issuers = wire
            .issuers
            .iter()
            .filter_map(|issuer| issuer.kind.as_ref())
            .map(|kind| IssuerPolicy::from_wire(kind, defaults))
            .collect::<Result<Vec<_>, _>>()?;
        if issuers.is_empty() {
            issuers = default_issuers(name, defaults);
        }
        Ok(Self {
            issuers,
            key_type: match wire.key_type() {
                v1::KeyType::Ed25519 => KeyType::Ed25519,
                v1::KeyType::P256 | v1::KeyType::Unspecified => KeyType::P256,
                v1::KeyType::P384 => KeyType::P384,
                v1::KeyType::Rsa2048 => KeyType::Rsa2048,
                v1::KeyType::Rsa4096 => KeyType::Rsa4096,
            },
            reuse_private_key: wire.reuse_private_key,
            renewal_window: if wire.renewal_window_ratio > 0.0 {
                RenewalWindow::from_ratio(wire.renewal_window_ratio)
            } else {
                RenewalWindow::default()
            },
            on_demand: wire.on_demand.as_ref().map(|on_demand| OnDemand {
                ask_url: non_empty(&on_demand.ask_url),
            }),
        })
    }
}

/// Caddy: Let's Encrypt, then ZeroSSL where a contact is known.
fn default_issuers(name: &Name, defaults: &Defaults) -> Vec<IssuerPolicy> {
    if name.standing() == Standing::Private {
        return vec![IssuerPolicy::internal()];
    }
    let mut directories = vec![defaults.acme_ca.as_str()];
    if defaults.acme_ca == LETS_ENCRYPT && defaults.email.is_some() {
        directories.push(ZERO_SSL);
    }
    directories
        .into_iter()
        .map(|directory| AcmePolicy::new(directory, defaults.email.clone()))
        .map(|acme| IssuerPolicy::Acme(Box::new(acme)))
        .collect()
}

impl IssuerPolicy {
    fn from_wire(kind: &v1::issuer::Kind, defaults: &Defaults) -> Result<Self, &'static str> {
        Ok(match kind {
            v1::issuer::Kind::Acme(acme) => Self::Acme(Box::new(acme_policy(acme, defaults)?)),
            v1::issuer::Kind::Internal(internal) => {
                let Self::Internal {
                    lifetime_seconds: usual,
                    ..
                } = Self::internal()
                else {
                    return Err("the internal issuer is none");
                };
                Self::Internal {
                    lifetime_seconds: match internal.lifetime_seconds {
                        0 => usual,
                        chosen => chosen,
                    },
                    sign_with_root: internal.sign_with_root,
                }
            }
        })
    }
}

fn acme_policy(wire: &v1::AcmeIssuer, defaults: &Defaults) -> Result<AcmePolicy, &'static str> {
    Ok(AcmePolicy {
        directory_url: non_empty(&wire.directory_url).unwrap_or_else(|| defaults.acme_ca.clone()),
        email: non_empty(&wire.email).or_else(|| defaults.email.clone()),
        trusted_roots_pem: wire.trusted_roots_pem.clone(),
        test_directory_url: non_empty(&wire.test_directory_url),
        external_account: wire
            .external_account
            .as_ref()
            .map(|account| ExternalAccount {
                key_id: account.key_id.clone(),
                mac_key: Secret::new(&account.mac_key),
            }),
        profile: non_empty(&wire.profile),
        preferred_chains: wire.preferred_chains.as_ref().and_then(preferred_chains),
        account_key_pem: secret(&wire.account_key_pem),
        lifetime: seconds(wire.lifetime_seconds),
        timeout: seconds(wire.timeout_seconds),
        challenges: match &wire.challenges {
            None => Challenges::default(),
            Some(challenges) => Challenges {
                http_disabled: challenges.http_disabled,
                tls_alpn_disabled: challenges.tls_alpn_disabled,
                dns: challenges.dns.as_ref().map(dns_challenge).transpose()?,
            },
        },
    })
}

fn preferred_chains(wire: &v1::PreferredChains) -> Option<PreferredChains> {
    if wire.smallest {
        Some(PreferredChains::Smallest)
    } else if !wire.root_common_name.is_empty() {
        Some(PreferredChains::RootCommonName(
            wire.root_common_name.clone(),
        ))
    } else if !wire.any_common_name.is_empty() {
        Some(PreferredChains::AnyCommonName(wire.any_common_name.clone()))
    } else {
        None
    }
}

fn dns_challenge(wire: &v1::DnsChallenge) -> Result<DnsChallenge, &'static str> {
    let provider = match wire.provider.as_ref() {
        None => return Err("the DNS challenge names no provider that this cert-manager knows"),
        Some(Provider::Rfc2136(rfc2136)) => DnsProvider::Rfc2136 {
            server: rfc2136.server.clone(),
            key_name: rfc2136.key_name.clone(),
            key_algorithm: non_empty(&rfc2136.key_algorithm)
                .unwrap_or_else(|| "hmac-sha256".to_owned()),
            key: Secret::new(&rfc2136.key),
        },
        Some(Provider::Cloudflare(cloudflare)) => DnsProvider::Cloudflare {
            api_token: Secret::new(&cloudflare.api_token),
            zone_token: secret(&cloudflare.zone_token),
            api_url: non_empty(&cloudflare.api_url),
        },
        Some(Provider::Exec(_)) => DnsProvider::Exec,
        Some(Provider::Webhook(webhook)) => DnsProvider::Webhook {
            url: webhook.url.clone(),
            token: secret(&webhook.token),
        },
    };
    Ok(DnsChallenge {
        provider,
        ttl: seconds(wire.ttl_seconds),
        propagation_delay: Duration::from_secs(wire.propagation_delay_seconds),
        propagation_timeout: seconds(wire.propagation_timeout_seconds),
        propagation_check_disabled: wire.propagation_check_disabled,
        resolvers: wire.resolvers.clone(),
        override_domain: non_empty(&wire.override_domain),
    })
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn secret(text: &str) -> Option<Secret> {
    (!text.is_empty()).then(|| Secret::new(text))
}

fn seconds(count: u64) -> Option<Duration> {
    (count > 0).then(|| Duration::from_secs(count))
}
