//! After a failure the next attempt is rehearsed at the authority's test directory, whose limits are
//! wide, so that a mistake costs no limit of the real one.

use super::AcmeIssuer;
use crate::issuer::{IssueError, Request};
use crate::policy::{AcmePolicy, LETS_ENCRYPT};

/// The directory of Let's Encrypt's staging authority.
const LETS_ENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

/// The policy of rehearsals for `policy`: by an account of their own, for certificates that are
/// thrown away. `None` where no test directory is known.
pub(super) fn policy(policy: &AcmePolicy) -> Option<AcmePolicy> {
    let known = (policy.directory_url == LETS_ENCRYPT).then(|| LETS_ENCRYPT_STAGING.to_owned());
    let directory_url = policy.test_directory_url.clone().or(known)?;
    (directory_url != policy.directory_url).then(|| AcmePolicy {
        directory_url,
        test_directory_url: None,
        external_account: None,
        account_key_pem: None,
        preferred_chains: None,
        ..policy.clone()
    })
}

impl AcmeIssuer {
    /// Obtains a certificate at the test directory, if there is one, and throws it away.
    pub(super) async fn rehearse(&self, request: &Request) -> Result<(), IssueError> {
        let Some(rehearsal) = &self.rehearsal else {
            return Ok(());
        };
        let directory_url = &rehearsal.policy.directory_url;
        let request = Request {
            replaces: None,
            key: None,
            rehearse: false,
            ..request.clone()
        };
        let name = &request.name;
        tracing::info!(%name, directory = directory_url, "rehearsing after a failure");
        let obtained = rehearsal.obtain(&request).await;
        obtained.map_err(|failure| {
            let error = failure.into_error(name, directory_url);
            IssueError {
                message: format!("the rehearsal at {directory_url} failed: {}", error.message),
                ..error
            }
        })?;
        let storage = &rehearsal.environment.storage;
        if let Err(error) = storage.remove_order(&rehearsal.id, name).await {
            let error = proto::sidecar::error_chain::Chain(&error);
            tracing::warn!(%name, %error, "the order of a rehearsal is left over");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{ExternalAccount, Secret};

    fn test_directory(directory_url: &str, given: Option<&str>) -> Option<String> {
        let real = AcmePolicy {
            test_directory_url: given.map(str::to_owned),
            external_account: Some(ExternalAccount {
                key_id: "kid".to_owned(),
                mac_key: Secret::new("c2VjcmV0"),
            }),
            ..AcmePolicy::new(directory_url, None)
        };
        let rehearsal = policy(&real)?;
        assert_eq!(rehearsal.external_account, None);
        assert_eq!(policy(&rehearsal), None);
        Some(rehearsal.directory_url)
    }

    #[test]
    fn a_test_directory_is_given_or_known() {
        let own = "https://ca.corp.internal/directory";
        let test = "https://test.corp.internal/directory";
        assert_eq!(test_directory(own, None), None);
        assert_eq!(test_directory(own, Some(own)), None);
        assert_eq!(test_directory(own, Some(test)).as_deref(), Some(test));
        let known = test_directory(LETS_ENCRYPT, None);
        assert_eq!(known.as_deref(), Some(LETS_ENCRYPT_STAGING));
        let chosen = test_directory(LETS_ENCRYPT, Some(test));
        assert_eq!(chosen.as_deref(), Some(test));
    }
}
