//! Certificates from cert-manager: declared, received, kept over restarts.
//!
//! One task owns the stream to cert-manager and opens it again after a loss; handshakes only ever
//! see the [`CertificateTable`]. What arrives is checked before it replaces anything, so a bad
//! certificate never takes a working one's place, and without cert-manager the last good ones
//! serve on, also after a restart.

mod cache;
mod challenges;
mod declaration;
mod delivery;
mod on_demand;
mod private_file;
mod tickets;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use downstream::{CertificateTable, OnDemand, TicketKeyError};
use proto::certs::v1::delivery_client::DeliveryClient;
use proto::sidecar::error_chain::Chain;
use proto::sidecar::identity::LiveIdentity;
use proto::sidecar::readiness::Readiness;
use proto::sidecar::shutdown::Shutdown;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tonic::transport::Channel;

use crate::app::listeners::TlsSources;
use crate::compile::automatic_https::Plan;
use crate::edge::Shared;

pub use cache::{Cache, CacheError};
pub use challenges::AskCertManager;
use on_demand::{Attempts, TEND_INTERVAL};
use tickets::Tickets;

/// What readiness calls this part.
const PART: &str = "certificates";

/// Certificates of the names that the configuration wants.
#[derive(Clone, Debug)]
pub struct Certificates {
    table: Arc<CertificateTable>,
    cache: Arc<Cache>,
    on_demand_cache: Arc<Cache>,
    tickets: Arc<Tickets>,
    attempts: Arc<Attempts>,
    client: DeliveryClient<Channel>,
    /// Where what outlives a handshake runs.
    runtime: Handle,
    wanted: watch::Sender<Wanted>,
    is_connected: watch::Sender<bool>,
    is_synchronized: watch::Sender<bool>,
    readiness: Readiness,
}

/// The names that are served here.
#[derive(Clone, Debug, Default)]
struct Wanted {
    /// What the configuration wants.
    plan: Arc<Plan>,
    /// By name that a client has brought, the index of its policy.
    on_demand: Arc<BTreeMap<String, usize>>,
}

impl Certificates {
    /// No certificates yet. `data` is the folder in which they are kept over restarts; `client` asks
    /// cert-manager. Must be called within a runtime, in which certificates are obtained. Blocks on
    /// the file system.
    ///
    /// # Errors
    /// When the system gives no randomness for the keys of session tickets.
    pub fn new(
        table: Arc<CertificateTable>,
        data: &Path,
        client: DeliveryClient<Channel>,
        readiness: Readiness,
    ) -> Result<Self, TicketKeyError> {
        Ok(Self {
            table,
            cache: Arc::new(Cache::new(data)),
            on_demand_cache: Arc::new(Cache::on_demand(data)),
            tickets: Arc::new(Tickets::load(data, SystemTime::now())?),
            attempts: Arc::default(),
            client,
            runtime: Handle::current(),
            wanted: watch::Sender::default(),
            is_connected: watch::Sender::new(false),
            is_synchronized: watch::Sender::new(false),
            readiness,
        })
    }

    /// Takes over what a new configuration wants: certificates from files are served at once, kept
    /// ones are restored, and the rest is declared to cert-manager. Blocks on the file system.
    pub fn set_plan(&self, plan: &Plan) {
        self.restore(plan);
        self.table.set_loaded(&plan.loaded);
        self.table
            .set_awaited(plan.names.keys().map(|name| name.as_str().into()).collect());
        let plan = Arc::new(plan.clone());
        let kept = self.kept_on_demand(&plan);
        self.wanted.send_modify(|wanted| {
            let brought = wanted.on_demand.keys().chain(&kept);
            let on_demand: BTreeMap<String, usize> = brought
                .filter_map(|name| Some((name.clone(), plan.on_demand(name)?)))
                .collect();
            self.table
                .retain(|name| plan.names.contains_key(name) || on_demand.contains_key(name));
            *wanted = Wanted {
                plan,
                on_demand: Arc::new(on_demand),
            };
        });
        self.report();
    }

    /// The names in the folder of those that clients brought. What of them `plan` allows is served
    /// again.
    fn kept_on_demand(&self, plan: &Plan) -> Vec<String> {
        if plan.on_demand_policies().next().is_none() {
            return Vec::new();
        }
        let mut names = match self.on_demand_cache.names() {
            Ok(names) => names,
            Err(error) => {
                tracing::warn!(
                    error = %Chain(&error),
                    "cannot restore certificates; they are obtained anew when clients ask for them"
                );
                return Vec::new();
            }
        };
        names.retain(|name| plan.on_demand(name).is_some());
        let missing = names
            .iter()
            .map(String::as_str)
            .filter(|name| self.table.managed(name).is_none())
            .collect();
        self.table.insert(self.on_demand_cache.restore(&missing));
        names
    }

    /// Restores kept certificates that `plan` wants and nobody serves yet. Takes nothing away.
    /// Blocks on the file system.
    pub fn restore(&self, plan: &Plan) {
        let missing: HashSet<&str> = plan
            .names
            .keys()
            .map(String::as_str)
            .filter(|name| self.table.managed(name).is_none())
            .collect();
        self.table.insert(self.cache.restore(&missing));
    }

    /// Keeps the stream to cert-manager open until shutdown.
    pub fn start(&self, identity: LiveIdentity, shared: Arc<Shared>, shutdown: &Shutdown) {
        let delivery = delivery::Delivery::new(self.clone(), identity, shared);
        let stopped = shutdown.token.clone();
        tokio::spawn(async move {
            stopped.run_until_cancelled_owned(delivery.run()).await;
        });
        let stopped = shutdown.token.clone();
        let tending = self.clone().tend();
        tokio::spawn(async move { stopped.run_until_cancelled_owned(tending).await });
    }

    /// Lets go of what is too old, again and again. Never ends.
    async fn tend(self) {
        loop {
            let this = self.clone();
            let tended = tokio::task::spawn_blocking(move || {
                let now = SystemTime::now();
                this.tend_on_demand(now);
                this.tickets.tend(now);
            });
            if let Err(error) = tended.await {
                tracing::error!(%error, "looking after certificates failed");
            }
            tokio::time::sleep(TEND_INTERVAL).await;
        }
    }

    /// What the TLS of listeners draws on.
    pub fn tls_sources(&self) -> TlsSources {
        let on_demand: Arc<dyn OnDemand> = Arc::new(self.clone());
        TlsSources {
            certificates: Arc::clone(&self.table),
            on_demand: Some(on_demand),
            tickets: Some(Arc::clone(self.tickets.shared())),
        }
    }

    /// Whether the stream to cert-manager is open.
    pub fn is_connected(&self) -> bool {
        *self.is_connected.borrow()
    }

    /// The certificates in use.
    pub fn table(&self) -> &Arc<CertificateTable> {
        &self.table
    }

    /// Checks a certificate that has arrived, serves it, and keeps it.
    async fn install(&self, name: String, chain: Vec<Vec<u8>>, private_key: Vec<u8>) {
        let is_on_demand = self.wanted.borrow().on_demand.contains_key(&name);
        if !is_on_demand && !self.wanted.borrow().plan.names.contains_key(&name) {
            tracing::debug!(
                name,
                "a certificate came for a name that is no longer served"
            );
            return;
        }
        let certificate = match cache::assemble(&chain, &private_key, &name, SystemTime::now()) {
            Ok(certificate) => Arc::new(certificate),
            Err(error) => {
                tracing::error!(
                    name,
                    error = %Chain(&error),
                    "cert-manager sent a certificate that cannot be served; the one before stays"
                );
                return;
            }
        };
        self.table
            .insert([(name.as_str().into(), Arc::clone(&certificate))]);
        tracing::info!(
            name,
            not_after = %rfc3339(certificate.not_after()),
            "serving a new certificate"
        );
        self.report();
        let cache = Arc::clone(if is_on_demand {
            &self.on_demand_cache
        } else {
            &self.cache
        });
        let kept = tokio::task::spawn_blocking(move || {
            cache
                .store(&name, &chain, &private_key)
                .map_err(|error| (name, error))
        });
        match kept.await {
            Ok(Ok(())) => {}
            Ok(Err((name, error))) => tracing::warn!(
                name,
                error = %Chain(&error),
                "cannot keep the certificate in --data: after a restart without cert-manager the \
                 name could not be served"
            ),
            Err(error) => tracing::error!(%error, "keeping a certificate failed"),
        }
    }

    /// Stops serving a certificate.
    async fn withdraw(&self, name: String) {
        self.table.remove(&name);
        tracing::info!(name, "cert-manager withdrew the certificate");
        self.report();
        let this = self.clone();
        let removed = tokio::task::spawn_blocking(move || {
            // The next client has it obtained anew, if that is allowed.
            if this.wanted.borrow().on_demand.contains_key(&name) {
                this.let_go(&name);
            }
            this.cache.remove(&name)
        });
        match removed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %Chain(&error), "cannot remove a withdrawn certificate");
            }
            Err(error) => tracing::error!(%error, "removing a withdrawn certificate failed"),
        }
    }

    /// Updates readiness. Ready is who has what can be had soon: every certificate, or after a
    /// first word from cert-manager those of the internal authority. An ACME authority may take
    /// its time, or refuse for ever, and the other sites are served meanwhile.
    fn report(&self) {
        let plan = Arc::clone(&self.wanted.borrow().plan);
        let is_synchronized = *self.is_synchronized.borrow();
        let missing: Vec<&str> = plan
            .names
            .iter()
            .filter(|(name, policy)| {
                self.table.managed(name).is_none()
                    && (!is_synchronized || plan.policies[**policy].is_internal())
            })
            .map(|(name, _)| name.as_str())
            .collect();
        if missing.is_empty() {
            self.readiness.set_ready(PART);
        } else {
            let shown = missing
                .iter()
                .take(5)
                .copied()
                .collect::<Vec<_>>()
                .join(", ");
            let more = missing.len().saturating_sub(5);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            let from = if self.is_connected() {
                "cert-manager has none yet"
            } else {
                "no connection to cert-manager yet"
            };
            self.readiness
                .wait_for(PART, format!("no certificate for {shown}{more}: {from}"));
        }
    }
}

fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map(|time| time.to_string())
        .unwrap_or_default()
}
