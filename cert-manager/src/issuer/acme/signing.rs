//! JSON web signatures (RFC 7515) for what instant-acme cannot say: registrations that are bound to
//! another account, changes of the account key, orders with all their fields, alternate chains.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use instant_acme::Error;
use serde_json::{Value, json};

use crate::certificate::PrivateKey;
use crate::policy::ExternalAccount;

/// A key that signs requests: ECDSA on P-256, as instant-acme wants it.
#[derive(Debug)]
pub(super) struct SigningKey(EcdsaKeyPair);

/// The MAC key of an external account is not base64url.
#[derive(Debug)]
pub(super) struct MalformedMacKey;

impl SigningKey {
    /// Takes an account key.
    ///
    /// # Errors
    /// When it is no ECDSA key on P-256.
    pub(super) fn new(key: &PrivateKey) -> Result<Self, Error> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_der())
            .map(Self)
            .map_err(|_| Error::KeyRejected)
    }

    /// The public key as JSON (RFC 7517).
    pub(super) fn public(&self) -> Value {
        let point = self.0.public_key().as_ref();
        // An uncompressed point: an octet that says so, then both coordinates.
        let (x, y) = point[1..].split_at(point.len() / 2);
        json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) })
    }

    /// Signs `payload` under `header`, whose `alg` is set here.
    pub(super) fn sign(&self, mut header: Value, payload: &str) -> Result<Value, Error> {
        header["alg"] = json!("ES256");
        let (protected, payload) = (encode(header.to_string()), encode(payload));
        let signature = self
            .0
            .sign(
                &SystemRandom::new(),
                format!("{protected}.{payload}").as_bytes(),
            )
            .map_err(|_| Error::Crypto)?;
        Ok(json!({
            "protected": protected,
            "payload": payload,
            "signature": encode(signature),
        }))
    }
}

/// Binds the public key of an account to an external one (RFC 8555 section 7.3.4); `url` is where
/// the registration goes.
///
/// # Errors
/// When the MAC key is malformed.
pub(super) fn bind(
    account: &ExternalAccount,
    public_key: &Value,
    url: &str,
) -> Result<Value, MalformedMacKey> {
    let secret = URL_SAFE_NO_PAD
        .decode(account.mac_key.reveal().trim().trim_end_matches('='))
        .map_err(|_| MalformedMacKey)?;
    let header = json!({ "alg": "HS256", "kid": account.key_id, "url": url });
    let (protected, payload) = (encode(header.to_string()), encode(public_key.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &zeroize::Zeroizing::new(secret));
    let tag = hmac::sign(&key, format!("{protected}.{payload}").as_bytes());
    Ok(json!({ "protected": protected, "payload": payload, "signature": encode(tag) }))
}

/// Base64url without padding, as ACME has it everywhere.
pub(super) fn encode(octets: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;
    use crate::policy::{KeyType, Secret};

    #[test]
    fn signatures_verify_with_the_public_key() {
        let key = SigningKey::new(&PrivateKey::generate(KeyType::P256).unwrap()).unwrap();
        let signed = key.sign(json!({ "nonce": "n" }), "{}").unwrap();
        let part = |name: &str| signed[name].as_str().unwrap();
        let text = format!("{}.{}", part("protected"), part("payload"));
        let signature = URL_SAFE_NO_PAD.decode(part("signature")).unwrap();
        let coordinate = |name: &str| {
            let public = key.public();
            URL_SAFE_NO_PAD
                .decode(public[name].as_str().unwrap())
                .unwrap()
        };
        let point = [vec![4], coordinate("x"), coordinate("y")].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(text.as_bytes(), &signature)
            .unwrap();
    }

    #[test]
    fn keys_of_another_kind_are_refused() {
        let key = PrivateKey::generate(KeyType::P384).unwrap();
        assert!(matches!(SigningKey::new(&key), Err(Error::KeyRejected)));
    }

    #[test]
    fn a_mac_key_may_be_padded_and_must_be_base64url() {
        let account = |mac_key: &str| ExternalAccount {
            key_id: "kid".to_owned(),
            mac_key: Secret::new(mac_key),
        };
        let bound = |mac_key| bind(&account(mac_key), &json!({}), "https://ca.test/new");
        assert_eq!(bound("c2VjcmV0IQ==").unwrap(), bound("c2VjcmV0IQ").unwrap());
        assert!(bound("not base64").is_err());
    }
}
