//! What the global options add to issuers.

use crate::directive::Bind;
use crate::document::{AcmeIssuer, Challenges, Issuer};
use crate::options::Options;

/// Fills in what an ACME issuer does not say itself.
///
/// # Errors
///
/// `acme_dns` has no provider and there is no `dns` to take its place.
pub(super) fn fill_in_defaults(issuer: &mut Issuer, options: &Options) -> Result<(), String> {
    let Issuer::Acme(acme) = issuer else {
        return Ok(());
    };
    if acme.email.is_empty() {
        acme.email = options.email.clone().unwrap_or_default();
    }
    if acme.ca.is_empty() {
        acme.ca = options.acme_ca.clone().unwrap_or_default();
    }
    if let Some(root) = &options.acme_ca_root
        && !acme.trusted_roots_pem_files.contains(root)
    {
        acme.trusted_roots_pem_files.push(root.clone());
    }
    fill_in_dns(acme, options)?;
    if acme.external_account.is_none() {
        acme.external_account.clone_from(&options.acme_eab);
    }
    if acme.preferred_chains.is_none() {
        acme.preferred_chains.clone_from(&options.preferred_chains);
    }
    if let Some(port) = options.http_port {
        let challenge = challenges(acme).http.get_or_insert_default();
        if challenge.alternate_port == 0 {
            challenge.alternate_port = port;
        }
    }
    if let Some(port) = options.https_port {
        let challenge = challenges(acme).tls_alpn.get_or_insert_default();
        if challenge.alternate_port == 0 {
            challenge.alternate_port = port;
        }
    }
    if acme.certificate_lifetime == Default::default() {
        acme.certificate_lifetime = options.cert_lifetime.unwrap_or_default();
    }
    Ok(())
}

/// Sets the address of challenge listeners where none is set.
pub(super) fn bind_challenges(issuers: &mut [Issuer], bind: &Bind) {
    let Some(host) = bind.addresses.first() else {
        return;
    };
    for issuer in issuers {
        if let Issuer::Acme(acme) = issuer {
            let challenges = challenges(acme);
            if challenges.bind_host.is_empty() {
                challenges.bind_host.clone_from(host);
            }
        }
    }
}

fn challenges(acme: &mut AcmeIssuer) -> &mut Challenges {
    acme.challenges.get_or_insert_default()
}

fn fill_in_dns(acme: &mut AcmeIssuer, options: &Options) -> Result<(), String> {
    let Some(provider) = &options.acme_dns else {
        return Ok(());
    };
    if provider.is_none() && options.dns.is_none() {
        return Err(
            "acme_dns specified without DNS provider config, but no provider specified \
                    with `dns` global option"
                .to_owned(),
        );
    }
    let dns = challenges(acme).dns.get_or_insert_default();
    if dns.provider.is_none() {
        dns.provider.clone_from(provider);
    }
    if dns.resolvers.is_empty() {
        dns.resolvers.clone_from(&options.resolvers);
    }
    Ok(())
}
