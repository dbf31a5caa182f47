//! Requests to an authority that are signed here rather than by instant-acme.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method};
use instant_acme::{Account, Error};
use serde::Deserialize;
use serde_json::{Value, json};

use super::failure::Failure;
use super::http::{Answer, Transport};
use super::signing::SigningKey;
use super::tries::{STEP_TIMEOUT, retried};
use crate::record::Step;

const REPLAY_NONCE: HeaderName = HeaderName::from_static("replay-nonce");

/// What an authority offers, and where (RFC 8555 section 7.1.1).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Directory {
    pub(super) new_nonce: String,
    pub(super) new_account: String,
    pub(super) new_order: String,
    pub(super) revoke_cert: Option<String>,
    pub(super) key_change: Option<String>,
    /// Where renewal information is (RFC 9773).
    pub(super) renewal_info: Option<String>,
    #[serde(default)]
    pub(super) meta: Meta,
}

/// What a directory says of its authority.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    /// The profiles of certificates, each with what it is for.
    #[serde(default)]
    pub(super) profiles: BTreeMap<String, String>,
}

/// An account that the authority knows.
pub(super) struct Registered {
    pub(super) acme: Account,
    pub(super) key: SigningKey,
    pub(super) directory: Directory,
}

/// Who signs a request (RFC 8555 section 6.2).
#[derive(Clone, Copy, Debug)]
pub(super) enum Sender<'a> {
    /// The account with this URL.
    Account(&'a str),
    /// A key that belongs to no account yet, or stands for itself.
    Key,
}

impl Directory {
    /// Asks for the directory at `url`.
    pub(super) async fn fetch(transport: &Transport, url: &str) -> Result<Self, Failure> {
        retried!(Step::Account, transport, STEP_TIMEOUT, async {
            Ok(serde_json::from_slice(&transport.directory(url).await?)?)
        })
    }

    /// Sends `payload`, or asks for what is at `url` where it is none (POST-as-GET), until the
    /// authority takes the nonce. An answer that is a problem is an error.
    pub(super) async fn post(
        &self,
        step: Step,
        transport: &Transport,
        (key, sender): (&SigningKey, Sender<'_>),
        url: &str,
        payload: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let payload = payload.map(Value::to_string).unwrap_or_default();
        let mut nonce = None;
        retried!(step, transport, STEP_TIMEOUT, async {
            let fresh = match nonce.take() {
                Some(nonce) => nonce,
                None => self.nonce(transport).await?,
            };
            let mut header = json!({ "nonce": fresh, "url": url });
            match sender {
                Sender::Account(account_url) => header["kid"] = json!(account_url),
                Sender::Key => header["jwk"] = key.public(),
            }
            let body = Bytes::from(key.sign(header, &payload)?.to_string());
            let mut headers = HeaderMap::new();
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("application/jose+json"),
            );
            let answer = transport.send(Method::POST, url, headers, body).await?;
            nonce = answer.header(REPLAY_NONCE).map(ToOwned::to_owned);
            answer.into_success()
        })
    }

    async fn nonce(&self, transport: &Transport) -> Result<String, Error> {
        let answer = transport
            .send(
                Method::HEAD,
                &self.new_nonce,
                HeaderMap::new(),
                Bytes::new(),
            )
            .await?
            .into_success()?;
        answer
            .header(REPLAY_NONCE)
            .map(ToOwned::to_owned)
            .ok_or(Error::Str("no Replay-Nonce from newNonce"))
    }
}

impl Registered {
    /// Sends `payload` by the account, or asks for what is at `url` where it is none.
    pub(super) async fn post(
        &self,
        step: Step,
        transport: &Transport,
        url: &str,
        payload: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let signer = (&self.key, Sender::Account(self.acme.id()));
        self.directory
            .post(step, transport, signer, url, payload)
            .await
    }
}
