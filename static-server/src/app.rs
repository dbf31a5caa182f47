//! A running server: listeners, volumes and their watches.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use proto::files::v1::events_server::EventsServer;
use proto::sidecar::admin;
use proto::sidecar::grpc::{self, TlsIncoming};
use proto::sidecar::identity::LiveIdentity;
use proto::sidecar::readiness::Readiness;
use proto::sidecar::shutdown::Shutdown;
use tokio::net::TcpListener;

use crate::config::Config;
use crate::events::grpc::EventsService;
use crate::events::watch;
use crate::handoff::{self, Socket};
use crate::metrics::Metrics;
use crate::serve::service::FileService;
use crate::server;
use crate::volume::{Support, Volumes};

/// How long requests may go on after a signal.
const GRACE: Duration = Duration::from_secs(10);

/// The part of the readiness that [`App::start`] reports.
pub const READINESS: &str = "server";

/// A server that runs.
#[derive(Debug)]
pub struct App {
    /// Where files are served.
    pub address: SocketAddr,
    /// Where changes are told.
    pub events_address: SocketAddr,
    readiness: Readiness,
    shutdown: Shutdown,
}

impl App {
    /// Opens the volumes, binds both addresses, and serves. `readiness` hears of it as
    /// [`READINESS`]; a volume that is missing does not count, since the others serve.
    ///
    /// # Errors
    /// In words for an operator: when the kernel cannot confine requests, an address cannot be
    /// bound, or a part cannot be started.
    pub async fn start(
        config: &Config,
        identity: LiveIdentity,
        metrics: &admin::Metrics,
        readiness: Readiness,
        shutdown: Shutdown,
    ) -> Result<Self, String> {
        let support = Support::detect()?;
        let listener = grpc::bind("--listen", config.listen).await?;
        let events_listener = grpc::bind("--events-listen", config.events_listen).await?;
        let app = Self {
            address: address_of(&listener)?,
            events_address: address_of(&events_listener)?,
            readiness,
            shutdown,
        };
        let epoch = epoch();
        let volumes = Volumes::open(&config.volumes, epoch).distrusting(&config.untrusted);
        for volume in volumes.iter() {
            watch::start(volume.clone(), app.shutdown.token.clone())
                .map_err(|error| format!("cannot start a thread for {}: {error}", volume.path))?;
        }
        app.start_events(events_listener, volumes.clone(), identity)?;
        let counters = Metrics::register(&mut metrics.lock());
        let service = FileService::new(volumes, support, counters.clone());
        if let Some(socket) = handoff_socket(&config.handoff, epoch) {
            let (service, counters) = (service.clone(), counters.clone());
            let handing = handoff::run(socket, service, counters, app.shutdown.clone());
            app.shutdown.tasks.spawn(handing);
        }
        let accepting = server::run(listener, service, counters, app.shutdown.clone());
        app.shutdown.tasks.spawn(accepting);
        app.readiness.set_ready(READINESS);
        tracing::info!(
            listen = %app.address,
            events_listen = %app.events_address,
            "static-server is ready"
        );
        Ok(app)
    }

    /// Waits for the signal to end, and lets requests finish. Returns whether every one was finished within
    /// the grace period.
    pub async fn finish(self) -> bool {
        self.shutdown.token.cancelled().await;
        self.readiness
            .wait_for("shutdown", "the server is shutting down");
        let is_finished = self.shutdown.finish(GRACE).await;
        if is_finished {
            tracing::info!("every request was finished");
        } else {
            let connections = self.shutdown.tasks.len();
            tracing::warn!(connections, "connections were broken off after {GRACE:?}");
        }
        is_finished
    }

    fn start_events(
        &self,
        listener: TcpListener,
        volumes: Volumes,
        identity: LiveIdentity,
    ) -> Result<(), String> {
        let service = EventsService::new(volumes, self.shutdown.token.clone());
        let routes = grpc::routes(&self.readiness)
            .map_err(|error| format!("cannot build gRPC reflection: {error}"))?
            .add_service(EventsServer::new(service));
        let incoming = TlsIncoming::new(listener, identity);
        let shutdown = self.shutdown.clone();
        self.shutdown.tasks.spawn(async move {
            if let Err(error) = grpc::serve_tls(incoming, routes, &shutdown).await {
                tracing::error!(%error, "the events server failed");
            }
        });
        Ok(())
    }
}

fn address_of(listener: &TcpListener) -> Result<SocketAddr, String> {
    listener
        .local_addr()
        .map_err(|error| format!("the listener has no address: {error}"))
}

/// The socket for proxies on this host, where there is a folder for it.
fn handoff_socket(folder: &Path, epoch: u64) -> Option<Socket> {
    match Socket::bind(folder, &format!("{epoch:016x}")) {
        Ok(socket) => {
            tracing::info!(socket = %socket.path().display(), "handing open files to proxies");
            Some(socket)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            tracing::info!(
                folder = %folder.display(),
                "proxies get files over HTTP: there is no folder for the hand-off (--handoff)"
            );
            None
        }
        Err(error) => {
            tracing::warn!(
                folder = %folder.display(),
                %error,
                "proxies get files over HTTP, which costs more: no socket can be made in the folder \
                 of the hand-off (--handoff); let the user of static-server write there"
            );
            None
        }
    }
}

/// A number that differs between runs.
fn epoch() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::hash::RandomState::new().build_hasher().finish()
}
