//! What the proxy asks of cert-manager, in the contract's words.

use std::path::Path;

use proto::certs::v1::dns_challenge::Provider;
use proto::certs::v1::{
    AcmeIssuer, Challenges, CloudflareProvider, Declaration, DnsChallenge, ExecProvider,
    ExternalAccount, InternalIssuer, Issuer, KeyType, OnDemand, Policy, PreferredChains,
    Rfc2136Provider, Subject, WebhookProvider, issuer,
};

use super::Wanted;
use crate::compile::automatic_https::{self, policy};

/// The declaration of `wanted`. Blocks, since files of roots are read.
///
/// # Errors
/// A file of roots that cannot be read, in words for an operator.
pub(super) fn declaration(wanted: &Wanted) -> Result<Declaration, String> {
    let plan = &wanted.plan;
    let names = plan.names.iter().chain(&*wanted.on_demand);
    let subjects = names.map(|(name, policy)| Subject {
        name: name.clone(),
        policy: u32::try_from(*policy).unwrap_or(u32::MAX),
    });
    Ok(Declaration {
        proxy: host_name(),
        subjects: subjects.collect(),
        policies: plan.policies.iter().map(policy).collect::<Result<_, _>>()?,
    })
}

/// A policy in the contract's words. Blocks, since files of roots are read.
///
/// # Errors
/// A file of roots that cannot be read, in words for an operator.
pub(super) fn policy(policy: &automatic_https::Policy) -> Result<Policy, String> {
    let key_type = match policy.key_type {
        policy::KeyType::Ed25519 => KeyType::Ed25519,
        policy::KeyType::P256 => KeyType::P256,
        policy::KeyType::P384 => KeyType::P384,
        policy::KeyType::Rsa2048 => KeyType::Rsa2048,
        policy::KeyType::Rsa4096 => KeyType::Rsa4096,
    };
    Ok(Policy {
        issuers: policy
            .issuers
            .iter()
            .map(issuer)
            .collect::<Result<_, _>>()?,
        key_type: key_type.into(),
        reuse_private_key: policy.reuse_private_key,
        renewal_window_ratio: policy.renewal_window_ratio,
        on_demand: policy.on_demand.as_ref().map(|on_demand| OnDemand {
            ask_url: on_demand.ask_url.clone(),
        }),
    })
}

fn issuer(issuer: &policy::Issuer) -> Result<Issuer, String> {
    let kind = match issuer {
        policy::Issuer::Acme(acme) => issuer::Kind::Acme(acme_issuer(acme)?),
        policy::Issuer::Internal {
            lifetime,
            sign_with_root,
        } => issuer::Kind::Internal(InternalIssuer {
            lifetime_seconds: lifetime.as_secs(),
            sign_with_root: *sign_with_root,
        }),
    };
    Ok(Issuer { kind: Some(kind) })
}

fn acme_issuer(acme: &policy::AcmeIssuer) -> Result<AcmeIssuer, String> {
    Ok(AcmeIssuer {
        directory_url: acme.directory_url.clone(),
        email: acme.email.clone(),
        trusted_roots_pem: acme
            .trusted_root_files
            .iter()
            .map(|path| read(path))
            .collect::<Result<String, String>>()?,
        test_directory_url: acme.test_directory_url.clone(),
        external_account: acme
            .external_account
            .as_ref()
            .map(|account| ExternalAccount {
                key_id: account.key_id.clone(),
                mac_key: account.mac_key.reveal().to_owned(),
            }),
        profile: acme.profile.clone(),
        preferred_chains: acme
            .preferred_chains
            .as_ref()
            .map(|chains| PreferredChains {
                smallest: chains.smallest.unwrap_or_default(),
                root_common_name: chains.root_common_name.clone(),
                any_common_name: chains.any_common_name.clone(),
            }),
        account_key_pem: acme.account_key_pem.reveal().to_owned(),
        lifetime_seconds: acme.lifetime.as_secs(),
        timeout_seconds: acme.timeout.as_secs(),
        challenges: Some(Challenges {
            http_disabled: acme.http_disabled,
            tls_alpn_disabled: acme.tls_alpn_disabled,
            dns: acme.dns.as_ref().map(dns_challenge),
        }),
    })
}

fn dns_challenge(dns: &policy::DnsChallenge) -> DnsChallenge {
    let provider = match &dns.provider {
        policy::DnsProvider::Cloudflare {
            api_token,
            zone_token,
            api_url,
        } => Provider::Cloudflare(CloudflareProvider {
            api_token: api_token.reveal().to_owned(),
            zone_token: zone_token.reveal().to_owned(),
            api_url: api_url.clone(),
        }),
        policy::DnsProvider::Exec => Provider::Exec(ExecProvider {}),
        policy::DnsProvider::Rfc2136 {
            server,
            key_name,
            key_algorithm,
            key,
        } => Provider::Rfc2136(Rfc2136Provider {
            server: server.clone(),
            key_name: key_name.clone(),
            key_algorithm: key_algorithm.clone(),
            key: key.reveal().to_owned(),
        }),
        policy::DnsProvider::Webhook { url, token } => Provider::Webhook(WebhookProvider {
            url: url.clone(),
            token: token.reveal().to_owned(),
        }),
    };
    DnsChallenge {
        provider: Some(provider),
        ttl_seconds: dns.ttl.as_secs(),
        propagation_delay_seconds: dns.propagation_delay.as_secs(),
        propagation_timeout_seconds: dns.propagation_timeout.unwrap_or_default().as_secs(),
        propagation_check_disabled: dns.propagation_timeout.is_none(),
        resolvers: dns.resolvers.clone(),
        override_domain: dns.override_domain.clone(),
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map(|text| text + "\n")
        .map_err(|error| {
            format!(
                "cannot read the trusted roots in {}: {error}",
                path.display()
            )
        })
}

/// What the host is called, which in a container is the container's id.
fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
