//! The demo app as a program: `web` of the Compose demo.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use proto::sidecar::logs;
use proto::sidecar::shutdown::Shutdown;
use tests::demo::{self, Folders};
use tokio::net::TcpListener;

/// A small app to put behind Portico: a page, uploads, WebSockets, server-sent events
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Where to listen
    #[arg(
        long,
        env = "LISTEN",
        default_value = "0.0.0.0:8000",
        value_name = "ADDR"
    )]
    listen: SocketAddr,
    /// Where the static files are collected; the edge serves them as /static
    #[arg(
        long,
        env = "STATIC_DIR",
        default_value = "/srv/static",
        value_name = "DIR"
    )]
    static_dir: PathBuf,
    /// Where uploads are kept; the edge serves them as /media
    #[arg(
        long,
        env = "MEDIA_DIR",
        default_value = "/srv/media",
        value_name = "DIR"
    )]
    media_dir: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    logs::start(None, "info").map_err(anyhow::Error::msg)?;
    let app = demo::router(&Folders {
        static_files: args.static_dir,
        media: args.media_dir,
    })?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("listening on {}", args.listen))?;
    let address = listener.local_addr().context("reading the address")?;
    tracing::info!(%address, "serving the demo app");
    let shutdown = Shutdown::on_signals().context("installing signal handlers")?;
    axum::serve(listener, app)
        .with_graceful_shutdown(shutdown.token.cancelled_owned())
        .await
        .context("serving")
}
