//! Revoking certificates (RFC 8555 section 7.6).

use serde_json::json;

use super::AcmeIssuer;
use super::failure::Failure;
use super::requests::Sender;
use super::signing::{SigningKey, encode};
use crate::certificate::Certificate;
use crate::issuer::RevocationReason;
use crate::record::Step;

impl AcmeIssuer {
    /// Has the authority revoke `certificate`: asked by our account, or, where that is not the one
    /// that it was issued to, by the certificate's own key.
    pub(super) async fn send_revocation(
        &self,
        certificate: &Certificate,
        reason: RevocationReason,
    ) -> Result<(), Failure> {
        let (account, transport) = self.session().await?;
        let Some(url) = &account.directory.revoke_cert else {
            return Err(Failure::unsupported(Step::Revocation, "revocation"));
        };
        let Some(leaf) = certificate.chain.first() else {
            return Err(Failure::other(Step::Revocation, "the chain is empty"));
        };
        let payload = json!({ "certificate": encode(leaf), "reason": reason.code() });
        let mut asked = account
            .post(Step::Revocation, &transport, url, Some(&payload))
            .await;
        if let Err(failure) = &asked
            && failure.is_problem("unauthorized")
            // Requests are signed by ECDSA on P-256 alone.
            && let Ok(key) = SigningKey::new(&certificate.key)
        {
            let signer = (&key, Sender::Key);
            asked = account
                .directory
                .post(Step::Revocation, &transport, signer, url, Some(&payload))
                .await;
        }
        match asked {
            Err(failure) if !failure.is_problem("alreadyRevoked") => Err(failure),
            _ => Ok(()),
        }
    }
}
