//! The life of a running proxy: configuration -> listeners -> serving -> draining.

pub mod listeners;

use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use downstream::{CertificateTable, Server};
use proto::certs::v1::delivery_client::DeliveryClient;
use proto::sidecar::cli::AdminAddress;
use proto::sidecar::dns::Resolver;
use proto::sidecar::error_chain::Chain;
use proto::sidecar::identity::{LiveIdentity, Role};
use proto::sidecar::readiness::Readiness;
use proto::sidecar::shutdown::Shutdown;
use proto::sidecar::{admin, grpc};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use upstream::{Address, Target, TargetSettings};

use crate::access_log;
use crate::certs::{AskCertManager, Certificates};
use crate::cloudflare;
use crate::compile::Config;
use crate::config_file::{ConfigFile, Inputs};
use crate::edge::{Challenges, Edge, Shared, Worker};
use crate::file_cache::events::Subscriber;
use crate::handoff::Replicas;
use crate::log_level::LogLevel;
use crate::metrics::Metrics;
use crate::reload::{Followers, Reloader, watch};
use crate::reverse_proxy::Checker;
use crate::spans::Spans;
use crate::status::EdgeStatus;

/// How long requests may take to finish when the configuration sets no `grace_period`. Caddy waits
/// without end; container engines kill after 10 s unless told otherwise.
const GRACE: Duration = Duration::from_secs(10);

/// How long the end of the program waits for access logs to be written, and for traces to be sent.
const FLUSH: Duration = Duration::from_secs(2);

/// What readiness calls the listeners.
const PART: &str = "listeners";

/// What a proxy is started with, beside its configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the configuration comes from.
    pub config: ConfigFile,
    /// Folder for what is kept over restarts.
    pub data: PathBuf,
    /// Folder of the mutual TLS identity.
    pub control: PathBuf,
    /// Where cert-manager serves gRPC.
    pub cert_manager: String,
    /// Where static-server serves HTTP.
    pub static_server: String,
    /// Folder of the sockets of static-servers on this host.
    pub static_handoff: PathBuf,
    /// Where static-server announces changed files over gRPC.
    pub static_events: String,
    /// Number of workers.
    pub workers: NonZeroUsize,
    /// Whether the configuration is reloaded when its files change.
    pub watch: bool,
    /// Where the administration listener is.
    pub admin: AdminAddress,
    /// What says at which level the program logs.
    pub log_level: LogLevel,
}

/// Why a proxy does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration cannot be put in force.
    #[error("{0}")]
    Config(String),
    /// The system refuses something.
    #[error("{0}")]
    System(String),
}

/// Runs a proxy until SIGTERM or SIGINT, and drains it.
///
/// # Errors
/// When it cannot start.
pub async fn run(options: Options, config: Config, inputs: Inputs) -> Result<(), RunError> {
    let system = |error: io::Error| RunError::System(error.to_string());
    let shutdown = Shutdown::on_signals().map_err(system)?;
    // Before anything is served: whoever sees the proxy answer may send it, and it ends a process
    // that does not expect it.
    let hangup = signal(SignalKind::hangup()).map_err(system)?;
    raise_file_limit();
    let app = App::start(options, config, inputs, hangup, &shutdown).await?;
    shutdown.token.cancelled().await;
    app.finish().await;
    Ok(())
}

struct App {
    server: Arc<Server>,
    shared: Arc<Shared>,
    readiness: Readiness,
    grpc: Shutdown,
}

impl App {
    async fn start(
        options: Options,
        config: Config,
        inputs: Inputs,
        hangup: Signal,
        shutdown: &Shutdown,
    ) -> Result<Self, RunError> {
        let readiness = Readiness::default();
        readiness.wait_for(PART, "starting");
        let resolver =
            Resolver::from_system().map_err(|error| RunError::System(error.to_string()))?;
        let identity = LiveIdentity::follow(options.control);
        let channel = grpc::channel(
            &options.cert_manager,
            Role::CertManager,
            identity.clone(),
            resolver.clone(),
        )
        .map_err(|error| RunError::Config(format!("{} (--cert-manager)", Chain(&error))))?;
        let delivery = DeliveryClient::new(channel);
        let announcements = grpc::channel(
            &options.static_events,
            Role::StaticServer,
            identity.clone(),
            resolver.clone(),
        )
        .map_err(|error| RunError::Config(format!("{} (--static-events)", Chain(&error))))?;

        let table = Arc::<CertificateTable>::default();
        let certificates = Certificates::new(
            Arc::clone(&table),
            &options.data,
            delivery.clone(),
            readiness.clone(),
        )
        .map_err(|error| RunError::System(Chain(&error).to_string()))?;
        let challenges = Challenges::new(Some(Box::new(AskCertManager::new(delivery.clone()))));
        let plan = config.certificates.clone();
        let shared = Arc::new(Shared {
            config: ArcSwap::from_pointee(config),
            challenges,
            certificates: table,
            static_server: static_server(&options.static_server)?,
            workers: options.workers.get(),
            replicas: replicas(options.static_handoff),
            volume_changes: Arc::default(),
            metrics: OnceLock::new(),
            spans: Spans::exporting(Handle::current()),
        });
        // Fetches nothing unless a configuration asks for it; ends with the program.
        tokio::spawn(cloudflare::keep_fresh());
        // Before anything listens, so that the first handshake finds its certificate.
        certificates.set_plan(&plan);

        let checker = Checker::new(resolver.clone());
        let workers = Arc::clone(&shared);
        let server = Server::start(options.workers, move |_| {
            std::rc::Rc::new(Edge::new(Worker::new(
                Arc::clone(&workers),
                resolver.clone(),
            )))
        })
        .map_err(|error| RunError::System(format!("cannot start the workers: {error}")))?;
        let server = Arc::new(server);
        let metrics = Metrics::default();
        let reloader = Arc::new(Reloader::new(
            options.config,
            Arc::clone(&server),
            Arc::clone(&shared),
            certificates.clone(),
            Followers {
                metrics: metrics.clone(),
                checker,
                log_level: options.log_level,
            },
            inputs,
        ));
        // The administration listener answers until the drain is over.
        let grpc = Shutdown::default();
        let status = EdgeStatus::service(
            &server,
            Arc::clone(&shared),
            certificates.clone(),
            Arc::clone(&reloader),
        );
        let routes = grpc::routes(&readiness)
            .map_err(|error| RunError::System(Chain(&error).to_string()))?
            .add_service(status);
        let registry = metrics.registry(&server, &shared, &certificates);
        // Set once, since this runs once.
        let _ = shared.metrics.set(Arc::downgrade(&registry));
        let router = routes.into_axum_router();
        admin::serve(&options.admin, readiness.clone(), registry, router, &grpc)
            .await
            .map_err(RunError::System)?;
        reloader
            .start()
            .await
            .map_err(|report| RunError::Config(report.plain))?;
        for (address, _) in server.local_addresses() {
            tracing::info!(%address, "listening");
        }
        certificates.start(identity, Arc::clone(&shared), shutdown);
        let subscriber = Subscriber::new(announcements, Arc::clone(&shared.volume_changes));
        tokio::spawn(subscriber.run(shutdown.token.clone()));

        reload_on_signal(hangup, Arc::clone(&reloader), shutdown);
        if options.watch {
            let stopped = shutdown.token.clone();
            tokio::spawn(async move { stopped.run_until_cancelled_owned(watch(reloader)).await });
        }
        readiness.set_ready(PART);
        tracing::info!(workers = options.workers, "serving");
        Ok(Self {
            server,
            shared,
            readiness,
            grpc,
        })
    }

    /// Drains: not ready, then no new connections, then requests get their grace.
    async fn finish(self) {
        self.readiness.wait_for(PART, "shutting down");
        let (delay, grace) = {
            let config = self.shared.config.load();
            (config.shutdown_delay, config.grace_period.unwrap_or(GRACE))
        };
        tokio::time::sleep(delay).await;
        let dropped = self.server.drain(grace).await;
        if dropped > 0 {
            tracing::warn!(
                dropped,
                "connections did not finish within the grace period of {grace:?}"
            );
        }
        // Entries and spans of the last requests may be on their way.
        let shared = Arc::clone(&self.shared);
        let flushed = tokio::task::spawn_blocking(move || {
            access_log::flush(FLUSH);
            shared.spans.finish(FLUSH);
        });
        if flushed.await.is_err() {
            tracing::warn!("the last access log entries and traces may be missing");
        }
        self.grpc.token.cancel();
        tracing::info!("stopped");
    }
}

/// The static-servers on this host, looked for until the program ends.
fn replicas(folder: PathBuf) -> Arc<Replicas> {
    let replicas = Arc::<Replicas>::default();
    // At once, so that the first request finds them; what is wrong is said by who follows.
    let _ = replicas.look(&folder);
    tokio::spawn(Arc::clone(&replicas).follow(folder));
    replicas
}

/// Where files are fetched from.
pub(crate) fn static_server(url: &str) -> Result<Arc<Target>, RunError> {
    let wrong = |reason: &str| {
        RunError::Config(format!(
            "`{url}` (--static-server) is no address such as http://static-server:7100: {reason}"
        ))
    };
    let uri: http::Uri = url.parse().map_err(|_| wrong("it is no URL"))?;
    if uri.scheme() != Some(&http::uri::Scheme::HTTP) {
        return Err(wrong("it must be `http:`"));
    }
    let host = uri.host().ok_or_else(|| wrong("it has no host"))?;
    let address = Address::Host {
        host: host.trim_matches(['[', ']']).into(),
        port: uri.port_u16().unwrap_or(80),
    };
    Target::new(TargetSettings::new(address)).map_err(|error| wrong(&Chain(&error).to_string()))
}

/// SIGHUP reloads.
fn reload_on_signal(mut hangup: Signal, reloader: Arc<Reloader>, shutdown: &Shutdown) {
    let stopped = shutdown.token.clone();
    tokio::spawn(stopped.run_until_cancelled_owned(async move {
        while hangup.recv().await.is_some() {
            reloader.reload("SIGHUP").await;
        }
    }));
}

/// Allows as many open files as the system lets this process have; each connection is one or two.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
