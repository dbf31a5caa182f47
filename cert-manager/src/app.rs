//! The service, from the checked configuration to the end of the program.
//!
//! ```text
//! status and admin listeners --> lock of the data folder (a standby waits here) --> store
//!   --> authorities, identities --> manager --> mutual TLS listener --> maintenance until SIGTERM
//! ```

use std::sync::Arc;
use std::time::Duration;

use proto::sidecar::admin;
use proto::sidecar::dns::Resolver;
use proto::sidecar::error_chain::Chain;
use proto::sidecar::grpc::{self as sidecar_grpc, TlsIncoming};
use proto::sidecar::identity::{LiveIdentity, Role};
use proto::sidecar::readiness::Readiness;
use proto::sidecar::shutdown::Shutdown;

use crate::challenge::ChallengeBoard;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::container;
use crate::control::ControlAuthority;
use crate::doctor::{self, Doctor};
use crate::events::{self, ExecSink, Sinks, WebhookSink};
use crate::grpc::{self, Active};
use crate::issuer::internal::InternalAuthority;
use crate::issuer::preflight::{Dns, Preflight};
use crate::issuer::{Authorities, acme};
use crate::manager::{Manager, Parts};
use crate::metrics::{self, Metrics};
use crate::on_demand::OnDemand;
use crate::store::local::{LocalStorage, Rebuilds};
use crate::store::{FolderLock, Storage};
use crate::ticket_keys::TicketKeys;

/// How long open work is given after SIGTERM; Docker kills after ten seconds.
const GRACE: Duration = Duration::from_secs(7);
/// How long the last flush is given after that.
const LAST_FLUSH: Duration = Duration::from_secs(1);

/// Runs the service until `shutdown`.
///
/// # Errors
/// What stops it, in words for an operator.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), String> {
    let readiness = Readiness::default();
    readiness.wait_for("store", "opening");
    let registry = prometheus_client::registry::Registry::with_prefix("cert_manager");
    let registry: admin::Metrics = Arc::new(parking_lot::Mutex::new(registry));
    admin::serve(
        &config.admin,
        readiness.clone(),
        Arc::clone(&registry),
        Default::default(),
        &shutdown,
    )
    .await?;

    let active = Active::default();
    let listener = sidecar_grpc::bind("--status-listen", config.status_listen).await?;
    let routes = sidecar_grpc::routes(&readiness).map_err(|error| Chain(&error).to_string())?;
    let routes = grpc::local_services(routes, active.clone(), &shutdown);
    spawn_server("the status listener", &shutdown, {
        let shutdown = shutdown.clone();
        async move { sidecar_grpc::serve_plaintext(listener, routes, &shutdown).await }
    });

    let service = Service {
        config,
        readiness,
        registry,
        active,
        shutdown: shutdown.clone(),
    };
    let running = tokio::select! {
        () = shutdown.token.cancelled() => return Ok(()),
        result = service.start() => result?,
    };
    shutdown.token.cancelled().await;
    if !shutdown.finish(GRACE).await {
        tracing::warn!(grace = ?GRACE, "some connections did not end in time and are cut");
    }
    tokio::time::timeout(LAST_FLUSH, running.storage.flush())
        .await
        .map_err(|_| "the store did not finish writing in time".to_owned())?
        .map_err(|error| Chain(&error).to_string())
}

struct Service {
    config: Config,
    readiness: Readiness,
    registry: admin::Metrics,
    active: Active,
    shutdown: Shutdown,
}

/// What must live as long as the service.
struct Running {
    storage: Arc<dyn Storage>,
    _lock: FolderLock,
}

impl Service {
    /// Becomes the active manager of the data folder and starts to serve.
    async fn start(&self) -> Result<Running, String> {
        let lock = self.take_lock().await?;
        container::warn_about_lost_data(&self.config.data);
        let rebuilds = Rebuilds::default();
        let keyring = self.config.keyring.clone();
        let local = LocalStorage::open_sealed(&self.config.data, keyring, rebuilds.clone())
            .await
            .map_err(|error| Chain(&error).to_string())?;
        let verification = local.clone().keep_verified(self.shutdown.clone());
        self.shutdown.tasks.spawn(verification);
        let storage: Arc<dyn Storage> = Arc::new(local);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let identity = self.provide_identities(&*storage, &clock).await?;
        let ticket_keys = self.ticket_keys(&storage, &clock).await?;
        let challenges = ChallengeBoard::default();
        let preflight = self.preflight(&challenges)?;
        let manager = self
            .manager(&storage, &clock, challenges, Arc::clone(&preflight))
            .await?;
        self.start_events(&manager, &clock)?;
        metrics::register_state(&mut self.registry.lock(), Arc::clone(&manager), rebuilds);
        self.active.set(Arc::clone(&manager));

        let listener = sidecar_grpc::bind("--listen", self.config.listen).await?;
        let routes =
            sidecar_grpc::routes(&self.readiness).map_err(|error| Chain(&error).to_string())?;
        let doctor = self.doctor(&manager, preflight, &clock)?;
        let subscribers = Arc::new(self.config.subscribers.clone());
        let routes = grpc::control_services(
            routes,
            self.active.clone(),
            grpc::Control {
                doctor,
                subscribers,
                ticket_keys,
            },
            &self.shutdown,
        );
        let incoming = TlsIncoming::new(listener, identity);
        spawn_server("the control listener", &self.shutdown, {
            let shutdown = self.shutdown.clone();
            async move { sidecar_grpc::serve_tls(incoming, routes, &shutdown).await }
        });
        let maintenance = manager.maintain(self.shutdown.clone());
        self.shutdown.tasks.spawn(maintenance);
        self.readiness.set_ready("store");
        tracing::info!(listen = %self.config.listen, "ready");
        Ok(Running {
            storage,
            _lock: lock,
        })
    }

    async fn take_lock(&self) -> Result<FolderLock, String> {
        let data = &self.config.data;
        std::fs::create_dir_all(data)
            .map_err(|error| format!("cannot make {} (--data): {error}", data.display()))?;
        let readiness = self.readiness.clone();
        FolderLock::take(data, move || {
            tracing::info!("standby: another cert-manager uses the data folder; waiting for its end");
            readiness.wait_for(
                "store",
                "standby: another cert-manager uses the data folder; this one takes over when it ends",
            );
        })
        .await
        .map_err(|error| {
            format!(
                "{} (--data); the folder must be writable for this user",
                Chain(&error)
            )
        })
    }

    async fn provide_identities(
        &self,
        storage: &dyn Storage,
        clock: &Arc<dyn Clock>,
    ) -> Result<LiveIdentity, String> {
        let folder = self.config.control.clone();
        let authority = ControlAuthority::load(storage, folder, Arc::clone(clock))
            .await
            .map_err(|error| Chain(&error).to_string())?
            .with_subscribers(self.config.subscribers.keys().cloned());
        let authority = Arc::new(authority);
        let own = LiveIdentity::default();
        let identity = authority
            .identity(Role::CertManager)
            .map_err(|error| Chain(&error).to_string())?;
        own.set(identity);
        let written = {
            let authority = Arc::clone(&authority);
            tokio::task::spawn_blocking(move || authority.write_due())
                .await
                .map_err(|error| error.to_string())?
                .map_err(|error| Chain(&error).to_string())?
        };
        if !written.is_empty() {
            let folder = self.config.control.display();
            tracing::info!(folders = ?written, %folder, "wrote control identities");
        }
        let token = self.shutdown.token.clone();
        let renewal = authority.keep_renewed(own.clone());
        self.shutdown.tasks.spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = renewal => {}
            }
        });
        Ok(own)
    }

    async fn ticket_keys(
        &self,
        storage: &Arc<dyn Storage>,
        clock: &Arc<dyn Clock>,
    ) -> Result<TicketKeys, String> {
        let keys = TicketKeys::load(Arc::clone(storage), Arc::clone(clock))
            .await
            .map_err(|error| Chain(&error).to_string())?;
        let token = self.shutdown.token.clone();
        let rotation = keys.clone().keep_rotated();
        self.shutdown.tasks.spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = rotation => {}
            }
        });
        Ok(keys)
    }

    async fn manager(
        &self,
        storage: &Arc<dyn Storage>,
        clock: &Arc<dyn Clock>,
        challenges: ChallengeBoard,
        preflight: Arc<Preflight>,
    ) -> Result<Arc<Manager>, String> {
        let internal = InternalAuthority::load(Arc::clone(storage), Arc::clone(clock))
            .await
            .map_err(|error| Chain(&error).to_string())?;
        let resolver = Resolver::from_system().map_err(|error| error.to_string())?;
        let environment = acme::Environment {
            storage: Arc::clone(storage),
            challenges: challenges.clone(),
            clock: Arc::clone(clock),
            resolver: resolver.clone(),
            extra_roots: self.config.acme_roots.clone(),
            dns_exec: self.config.dns_exec.clone(),
            patience: acme::PATIENCE,
            accounts: acme::AccountLocks::default(),
            zero_ssl: acme::ZeroSsl::default(),
        };
        let metrics = Metrics::default();
        metrics.register(&mut self.registry.lock());
        let on_demand = OnDemand::new(resolver)?;
        on_demand.register(&mut self.registry.lock());
        Manager::load(Parts {
            storage: Arc::clone(storage),
            issuers: Arc::new(Authorities::new(Arc::new(internal), environment, preflight)),
            clock: Arc::clone(clock),
            challenges,
            defaults: self.config.defaults.clone(),
            metrics,
            on_demand: Arc::new(on_demand),
        })
        .await
        .map_err(|error| Chain(&error).to_string())
    }

    fn preflight(&self, challenges: &ChallengeBoard) -> Result<Arc<Preflight>, String> {
        let config = &self.config.preflight;
        let dns = Dns::new(&config.resolvers).map_err(|error| error.to_string())?;
        let challenges = challenges.clone();
        Ok(Arc::new(Preflight::new(
            dns,
            challenges,
            config.ports,
            config.mode,
        )))
    }

    fn doctor(
        &self,
        manager: &Arc<Manager>,
        preflight: Arc<Preflight>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Doctor, String> {
        Ok(Doctor::new(doctor::Parts {
            manager: Arc::clone(manager),
            preflight,
            clock: Arc::clone(clock),
            resolver: Resolver::from_system().map_err(|error| error.to_string())?,
            roots: self.config.acme_roots.clone(),
        }))
    }

    fn start_events(&self, manager: &Arc<Manager>, clock: &Arc<dyn Clock>) -> Result<(), String> {
        let programs = self.config.event_programs.iter().cloned();
        let mut sinks = Sinks {
            programs: programs.map(ExecSink::new).collect(),
            webhooks: Vec::new(),
        };
        for endpoint in &self.config.event_webhooks {
            let resolver = Resolver::from_system().map_err(|error| error.to_string())?;
            let client = acme::http::client(&self.config.acme_roots, resolver)?;
            sinks
                .webhooks
                .push(WebhookSink::new(endpoint.clone(), client));
        }
        events::start(
            Arc::clone(manager),
            Arc::clone(clock),
            sinks,
            &self.shutdown,
        );
        Ok(())
    }
}

/// Serves in a tracked task; a server that fails ends the program.
fn spawn_server(
    what: &'static str,
    shutdown: &Shutdown,
    server: impl Future<Output = Result<(), tonic::transport::Error>> + Send + 'static,
) {
    let token = shutdown.token.clone();
    shutdown.tasks.spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(error = %Chain(&error), "{what} failed");
            token.cancel();
        }
    });
}
