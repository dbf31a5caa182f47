//! Which certificate is served where the name leads.

use std::net::{IpAddr, SocketAddr};

use proto::certs::v1;

use super::{Doctor, check};
use crate::certificate::Facts;
use crate::finding::Finding;
use crate::issuer::preflight::{Lookup, Observation, Reach, tls};
use crate::name::Name;

impl Doctor {
    /// Shakes hands with every address of `name`.
    pub(super) async fn handshakes(
        &self,
        name: &Name,
        observation: &Observation,
        stored: Option<&v1::CertificateSummary>,
    ) -> Vec<v1::Check> {
        let Lookup::Found(addresses) = &observation.addresses else {
            return Vec::new();
        };
        let port = self.parts.preflight.ports().https;
        let mut tried = tokio::task::JoinSet::new();
        for (index, address) in addresses.iter().copied().take(8).enumerate() {
            let name = name.clone();
            tried.spawn(async move {
                let reach = tls(&name, SocketAddr::new(address, port)).await;
                (index, address, reach)
            });
        }
        let mut answers = tried.join_all().await;
        answers.sort_by_key(|(index, ..)| *index);
        let findings = answers
            .into_iter()
            .map(|(_, address, reach)| finding(address, port, &reach, stored));
        findings.map(|finding| check("port 443", finding)).collect()
    }
}

/// What is to be said of one address.
fn finding(
    address: IpAddr,
    port: u16,
    reach: &Reach<Facts>,
    stored: Option<&v1::CertificateSummary>,
) -> Finding {
    let there = format!("port {port} of {address}");
    let closed = format!(
        "is port {port} published by the proxy and open in the firewall? If {address} is this \
         server's own public address, it may be reachable from elsewhere all the same"
    );
    match reach {
        Reach::Answered(facts) => {
            let what = format!(
                "a certificate of {} for {}, valid until {:.0}",
                facts.issuer_name,
                facts.subject_alternative_names.join(", "),
                facts.not_after
            );
            match stored {
                Some(stored) if stored.fingerprint_sha256 == facts.fingerprint_sha256 => {
                    Finding::ok(format!("{there} serves the stored certificate"))
                }
                Some(_) => Finding::warning(
                    format!("{there} serves another certificate than the stored one: {what}"),
                    "is it another machine or program, or a proxy that is not connected?",
                ),
                None => Finding::warning(
                    format!("{there} serves {what}, and none is stored here"),
                    "another machine or program answers there",
                ),
            }
        }
        Reach::Refused => Finding::warning(format!("{there} refuses connections"), closed),
        Reach::Silent => Finding::warning(format!("{there} does not answer"), closed),
        Reach::NoRoute => Finding::warning(
            format!("{there} cannot be tried from here: there is no route to it"),
            "",
        ),
        Reach::Broken(error) if stored.is_none() => Finding::warning(
            format!("{there} is reached, but its handshake fails: {error}"),
            "a proxy that has no certificate for the name yet answers so",
        ),
        Reach::Broken(error) => Finding::problem(
            format!("{there} is reached, but its handshake fails: {error}"),
            "a certificate is stored, so the proxy does not have it: is it connected?",
        ),
    }
}
