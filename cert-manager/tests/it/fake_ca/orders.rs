//! Orders with their one authorization and challenge, as an authority keeps them.

use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use super::State;
use super::certificates::Issued;
use super::jws::{Signed, decode};
use super::serve::{problem, respond};

/// An order with its one authorization and challenge.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) account: usize,
    pub(super) request: Value,
    pub(super) status: &'static str,
    pub(super) token: String,
    is_authorized: bool,
    error: Option<Value>,
    issued: Option<Issued>,
}

impl Order {
    fn authorize(&mut self) {
        self.is_authorized = true;
        if self.status == "pending" {
            self.status = "ready";
        }
    }

    fn refuse(&mut self, kind: &str, detail: &str) {
        self.status = "invalid";
        self.error = Some(json!({
            "type": format!("urn:ietf:params:acme:error:{kind}"),
            "detail": detail,
        }));
    }

    fn document(&self, base: &str, id: usize) -> Value {
        let mut document = json!({
            "status": self.status,
            "identifiers": self.request["identifiers"],
            "authorizations": [format!("{base}/authorization/{id}")],
            "finalize": format!("{base}/finalize/{id}"),
        });
        for field in ["notAfter", "profile", "replaces"] {
            if !self.request[field].is_null() {
                document[field] = self.request[field].clone();
            }
        }
        if let Some(error) = &self.error {
            document["error"] = error.clone();
        }
        if self.issued.is_some() {
            document["certificate"] = json!(format!("{base}/certificate/{id}"));
        }
        document
    }

    fn challenge(&self, base: &str, id: usize) -> Value {
        let status = match (self.status, self.is_authorized) {
            (_, true) => "valid",
            ("invalid", false) => "invalid",
            _ => "pending",
        };
        let mut challenge = json!({
            "type": "http-01",
            "url": format!("{base}/challenge/{id}"),
            "status": status,
            "token": self.token,
        });
        if let (false, Some(error)) = (self.is_authorized, &self.error) {
            challenge["error"] = error.clone();
        }
        challenge
    }
}

/// Opens an order.
pub(super) fn open(state: &mut State, base: &str, signed: &Signed) -> Response {
    let Some(account) = signed.account else {
        return problem(400, "malformed", "an order needs an account");
    };
    let request = &signed.payload;
    if !request["notAfter"].is_null() && state.script.refuses_lifetime {
        return problem(400, "malformed", "notBefore and notAfter are not supported");
    }
    if !request["replaces"].is_null() && state.script.is_replaced {
        return problem(409, "alreadyReplaced", "it has been replaced already");
    }
    if let Some(profile) = request["profile"].as_str()
        && !state.script.profiles.contains_key(profile)
    {
        return problem(400, "invalidProfile", "no such profile");
    }
    let id = state.orders.len();
    let mut order = Order {
        account,
        request: request.clone(),
        status: "pending",
        token: format!("token-{id}"),
        is_authorized: false,
        error: None,
        issued: None,
    };
    if state.script.is_authorized {
        order.authorize();
    }
    let document = order.document(base, id);
    state.orders.push(order);
    let location = format!("{base}/order/{id}");
    respond(201, &document, &[("location", &location)])
}

/// What there is of an order's resources.
pub(super) fn show(state: &State, base: &str, resource: &str, id: usize) -> Response {
    let order = &state.orders[id];
    if resource == "order" {
        return respond(200, &order.document(base, id), &[]);
    }
    let status = match (order.status, order.is_authorized) {
        (_, true) => "valid",
        ("invalid", false) => "invalid",
        _ => "pending",
    };
    let document = json!({
        "status": status,
        "identifier": order.request["identifiers"][0],
        "challenges": [order.challenge(base, id)],
    });
    respond(200, &document, &[])
}

/// The client says that it answers; `is_answered` is what the authority has seen of it.
pub(super) fn validate(state: &mut State, base: &str, id: usize, is_answered: bool) -> Response {
    let refuses = state.script.refuses_challenge;
    let order = &mut state.orders[id];
    if refuses || !is_answered {
        order.refuse("unauthorized", "the answer is another one");
    } else {
        order.authorize();
    }
    // The challenge as it was when it was told: what came of it is found by asking.
    let mut document = order.challenge(base, id);
    document["status"] = json!("processing");
    document["error"] = Value::Null;
    respond(200, &document, &[])
}

/// Signs what the client asks for.
pub(super) fn finalize(state: &mut State, base: &str, id: usize, payload: &Value) -> Response {
    if state.orders[id].status != "ready" {
        return problem(403, "orderNotReady", "the order is not ready");
    }
    let not_after = match state.orders[id].request["notAfter"].as_str() {
        Some(asked) => asked.parse().unwrap(),
        None => Timestamp::now() + SignedDuration::from_hours(24 * 90),
    };
    let csr = decode(&payload["csr"]).unwrap_or_default();
    match state.authorities.sign(&csr, not_after) {
        Err(error) => return problem(400, "badCSR", &error),
        Ok(_) if state.script.refuses_to_sign => {
            state.orders[id].refuse("caa", "a CAA record was added meanwhile");
        }
        Ok(issued) => {
            state.orders[id].issued = Some(issued);
            state.orders[id].status = "valid";
        }
    }
    let document = state.orders[id].document(base, id);
    respond(200, &document, &[])
}

/// One of the chains of a certificate.
pub(super) fn certificate(state: &State, base: &str, id: usize, alternate: bool) -> Response {
    let Some(issued) = &state.orders[id].issued else {
        return problem(404, "malformed", "there is no certificate yet");
    };
    let link = format!("<{base}/alternate/{id}>;rel=\"alternate\"");
    let index = format!("<{base}/dir>;rel=\"index\"");
    let mut headers = vec![
        ("content-type", "application/pem-certificate-chain"),
        ("link", index.as_str()),
    ];
    if state.script.has_alternate && !alternate {
        headers.push(("link", &link));
    }
    let mut answer = respond(200, &Value::Null, &headers);
    *answer.body_mut() = issued.chains[usize::from(alternate)].clone().into();
    answer
}

/// Revokes a certificate that was issued here.
pub(super) fn revoke(state: &mut State, signed: &Signed) -> Response {
    let payload = &signed.payload;
    let certificate = decode(&payload["certificate"]).unwrap_or_default();
    let order = state.orders.iter().find(|order| {
        let issued = order.issued.as_ref();
        issued.is_some_and(|issued| *issued.leaf == *certificate)
    });
    let Some(order) = order else {
        return problem(404, "malformed", "not issued here");
    };
    let leaf = certificate.into();
    match signed.account {
        Some(account) if account != order.account => {
            return problem(403, "unauthorized", "issued to another account");
        }
        None if !is_key_of(&signed.key, &leaf) => {
            return problem(403, "unauthorized", "signed by another key");
        }
        _ => {}
    }
    let issuer = cert_manager::policy::IssuerId::Internal;
    let facts = cert_manager::certificate::Facts::of_leaf(&leaf, issuer).unwrap();
    if state
        .revoked
        .iter()
        .any(|(serial, _)| *serial == facts.serial)
    {
        return problem(400, "alreadyRevoked", "it is revoked");
    }
    let reason = payload["reason"].as_u64().unwrap_or_default();
    state.revoked.push((facts.serial, reason));
    respond(200, &Value::Null, &[])
}

/// Whether the certificate is for the key.
fn is_key_of(key: &Value, leaf: &CertificateDer<'_>) -> bool {
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).unwrap();
    let point = &parsed.public_key().subject_public_key.data;
    let coordinates = [decode(&key["x"]), decode(&key["y"])].map(Option::unwrap_or_default);
    point[1..] == coordinates.concat()
}
