//! Owns a network namespace and the published ports, for the proxies that join it.
//!
//! It does nothing but wait for SIGTERM or SIGINT: as long as it runs, the namespace stays, however
//! often the proxies in it are replaced.

use anyhow::Context as _;
use proto::sidecar::logs;
use proto::sidecar::shutdown::Shutdown;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    logs::start(None, "info").map_err(anyhow::Error::msg)?;
    let shutdown = Shutdown::on_signals().context("installing signal handlers")?;
    tracing::info!("holding the network namespace for the proxies");
    shutdown.token.cancelled().await;
    Ok(())
}
