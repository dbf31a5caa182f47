//! What is looked into around an attempt, and kept of it.

use proto::sidecar::error_chain::Chain;

use super::Manager;
use crate::finding::Finding;
use crate::issuer::IssueError;
use crate::issuer::preflight::{self, is_public_authority};
use crate::name::Name;
use crate::policy::{IssuerPolicy, Policy};
use crate::record::Step;

impl Manager {
    /// The policy of the last declaration of `name`.
    pub(crate) fn policy_of(&self, name: &Name) -> Option<Policy> {
        self.names.lock().record(name)?.policy.clone()
    }

    /// Looks into a name before an order at a public authority. Others see a DNS of their own, so
    /// they are not kept waiting for what ours says: see [`Manager::look_after`].
    pub(super) async fn look_ahead(
        &self,
        name: &Name,
        policy: &IssuerPolicy,
    ) -> Result<(), IssueError> {
        preflight::check(name, policy)?;
        if !is_public(policy) {
            // What was found after the last failure may be mended by now.
            self.keep_findings(name, Vec::new()).await;
            return Ok(());
        }
        let checked = self.parts.issuers.look(name, policy).await;
        self.keep_findings(name, checked.findings).await;
        checked.refusal.map_or(Ok(()), Err)
    }

    /// Looks into a name that no authority could validate, where that was not done before.
    pub(super) async fn look_after(&self, name: &Name, policy: &Policy, failed_at: Step) {
        if failed_at != Step::Challenge || policy.issuers.iter().any(is_public) {
            return;
        }
        let acme = |issuer: &&IssuerPolicy| matches!(issuer, IssuerPolicy::Acme(_));
        if let Some(issuer) = policy.issuers.iter().rfind(acme) {
            let checked = self.parts.issuers.look(name, issuer).await;
            self.keep_findings(name, checked.findings).await;
        }
    }

    async fn keep_findings(&self, name: &Name, findings: Vec<Finding>) {
        let is_news = {
            let names = self.names.lock();
            let record = names.record(name);
            record.is_some_and(|record| record.findings != findings)
        };
        if !is_news {
            return;
        }
        let kept = self
            .commit(std::slice::from_ref(name), |record| {
                record.findings.clone_from(&findings);
            })
            .await;
        if let Err(error) = kept {
            tracing::error!(%name, error = %Chain(&error), "findings cannot be kept");
        }
    }
}

fn is_public(policy: &IssuerPolicy) -> bool {
    matches!(policy, IssuerPolicy::Acme(acme) if is_public_authority(&acme.directory_url))
}
