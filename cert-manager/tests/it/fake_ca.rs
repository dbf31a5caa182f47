//! An ACME authority that misbehaves on demand: RFC 8555 and RFC 9773 as far as a client sees them,
//! over TLS, with a log of what it was asked.

mod certificates;
mod faults;
mod jws;
mod orders;
mod serve;
mod validation;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;

use certificates::Authorities;
pub(crate) use faults::Fault;
use orders::Order;

/// A running authority; stopped when dropped.
#[derive(Debug)]
pub(crate) struct FakeCa {
    folder: TempDir,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: tokio::task::JoinHandle<()>,
}

/// How the authority behaves beside its faults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    /// Part of every URL but the directory's: URLs of another number are gone.
    pub(crate) generation: u32,
    /// Authorizations are valid from the start.
    pub(crate) is_authorized: bool,
    /// Where answers to HTTP-01 are looked for; without it none is looked for.
    pub(crate) validate_at: Option<SocketAddr>,
    /// Orders turn invalid when the challenge is answered.
    pub(crate) refuses_challenge: bool,
    /// Orders turn invalid after they are finalized.
    pub(crate) refuses_to_sign: bool,
    /// External accounts with their MAC keys; where there are any, one of them is needed.
    pub(crate) external_accounts: BTreeMap<String, Vec<u8>>,
    /// Profiles with their descriptions.
    pub(crate) profiles: BTreeMap<String, String>,
    /// Accounts list their orders.
    pub(crate) lists_orders: bool,
    /// A second chain is offered.
    pub(crate) has_alternate: bool,
    /// Begin and end of the renewal window of every certificate.
    pub(crate) renewal_window: Option<(String, String)>,
    /// `Retry-After` of renewal information.
    pub(crate) renewal_retry_after: Option<String>,
    /// Nobody chooses a lifetime.
    pub(crate) refuses_lifetime: bool,
    /// Every certificate is replaced already.
    pub(crate) is_replaced: bool,
    /// Account keys cannot be changed.
    pub(crate) keeps_keys: bool,
}

/// A request as the authority has seen it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The resource, such as `new-order`.
    pub(crate) resource: String,
    /// What was sent; null for a GET or POST-as-GET.
    pub(crate) payload: Value,
}

/// An account of the authority.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// The public key, JWK.
    pub(crate) key: Value,
    /// The external account it is bound to.
    pub(crate) bound_to: Option<String>,
}

#[derive(Debug)]
struct State {
    script: Script,
    faults: Vec<(String, Fault, usize)>,
    nonces: BTreeSet<String>,
    next_nonce: u64,
    accounts: Vec<Account>,
    orders: Vec<Order>,
    revoked: Vec<(String, u64)>,
    seen: Vec<Seen>,
    authorities: Authorities,
}

impl FakeCa {
    /// Starts an authority whose authorizations are valid from the start.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(Mutex::new(State {
            script: Script {
                is_authorized: true,
                ..Script::default()
            },
            faults: Vec::new(),
            nonces: BTreeSet::new(),
            next_nonce: 0,
            accounts: Vec::new(),
            orders: Vec::new(),
            revoked: Vec::new(),
            seen: Vec::new(),
            authorities: Authorities::new(),
        }));
        let (root, server) = serve::start(listener, Arc::clone(&state));
        std::fs::write(folder.path().join("root.pem"), root).unwrap();
        Self {
            folder,
            address,
            state,
            server,
        }
    }

    pub(crate) fn directory_url(&self) -> String {
        self.url("dir")
    }

    /// Where it gives external accounts to emails, as ZeroSSL does.
    pub(crate) fn zero_ssl_url(&self) -> String {
        self.url("zerossl")
    }

    /// The root of the directory's own certificate.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// Changes the behaviour.
    pub(crate) fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.state.lock().script);
    }

    /// Answers the next `times` requests to `resource` by `fault`.
    pub(crate) fn fail(&self, resource: &str, fault: Fault, times: usize) {
        let mut state = self.state.lock();
        state.faults.push((resource.to_owned(), fault, times));
    }

    /// Ends all faults.
    pub(crate) fn heal(&self) {
        self.state.lock().faults.clear();
    }

    /// The requests to `resource` so far.
    pub(crate) fn seen(&self, resource: &str) -> Vec<Value> {
        let state = self.state.lock();
        let seen = state.seen.iter().filter(|seen| seen.resource == resource);
        seen.map(|seen| seen.payload.clone()).collect()
    }

    /// How many requests there have been.
    pub(crate) fn requests(&self) -> usize {
        self.state.lock().seen.len()
    }

    pub(crate) fn accounts(&self) -> Vec<Account> {
        self.state.lock().accounts.clone()
    }

    /// The status of each order, in the sequence of their opening.
    pub(crate) fn orders(&self) -> Vec<String> {
        let state = self.state.lock();
        let orders = state.orders.iter().map(|order| order.status.to_owned());
        orders.collect()
    }

    /// Serial numbers of the certificates that were revoked, with the reasons.
    pub(crate) fn revoked(&self) -> Vec<(String, u64)> {
        self.state.lock().revoked.clone()
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}/{path}", self.address)
    }
}

impl Drop for FakeCa {
    fn drop(&mut self) {
        self.server.abort();
    }
}
