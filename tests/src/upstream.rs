//! The demo app inside the test, as an upstream that can go away and come back.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, bail};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

use crate::demo::{self, Folders};
use crate::wait;

/// The demo app on a port of 127.0.0.1.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    folders: Folders,
    // Everything of the app ends with it, open connections included, as with a process.
    runtime: Option<Runtime>,
}

impl Upstream {
    /// Starts the app with `static` and `media` in `folder`.
    ///
    /// # Errors
    /// When the folders cannot be made.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let folders = Folders {
            static_files: folder.join("static"),
            media: folder.join("media"),
        };
        let mut upstream = Self {
            address: ports::free_address()?,
            folders,
            runtime: None,
        };
        upstream.resume().await?;
        Ok(upstream)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the app with all its connections; from now on new ones are refused.
    ///
    /// # Errors
    /// When connections are still accepted after a while.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        wait::until("the demo app is gone", async || {
            match TcpStream::connect(self.address).await {
                Ok(_) => bail!("it still accepts connections"),
                Err(_) => Ok(()),
            }
        })
        .await
    }

    /// Starts the app again, on the same port.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn resume(&mut self) -> anyhow::Result<()> {
        let app = demo::router(&self.folders)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("starting a runtime")?;
        let address = self.address;
        let bound = runtime.spawn(async move { TcpListener::bind(address).await });
        let listener = bound
            .await
            .context("binding")?
            .with_context(|| format!("listening on {address}"))?;
        runtime.spawn(async move { axum::serve(listener, app).await });
        self.runtime = Some(runtime);
        Ok(())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
