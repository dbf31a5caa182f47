//! The choice among the chains that an authority offers for a certificate (RFC 8555 section 7.4.2).

use rustls_pki_types::CertificateDer;

use super::AcmeIssuer;
use super::failure::Failure;
use super::http::Transport;
use super::requests::Registered;
use crate::pem;
use crate::policy::PreferredChains;
use crate::record::Step;

/// More chains than any authority has are not asked for.
const MOST_ALTERNATES: usize = 8;

type Chain = Vec<CertificateDer<'static>>;

impl AcmeIssuer {
    /// The chain of `text`, which was fetched last, or the alternate of it that the policy prefers.
    pub(super) async fn choose_chain(
        &self,
        text: &str,
        account: &Registered,
        transport: &Transport,
    ) -> Result<Chain, Failure> {
        let malformed = |error| Failure::other(Step::Certificate, error);
        let first = pem::decode_certificates(text).map_err(malformed)?;
        let Some(preferred) = &self.policy.preferred_chains else {
            return Ok(first);
        };
        let mut chains = vec![first];
        for url in transport.alternates().iter().take(MOST_ALTERNATES) {
            match fetch(url, account, transport).await {
                Ok(chain) => chains.push(chain),
                // A certificate with another chain is better than none.
                Err(failure) => tracing::warn!(url, ?failure, "an alternate chain is left out"),
            }
        }
        let directory = &self.policy.directory_url;
        let chosen = choose(&chains, preferred).unwrap_or_else(|| {
            let offered: Vec<_> = chains.iter().filter_map(root_of).collect();
            tracing::warn!(
                directory,
                ?offered,
                "no chain fits preferred_chains; taking the authority's own choice"
            );
            0
        });
        Ok(chains.swap_remove(chosen))
    }
}

async fn fetch(url: &str, account: &Registered, transport: &Transport) -> Result<Chain, Failure> {
    let answer = account
        .post(Step::Certificate, transport, url, None)
        .await?;
    let text = std::str::from_utf8(&answer.body).map_err(|error| error.to_string());
    text.and_then(pem::decode_certificates)
        .map_err(|error| Failure::other(Step::Certificate, error))
}

/// The index of the chain to take; `None` when none fits.
fn choose(chains: &[Chain], preferred: &PreferredChains) -> Option<usize> {
    let first = |wanted: &[String], fits: &dyn Fn(&Chain, &str) -> bool| {
        let mut names = wanted.iter();
        names.find_map(|name| chains.iter().position(|chain| fits(chain, name)))
    };
    match preferred {
        PreferredChains::AnyCommonName(wanted) => first(wanted, &|chain, name| {
            let mut certificates = chain.iter();
            certificates.any(|found| issuer_of(found).as_deref() == Some(name))
        }),
        PreferredChains::RootCommonName(wanted) => first(wanted, &|chain, name| {
            root_of(chain).as_deref() == Some(name)
        }),
        PreferredChains::Smallest => {
            let size = |chain: &Chain| chain.iter().map(|der| der.len()).sum::<usize>();
            let sizes = chains.iter().map(size).enumerate();
            sizes.min_by_key(|(_, size)| *size).map(|(index, _)| index)
        }
    }
}

/// The common name of the last certificate's issuer.
fn root_of(chain: &Chain) -> Option<String> {
    issuer_of(chain.last()?)
}

fn issuer_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let mut names = parsed.issuer().iter_common_name();
    names.next()?.as_str().ok().map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::authority::{Signer, Usage};
    use crate::certificate::PrivateKey;
    use crate::policy::KeyType;

    /// Leaf and intermediate below "Old Root", then leaf alone below "New Root".
    fn chains() -> Vec<Chain> {
        let (now, day) = (Timestamp::now(), SignedDuration::from_hours(24));
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let leaf = |signer: &Signer| {
            let leaf = signer.leaf("a.school.org", &key, Usage::Server, now, day);
            leaf.unwrap()
        };
        let old = Signer::root("Old Root", now, day).unwrap();
        let middle = old.intermediate("Middle", now, day).unwrap();
        let new = Signer::root("New Root", now, day).unwrap();
        vec![
            vec![leaf(&middle), middle.certificate().unwrap()],
            vec![leaf(&new)],
        ]
    }

    #[test]
    fn chains_are_chosen_by_name_in_the_order_of_the_names() {
        let chains = chains();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let root =
            |wanted: &[&str]| choose(&chains, &PreferredChains::RootCommonName(names(wanted)));
        assert_eq!(root(&["New Root", "Old Root"]), Some(1));
        assert_eq!(root(&["No Root", "Old Root"]), Some(0));
        assert_eq!(root(&["Middle"]), None);
        let any = |wanted: &[&str]| choose(&chains, &PreferredChains::AnyCommonName(names(wanted)));
        assert_eq!(any(&["Middle"]), Some(0));
        assert_eq!(any(&["New Root"]), Some(1));
        assert_eq!(choose(&chains, &PreferredChains::Smallest), Some(1));
    }
}
