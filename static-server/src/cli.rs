//! The command line (DESIGN.md section 8).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use proto::sidecar::admin;
use proto::sidecar::cli::{AdminAddress, CommonArgs, Exit};
use proto::sidecar::identity::LiveIdentity;
use proto::sidecar::logs;
use proto::sidecar::readiness::Readiness;
use proto::sidecar::shutdown::Shutdown;

use crate::app::{App, READINESS};
use crate::config::{Config, UntrustedArg, VolumeArg, check_volumes};
use crate::status;

/// Serves files of volumes to the proxy, and tells it which ones change
#[derive(Debug, Parser)]
#[command(name = "static-server", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    addresses: Addresses,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM
    Serve(ServeArgs),
    /// Exit with 0 when a running server is ready
    Health,
    /// Show volumes, files and watchers of a running server
    Status(StatusArgs),
}

/// Addresses at which commands reach a running server.
#[derive(Debug, Args)]
struct Addresses {
    /// Where /metrics, /healthz and /readyz are served, over plain HTTP: HOST:PORT or unix:PATH
    #[arg(
        long,
        env = "PORTICO_ADMIN",
        default_value = "127.0.0.1:9071",
        value_name = "ADDR",
        global = true
    )]
    admin: AdminAddress,
    /// Where changes of files and the status are served, over gRPC with mutual TLS
    #[arg(
        long,
        env = "PORTICO_EVENTS_LISTEN",
        default_value = "0.0.0.0:7101",
        value_name = "ADDR",
        global = true
    )]
    events_listen: SocketAddr,
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Where files are served, over HTTP/1.1 and HTTP/2 without TLS
    #[arg(
        long,
        env = "PORTICO_LISTEN",
        default_value = "0.0.0.0:7100",
        value_name = "ADDR"
    )]
    listen: SocketAddr,
    /// A folder that is served, under the path that `root` names in the Caddyfile; repeat it, or
    /// separate several by commas
    #[arg(
        long,
        env = "PORTICO_VOLUME",
        default_value = "/srv=/srv",
        value_name = "PATH=DIR",
        value_delimiter = ','
    )]
    volume: Vec<VolumeArg>,
    /// A path below which anybody may have uploaded the files, such as /srv/media: what browsers
    /// would run there is saved, not shown; repeat it, or separate several by commas
    #[arg(
        long,
        env = "PORTICO_UNTRUSTED",
        value_name = "PATH",
        value_delimiter = ','
    )]
    untrusted: Vec<UntrustedArg>,
    /// Folder for the socket over which open files go to proxies on this host; shared with them
    #[arg(
        long,
        env = "PORTICO_HANDOFF",
        default_value = "/run/portico/files",
        value_name = "DIR"
    )]
    handoff: PathBuf,
}

#[derive(Debug, Args)]
struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command that the command line gives.
pub fn run() -> ExitCode {
    // A wrong command line ends the program here, with status 2.
    let cli = Cli::parse();
    if let Err(problem) = logs::start(cli.common.log_format, &cli.common.log_level) {
        return report(&problem, Exit::Usage);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(cli.run()),
        Err(error) => report(&format!("cannot start the runtime: {error}"), Exit::Failed),
    }
}

impl Cli {
    async fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Serve(args) => {
                if let Err(problem) = check_volumes(&args.volume) {
                    return report(&problem, Exit::Usage);
                }
                serve(args, self.common, self.addresses).await
            }
            Command::Health => admin::health(&self.addresses.admin).await,
            Command::Status(args) => {
                status::show(
                    &self.common.control,
                    self.addresses.events_listen,
                    args.json,
                )
                .await
            }
        };
        match result {
            Ok(()) => Exit::Done.into(),
            Err(problem) => report(&problem, Exit::Failed),
        }
    }
}

async fn serve(args: ServeArgs, common: CommonArgs, addresses: Addresses) -> Result<(), String> {
    let shutdown =
        Shutdown::on_signals().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let (readiness, metrics) = (Readiness::default(), admin::Metrics::default());
    let config = Config {
        listen: args.listen,
        events_listen: addresses.events_listen,
        handoff: args.handoff,
        volumes: args.volume,
        untrusted: args.untrusted,
    };
    readiness.wait_for(READINESS, "starting");
    let more = axum::Router::new();
    let (ready, counters) = (readiness.clone(), metrics.clone());
    admin::serve(&addresses.admin, ready, counters, more, &shutdown).await?;
    let identity = LiveIdentity::follow(common.control);
    let app = App::start(&config, identity, &metrics, readiness, shutdown).await?;
    app.finish().await;
    Ok(())
}

#[expect(
    clippy::print_stderr,
    reason = "the answer to the person at the command line"
)]
fn report(problem: &str, exit: Exit) -> ExitCode {
    eprintln!("error: {problem}");
    exit.into()
}
