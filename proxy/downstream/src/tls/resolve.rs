//! The choice of a certificate for a handshake.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;
use super::challenge::Purpose;
use super::table::CertificateTable;

/// How often one name is complained about.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// How many names are complained about within that time.
const SAY_AT_MOST: usize = 100;

thread_local! {
    static LOCAL_ADDRESS: Cell<Option<IpAddr>> = const { Cell::new(None) };
}

/// Runs `step` of a handshake with the address that the client dialled, which rustls does not hand
/// to its resolver.
pub(crate) fn with_local_address<T>(address: IpAddr, step: impl FnOnce() -> T) -> T {
    LOCAL_ADDRESS.set(Some(address));
    let result = step();
    LOCAL_ADDRESS.set(None);
    result
}

/// Picks by exact name, then wildcard; without a name by the dialled address, then the default
/// name; and last the fallback name. Caddy: the order of certmagic's `getCertificateFromCache`.
#[derive(Debug)]
pub(super) struct Resolver {
    table: Arc<CertificateTable>,
    default_server_name: Option<Box<str>>,
    fallback_server_name: Option<Box<str>>,
    said: Mutex<HashMap<Box<str>, Instant>>,
}

impl Resolver {
    pub(super) fn new(
        table: Arc<CertificateTable>,
        default_server_name: Option<Box<str>>,
        fallback_server_name: Option<Box<str>>,
    ) -> Self {
        Self {
            table,
            default_server_name,
            fallback_server_name,
            said: Mutex::default(),
        }
    }

    fn find(&self, server_name: Option<&str>) -> Option<Arc<Certificate>> {
        let found = match server_name {
            Some(name) => self.table.find(name),
            None => LOCAL_ADDRESS
                .get()
                .and_then(|address| self.table.find(&address.to_string()))
                .or_else(|| self.table.find(self.default_server_name.as_deref()?)),
        };
        found.or_else(|| self.table.find(self.fallback_server_name.as_deref()?))
    }

    fn complain(&self, server_name: Option<&str>) {
        let Some(name) = server_name else {
            tracing::debug!(
                "a client sent no server name (SNI), and no certificate is for the address it \
                 dialled"
            );
            return;
        };
        if !self.table.is_awaited(name) {
            tracing::debug!(
                name,
                "a client asked for a name that no site here is served under"
            );
            return;
        }
        let now = Instant::now();
        let mut said = self.said.lock();
        if said.len() >= SAY_AT_MOST {
            said.retain(|_, at| now.duration_since(*at) < SAY_AGAIN);
        }
        let is_new = said
            .get(name)
            .is_none_or(|at| now.duration_since(*at) >= SAY_AGAIN);
        if is_new && said.len() < SAY_AT_MOST {
            said.insert(name.into(), now);
            drop(said);
            tracing::warn!(
                name,
                "a client asked for {name}, which has no certificate yet: look at \
                 `cert-manager status {name}`"
            );
        }
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match Purpose::of(&hello) {
            Purpose::Challenge => return self.table.challenges().find(hello.server_name()),
            Purpose::Neither => return None,
            Purpose::Requests => {}
        }
        let found = self.find(hello.server_name());
        if found.is_none() {
            self.complain(hello.server_name());
        }
        found.map(|certificate| {
            certificate.note_use();
            Arc::clone(certificate.key())
        })
    }
}
