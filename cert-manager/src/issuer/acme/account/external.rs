//! Accounts elsewhere that ACME accounts are bound to (RFC 8555 section 7.3.4). ZeroSSL gives one
//! to whoever names an email.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use instant_acme::Error;
use serde::Deserialize;
use serde_json::Value;

use crate::issuer::acme::AcmeIssuer;
use crate::issuer::acme::failure::Failure;
use crate::issuer::acme::http::Transport;
use crate::issuer::acme::requests::Directory;
use crate::issuer::acme::signing::{self, SigningKey};
use crate::issuer::acme::tries::{STEP_TIMEOUT, retried};
use crate::policy::{ExternalAccount, Secret, ZERO_SSL};
use crate::record::Step;
use crate::store;

/// Where ZeroSSL is.
#[derive(Clone, Debug)]
pub struct ZeroSsl {
    /// Its ACME directory.
    pub directory_url: String,
    /// Where it gives an account to an email.
    pub account_url: String,
}

/// What ZeroSSL answers.
#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    eab_kid: Option<String>,
    #[serde(default)]
    eab_hmac_key: Option<Secret>,
    #[serde(default)]
    error: Option<Value>,
}

impl Default for ZeroSsl {
    fn default() -> Self {
        Self {
            directory_url: ZERO_SSL.to_owned(),
            account_url: "https://api.zerossl.com/acme/eab-credentials-email".to_owned(),
        }
    }
}

impl AcmeIssuer {
    /// What `kept` is to be bound to: the policy's account, or the one that ZeroSSL gives, which is
    /// stored before it is used.
    pub(super) async fn external_account(
        &self,
        kept: &mut store::Account,
        transport: &Transport,
    ) -> Result<Option<ExternalAccount>, Failure> {
        if let Some(given) = &self.policy.external_account {
            return Ok(Some(given.clone()));
        }
        let is_zero_ssl = self.policy.directory_url == self.environment.zero_ssl.directory_url;
        if kept.external_account.is_none() && is_zero_ssl {
            kept.external_account = Some(self.ask_zero_ssl(transport).await?);
            self.environment.storage.put_account(kept).await?;
        }
        Ok(kept.external_account.clone())
    }

    pub(super) fn bind(
        &self,
        external: &ExternalAccount,
        key: &SigningKey,
        directory: &Directory,
    ) -> Result<Value, Failure> {
        let bound = signing::bind(external, &key.public(), &directory.new_account);
        bound.map_err(|signing::MalformedMacKey| {
            Failure::setting(
                Step::Account,
                format!(
                    "the MAC key of the external account {} is not base64url",
                    external.key_id
                ),
                "correct acme_eab: its mac_key as the authority shows it",
            )
        })
    }

    async fn ask_zero_ssl(&self, transport: &Transport) -> Result<ExternalAccount, Failure> {
        let Some(email) = &self.policy.email else {
            return Err(Failure::setting(
                Step::Account,
                "ZeroSSL wants an account that is bound to an email, and none is known",
                "set the email in the Caddyfile or --email, or give an account by acme_eab",
            ));
        };
        let url = &self.environment.zero_ssl.account_url;
        let body = form(email);
        let given: Given = retried!(Step::Account, transport, STEP_TIMEOUT, async {
            let mut headers = HeaderMap::new();
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("application/x-www-form-urlencoded"),
            );
            let answer = transport
                .send(Method::POST, url, headers, body.clone())
                .await?;
            serde_json::from_slice(&answer.body).map_err(Error::from)
        })?;
        match (given.eab_kid, given.eab_hmac_key) {
            (Some(key_id), Some(mac_key)) => Ok(ExternalAccount { key_id, mac_key }),
            _ => Err(Failure::setting(
                Step::Account,
                format!(
                    "ZeroSSL gives {email} no account: {}",
                    given.error.unwrap_or_default()
                ),
                "correct the email in the Caddyfile or --email, or give an account by acme_eab",
            )),
        }
    }
}

fn form(email: &str) -> Bytes {
    // Any base will do: only its query is used.
    let pairs = reqwest::Url::parse_with_params("https://zerossl.com/", [("email", email)]);
    let query = pairs.ok().and_then(|url| url.query().map(str::to_owned));
    query.unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_is_encoded_as_a_form() {
        assert_eq!(form("me+x@school.org"), "email=me%2Bx%40school.org");
    }
}
