//! Signed requests (RFC 8555 section 6.2), checked as an authority checks them.

#![expect(
    clippy::result_large_err,
    reason = "a refusal is an answer like any other"
)]

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::State;
use super::serve::problem;

/// A request whose signature is right.
#[derive(Debug)]
pub(super) struct Signed {
    /// What was sent; null for POST-as-GET.
    pub(super) payload: Value,
    /// The index of the account; `None` when the key stands for itself.
    pub(super) account: Option<usize>,
    /// The key that signed.
    pub(super) key: Value,
}

/// Opens a request to `url`.
pub(super) fn open(state: &mut State, url: &str, body: &[u8]) -> Result<Signed, Response> {
    let malformed = |detail: &str| problem(400, "malformed", detail);
    let jws: Value = serde_json::from_slice(body).map_err(|_| malformed("no JSON"))?;
    let header = json_of(&jws["protected"]).ok_or_else(|| malformed("no header"))?;
    let nonce = header["nonce"].as_str().unwrap_or_default();
    if !state.nonces.remove(nonce) {
        return Err(problem(400, "badNonce", "the nonce is unknown or used"));
    }
    if header["url"] != url {
        return Err(problem(401, "unauthorized", "signed for another URL"));
    }
    let account = match header["kid"].as_str() {
        None => None,
        Some(kid) => Some(account_of(state, kid)?),
    };
    let key = match account {
        Some(index) => state.accounts[index].key.clone(),
        None => public(&header["jwk"]),
    };
    if !verify(&jws, &key) {
        return Err(problem(400, "malformed", "the signature does not verify"));
    }
    let payload = json_of(&jws["payload"]).unwrap_or_default();
    Ok(Signed {
        payload,
        account,
        key,
    })
}

/// Opens the inner request of a change of keys; returns the new key and what it signed.
pub(super) fn open_inner(jws: &Value) -> Option<(Value, Value)> {
    let key = public(&json_of(&jws["protected"])?["jwk"]);
    let payload = json_of(&jws["payload"])?;
    verify(jws, &key).then_some((key, payload))
}

/// The external account that `bound` is signed by with one of `accounts`, if it is for `key`.
pub(super) fn external_account(
    bound: &Value,
    key: &Value,
    accounts: &std::collections::BTreeMap<String, Vec<u8>>,
) -> Option<String> {
    let id = json_of(&bound["protected"])?["kid"].as_str()?.to_owned();
    let mac_key = hmac::Key::new(hmac::HMAC_SHA256, accounts.get(&id)?);
    let signature = decode(&bound["signature"])?;
    hmac::verify(&mac_key, &signed_text(bound)?, &signature).ok()?;
    (public(&json_of(&bound["payload"])?) == *key).then_some(id)
}

/// The public key alone, without what else a client puts beside it.
pub(super) fn public(jwk: &Value) -> Value {
    serde_json::json!({ "kty": jwk["kty"], "crv": jwk["crv"], "x": jwk["x"], "y": jwk["y"] })
}

fn account_of(state: &State, kid: &str) -> Result<usize, Response> {
    let unknown = || problem(400, "accountDoesNotExist", "no such account");
    let index = kid.rsplit('/').next().and_then(|id| id.parse().ok());
    index
        .filter(|index| *index < state.accounts.len())
        .ok_or_else(unknown)
}

fn verify(jws: &Value, key: &Value) -> bool {
    let point = || Some([vec![4], decode(&key["x"])?, decode(&key["y"])?].concat());
    let verified = || {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point()?);
        let signature = decode(&jws["signature"])?;
        key.verify(&signed_text(jws)?, &signature).ok()
    };
    verified().is_some()
}

fn signed_text(jws: &Value) -> Option<Vec<u8>> {
    let (header, payload) = (jws["protected"].as_str()?, jws["payload"].as_str()?);
    Some(format!("{header}.{payload}").into_bytes())
}

fn json_of(part: &Value) -> Option<Value> {
    serde_json::from_slice(&decode(part)?).ok()
}

pub(super) fn decode(part: &Value) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part.as_str()?).ok()
}
