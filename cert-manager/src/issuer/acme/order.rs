//! One order, from opening or finding it again to the certificate.

use std::time::Duration;

use instant_acme::{Order, OrderStatus, RetryPolicy};
use rcgen::{CertificateParams, DistinguishedName};

use super::AcmeIssuer;
use super::authorize::{Proof, Refusals, Setback};
use super::failure::Failure;
use super::http::Transport;
use super::requests::Registered;
use super::tries::{STEP_TIMEOUT, retried};
use crate::certificate::{Certificate, PrivateKey};
use crate::fail_point::FailPoint;
use crate::issuer::{Issued, Request};
use crate::record::Step;

impl AcmeIssuer {
    /// Obtains a certificate by an order that was left open, or a new one. `refusals` are not tried
    /// again.
    pub(super) async fn order(
        &self,
        request: &Request,
        account: &Registered,
        refusals: &Refusals,
        transport: &Transport,
    ) -> Result<Issued, Setback> {
        let (mut order, key) = self.find_or_open(request, account, transport).await?;
        let mut proof = Proof::default();
        let mut result = Ok(());
        if order.state().status == OrderStatus::Pending {
            result = self
                .authorize(request, &mut order, &mut proof, refusals, transport)
                .await;
        }
        let result = match result {
            Ok(()) => self
                .complete(request, &mut order, key, account, transport)
                .await
                .map_err(Setback::from),
            Err(setback) => Err(setback),
        };
        let challenge = proof.challenge;
        self.withdraw(request, proof).await;
        if let Err(setback) = &result
            && setback.refused.is_some()
        {
            self.abandon(request).await?;
        }
        result.map(|certificate| Issued {
            certificate,
            challenge,
        })
    }

    /// Has an order that is authorized made out, and fetches its certificate.
    async fn complete(
        &self,
        request: &Request,
        order: &mut Order,
        key: PrivateKey,
        account: &Registered,
        transport: &Transport,
    ) -> Result<Certificate, Failure> {
        FailPoint::Validated.reached();
        if order.state().status == OrderStatus::Ready {
            finalize(request, order, &key, transport).await?;
            FailPoint::Finalized.reached();
        }
        let text = self.fetch(order, transport).await?;
        FailPoint::CertificateFetched.reached();
        let certificate = match self.choose_chain(&text, account, transport).await {
            Ok(chain) => {
                let (name, issuer) = (request.name.clone(), self.id.clone());
                Certificate::new(name, issuer, chain, key).map_err(Failure::from)
            }
            Err(failure) => Err(failure),
        };
        if certificate.is_err() {
            // The order has nothing else to give.
            self.abandon(request).await?;
        }
        certificate
    }

    /// Waits for the certificate and fetches it.
    async fn fetch(&self, order: &mut Order, transport: &Transport) -> Result<String, Failure> {
        let policy = self.polling();
        let fetched = retried!(
            Step::Certificate,
            transport,
            self.environment.patience * 2,
            async { order.poll_certificate(&policy).await }
        );
        let state = order.state();
        match fetched {
            Err(_) if state.status == OrderStatus::Invalid => Err(match &state.error {
                Some(problem) => Failure::of_problem(Step::Certificate, problem.clone()),
                None => Failure::other(
                    Step::Certificate,
                    "the authority made the order invalid and does not say why",
                ),
            }),
            other => other,
        }
    }

    /// Makes the next order a new one. What is remembered of it stays.
    async fn abandon(&self, request: &Request) -> Result<(), Failure> {
        let storage = &self.environment.storage;
        if let Some(mut order) = storage.order(&self.id, &request.name).await? {
            order.url = None;
            storage.put_order(&order).await?;
        }
        Ok(())
    }

    pub(super) fn polling(&self) -> RetryPolicy {
        RetryPolicy::new()
            .initial_delay(Duration::from_millis(500))
            .backoff(1.5)
            .timeout(self.environment.patience)
    }
}

/// Sends the signing request. An order that has been finalized by an attempt that did not live to
/// hear of it is looked at again instead.
async fn finalize(
    request: &Request,
    order: &mut Order,
    key: &PrivateKey,
    transport: &Transport,
) -> Result<(), Failure> {
    let csr = signing_request(request, key)?;
    let sent = retried!(Step::Finalize, transport, STEP_TIMEOUT, async {
        order.finalize_csr(&csr).await
    });
    let Err(failure) = sent else { return Ok(()) };
    let status = retried!(Step::Finalize, transport, STEP_TIMEOUT, async {
        order.refresh().await.map(|state| state.status)
    })?;
    match status {
        OrderStatus::Processing | OrderStatus::Valid => Ok(()),
        _ => Err(failure),
    }
}

fn signing_request(request: &Request, key: &PrivateKey) -> Result<Vec<u8>, Failure> {
    let failed = |error: rcgen::Error| Failure::other(Step::Finalize, error.to_string());
    let mut params = CertificateParams::new([request.name.to_string()]).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&key.key_pair()?).map_err(failed)?;
    Ok(csr.der().to_vec())
}
