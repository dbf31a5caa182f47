//! TXT records that answer the DNS challenge. Each is remembered with its order before it is
//! written, until it is removed.

use crate::dns::{DnsError, Solver, Tools, TxtRecord};
use crate::issuer::Request;
use crate::issuer::acme::AcmeIssuer;
use crate::issuer::acme::failure::Failure;
use crate::name::Name;
use crate::record::Step;

use super::Proof;

impl AcmeIssuer {
    /// Writes a TXT record and waits until it is seen. It is remembered before, so that it is
    /// removed even if this program does not live to do so.
    pub(super) async fn write_record(
        &self,
        request: &Request,
        value: String,
        proof: &mut Proof,
    ) -> Result<(), Failure> {
        let Some(solver) = self.solver()? else {
            return Err(Failure::other(
                Step::Challenge,
                "the DNS challenge has no provider",
            ));
        };
        let name = &request.name;
        let record = solver.locate(name, value).await?;
        self.remove_leftovers(name, &record, &solver).await?;
        self.remember(name, |records| {
            if !records.contains(&record) {
                records.push(record.clone());
            }
        })
        .await?;
        proof.records.push(record.clone());
        solver.add(&record).await?;
        tracing::info!(%name, record = record.name, "wrote the challenge's TXT record");
        solver.seen(&record).await?;
        Ok(())
    }

    /// Removes the records of earlier attempts that are not `wanted` again. One that cannot be
    /// removed now stays remembered.
    async fn remove_leftovers(
        &self,
        name: &Name,
        wanted: &TxtRecord,
        solver: &Solver,
    ) -> Result<(), Failure> {
        let kept = self.environment.storage.order(&self.id, name).await?;
        let leftovers = kept.map(|order| order.txt_records).unwrap_or_default();
        for record in leftovers.into_iter().filter(|record| record != wanted) {
            match solver.remove(&record).await {
                Ok(()) => {
                    tracing::info!(%name, record = record.name, "removed a TXT record left over");
                    self.remember(name, |records| records.retain(|known| *known != record))
                        .await?;
                }
                Err(error) => tracing::warn!(
                    %name,
                    record = record.name,
                    %error,
                    "a TXT record left over by an earlier attempt cannot be removed"
                ),
            }
        }
        Ok(())
    }

    pub(super) async fn remove_record(
        &self,
        name: &Name,
        record: &TxtRecord,
    ) -> Result<(), Failure> {
        if let Some(solver) = self.solver()? {
            solver.remove(record).await?;
        }
        self.remember(name, |records| records.retain(|known| known != record))
            .await
    }

    /// Changes which TXT records are remembered with the order of `name`.
    async fn remember(
        &self,
        name: &Name,
        change: impl FnOnce(&mut Vec<TxtRecord>),
    ) -> Result<(), Failure> {
        let storage = &self.environment.storage;
        if let Some(mut order) = storage.order(&self.id, name).await? {
            change(&mut order.txt_records);
            storage.put_order(&order).await?;
        }
        Ok(())
    }

    fn solver(&self) -> Result<Option<Solver>, DnsError> {
        let Some(policy) = &self.policy.challenges.dns else {
            return Ok(None);
        };
        let tools = Tools {
            resolver: self.environment.resolver.clone(),
            http: self.client.clone(),
            exec: self.environment.dns_exec.clone(),
            clock: self.environment.clock.clone(),
        };
        Solver::new(policy.clone(), &tools).map(Some)
    }
}
