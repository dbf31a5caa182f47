//! The authority's HTTPS server: which resource a request is for, and its faults.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{HeaderName, Method, Uri};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use proto::sidecar::identity::provider;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::jws::{self, Signed};
use super::{Account, Fault, Seen, State, orders, validation};

/// Serves until the task ends; returns the root of the server's certificate in PEM.
pub(super) fn start(
    listener: TcpListener,
    state: Arc<Mutex<State>>,
) -> (String, tokio::task::JoinHandle<()>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let listener = Listener {
        tcp: listener,
        tls: TlsAcceptor::from(Arc::new(tls)),
    };
    let base = format!("https://{}", listener.tcp.local_addr().unwrap());
    let router = axum::Router::new()
        .fallback(serve)
        .with_state((state, Arc::from(base)));
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (certificate.pem(), server)
}

struct Listener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            // A client that goes away in its handshake is its own affair.
            if let Ok((stream, address)) = self.tcp.accept().await
                && let Ok(stream) = self.tls.accept(stream).await
            {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

type Context = (Arc<Mutex<State>>, Arc<str>);

async fn serve(
    Shared((state, origin)): Shared<Context>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let (generation, resource, id) = split(&path);
    let fault = {
        let mut state = state.lock();
        let fault = take_fault(&mut state, resource);
        if generation != state.script.generation && !["dir", "zerossl"].contains(&resource) {
            return problem(404, "malformed", "the URL is gone");
        }
        fault
    };
    if let Some(Fault::Hang) = fault {
        std::future::pending::<()>().await;
    }
    let request = Request {
        base: format!("{origin}/{generation}"),
        url: format!("{origin}{path}"),
        resource,
        id,
    };
    let mut answer = match fault.and_then(Fault::answer) {
        Some(answer) => {
            note(&state, resource, Value::Null);
            answer
        }
        None => request.answer(&state, &method, &body).await,
    };
    if let Some(Fault::Lost) = fault {
        std::future::pending::<()>().await;
    }
    let mut state = state.lock();
    state.next_nonce += 1;
    let nonce = format!("nonce-{}", state.next_nonce);
    let headers = answer.headers_mut();
    headers.insert("replay-nonce", nonce.parse().unwrap());
    state.nonces.insert(nonce);
    answer
}

/// `/GENERATION/RESOURCE/ID`, or a resource alone.
fn split(path: &str) -> (u32, &str, &str) {
    let mut parts = path.trim_start_matches('/').splitn(3, '/');
    let first = parts.next().unwrap_or_default();
    match (first.parse(), parts.next()) {
        (Ok(generation), Some(resource)) => {
            (generation, resource, parts.next().unwrap_or_default())
        }
        _ => (0, first, ""),
    }
}

fn take_fault(state: &mut State, resource: &str) -> Option<Fault> {
    let is_left = |(wanted, _, left): &&mut (String, Fault, usize)| wanted == resource && *left > 0;
    let (_, fault, left) = state.faults.iter_mut().find(is_left)?;
    *left -= 1;
    Some(*fault)
}

fn note(state: &Mutex<State>, resource: &str, payload: Value) {
    let resource = resource.to_owned();
    state.lock().seen.push(Seen { resource, payload });
}

struct Request<'a> {
    base: String,
    url: String,
    resource: &'a str,
    id: &'a str,
}

impl Request<'_> {
    async fn answer(&self, state: &Mutex<State>, method: &Method, body: &[u8]) -> Response {
        if *method != Method::POST || self.resource == "zerossl" {
            let text = String::from_utf8_lossy(body).into_owned();
            note(state, self.resource, json!(text));
            return self.plain(&state.lock());
        }
        let signed = jws::open(&mut state.lock(), &self.url, body);
        let signed = match signed {
            Ok(signed) => signed,
            Err(refusal) => return refusal,
        };
        note(state, self.resource, signed.payload.clone());
        if self.resource == "challenge" {
            let is_answered = self.look(state, &signed).await;
            let mut state = state.lock();
            return match self.order(&state) {
                Some(id) => orders::validate(&mut state, &self.base, id, is_answered),
                None => problem(404, "malformed", "no such challenge"),
            };
        }
        self.signed(&mut state.lock(), &signed)
    }

    fn plain(&self, state: &State) -> Response {
        let base = format!(
            "{}/{}",
            self.base.rsplit_once('/').unwrap_or_default().0,
            state.script.generation
        );
        let script = &state.script;
        match self.resource {
            "dir" => {
                let mut directory = json!({
                    "newNonce": format!("{base}/new-nonce"),
                    "newAccount": format!("{base}/new-account"),
                    "newOrder": format!("{base}/new-order"),
                    "revokeCert": format!("{base}/revoke-cert"),
                    "meta": {
                        "profiles": script.profiles,
                        "externalAccountRequired": !script.external_accounts.is_empty(),
                    },
                });
                if !script.keeps_keys {
                    directory["keyChange"] = json!(format!("{base}/key-change"));
                }
                if script.renewal_window.is_some() {
                    directory["renewalInfo"] = json!(format!("{base}/renewal-info"));
                }
                respond(200, &directory, &[])
            }
            "new-nonce" => respond(200, &Value::Null, &[]),
            "renewal-info" => {
                let (start, end) = script.renewal_window.clone().unwrap_or_default();
                let document = json!({ "suggestedWindow": { "start": start, "end": end } });
                let retry_after = script.renewal_retry_after.as_deref();
                let headers: Vec<_> = retry_after
                    .map(|value| ("retry-after", value))
                    .into_iter()
                    .collect();
                respond(200, &document, &headers)
            }
            "zerossl" => {
                let account = script.external_accounts.iter().next();
                let document = match account {
                    Some((id, key)) => json!({
                        "success": true,
                        "eab_kid": id,
                        "eab_hmac_key": URL_SAFE_NO_PAD.encode(key),
                    }),
                    None => {
                        json!({ "success": false, "error": { "code": 2929, "type": "invalid_email" } })
                    }
                };
                respond(200, &document, &[])
            }
            _ => problem(404, "malformed", "no such resource"),
        }
    }

    fn signed(&self, state: &mut State, signed: &Signed) -> Response {
        let base = &self.base;
        match self.resource {
            "new-account" => self.new_account(state, signed),
            "new-order" => orders::open(state, base, signed),
            "key-change" => change_key(state, signed),
            "revoke-cert" => orders::revoke(state, signed),
            "account" => {
                let mut document = json!({ "status": "valid" });
                if state.script.lists_orders {
                    document["orders"] = json!(format!("{base}/orders/{}", self.id));
                }
                respond(200, &document, &[])
            }
            "orders" => self.list(state, signed),
            _ => match (self.resource, self.order(state)) {
                (resource @ ("order" | "authorization"), Some(id)) => {
                    orders::show(state, base, resource, id)
                }
                ("finalize", Some(id)) => orders::finalize(state, base, id, &signed.payload),
                ("certificate", Some(id)) => orders::certificate(state, base, id, false),
                ("alternate", Some(id)) => orders::certificate(state, base, id, true),
                _ => problem(404, "malformed", "no such resource"),
            },
        }
    }

    /// A page of the orders of an account, oldest first.
    fn list(&self, state: &State, signed: &Signed) -> Response {
        const PAGE: usize = 2;
        let (account, page) = self.id.split_once('-').unwrap_or((self.id, "0"));
        let page: usize = page.parse().unwrap();
        let base = &self.base;
        let orders = state.orders.iter().enumerate();
        let urls: Vec<_> = orders
            .filter(|(_, order)| Some(order.account) == signed.account)
            .map(|(id, _)| format!("{base}/order/{id}"))
            .collect();
        let next = format!("<{base}/orders/{account}-{}>;rel=\"next\"", page + 1);
        let is_last = urls.len() <= (page + 1) * PAGE;
        let headers: &[_] = if is_last {
            &[]
        } else {
            &[("link", next.as_str())]
        };
        let urls: Vec<_> = urls.iter().skip(page * PAGE).take(PAGE).collect();
        respond(200, &json!({ "orders": urls }), headers)
    }

    fn new_account(&self, state: &mut State, signed: &Signed) -> Response {
        let location = |index: usize| format!("{}/account/{index}", self.base);
        let document = json!({ "status": "valid" });
        let known = state
            .accounts
            .iter()
            .position(|known| known.key == signed.key);
        if let Some(index) = known {
            return respond(200, &document, &[("location", &location(index))]);
        }
        if signed.payload["onlyReturnExisting"] == true {
            return problem(400, "accountDoesNotExist", "no account has this key");
        }
        let accounts = &state.script.external_accounts;
        let bound = &signed.payload["externalAccountBinding"];
        let bound_to = jws::external_account(bound, &signed.key, accounts);
        if bound_to.is_none() && !accounts.is_empty() {
            return if bound.is_null() {
                problem(
                    403,
                    "externalAccountRequired",
                    "an external account is needed",
                )
            } else {
                problem(401, "unauthorized", "the external account does not verify")
            };
        }
        let key = signed.key.clone();
        state.accounts.push(Account { key, bound_to });
        let location = location(state.accounts.len() - 1);
        respond(201, &document, &[("location", &location)])
    }

    /// Looks for the answer to a challenge.
    async fn look(&self, state: &Mutex<State>, signed: &Signed) -> bool {
        let (address, token) = {
            let state = state.lock();
            let Some(id) = self.order(&state) else {
                return false;
            };
            (state.script.validate_at, state.orders[id].token.clone())
        };
        let Some(address) = address else { return true };
        validation::is_answered(address, &token, &signed.key).await
    }

    fn order(&self, state: &State) -> Option<usize> {
        let id = self.id.parse().ok()?;
        (id < state.orders.len()).then_some(id)
    }
}

fn change_key(state: &mut State, signed: &Signed) -> Response {
    let (Some(index), Some((key, change))) = (signed.account, jws::open_inner(&signed.payload))
    else {
        return problem(400, "malformed", "the inner signature does not verify");
    };
    if jws::public(&change["oldKey"]) != signed.key {
        return problem(400, "malformed", "the old key is another one");
    }
    if state.accounts.iter().any(|account| account.key == key) {
        return problem(409, "malformed", "the key has an account already");
    }
    state.accounts[index].key = key;
    respond(200, &json!({ "status": "valid" }), &[])
}

/// An answer with a document; null stands for none.
pub(super) fn respond(status: u16, document: &Value, headers: &[(&str, &str)]) -> Response {
    let body = if document.is_null() {
        Body::empty()
    } else {
        Body::from(document.to_string())
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = status.try_into().unwrap();
    let fields = answer.headers_mut();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        fields.append(name, value.parse().unwrap());
    }
    fields
        .entry("content-type")
        .or_insert_with(|| "application/json".parse().unwrap());
    answer
}

/// A problem document (RFC 7807).
pub(super) fn problem(status: u16, kind: &str, detail: &str) -> Response {
    let document = json!({
        "type": format!("urn:ietf:params:acme:error:{kind}"),
        "detail": detail,
        "status": status,
    });
    let headers = [("content-type", "application/problem+json")];
    respond(status, &document, &headers)
}
