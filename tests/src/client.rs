//! An HTTP client for which every name is this machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::RootCertStore;

use crate::tls;

/// How long a client waits for something to arrive. An upload counts as waiting for its answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A client that trusts `roots`, follows no redirect, and takes 127.0.0.1 for every name.
///
/// # Errors
/// When the client cannot be made.
pub fn new(roots: &RootCertStore) -> anyhow::Result<reqwest::Client> {
    builder(roots, &["h2", "http/1.1"])?
        .build()
        .context("making a client")
}

/// As [`new`], over HTTP/1.1 only.
///
/// # Errors
/// When the client cannot be made.
pub fn http1(roots: &RootCertStore) -> anyhow::Result<reqwest::Client> {
    builder(roots, &["http/1.1"])?
        .http1_only()
        .build()
        .context("making a client")
}

/// A client of plain HTTP.
///
/// # Errors
/// When the client cannot be made.
pub fn plain() -> anyhow::Result<reqwest::Client> {
    new(&RootCertStore::empty())
}

fn builder(roots: &RootCertStore, protocols: &[&str]) -> anyhow::Result<reqwest::ClientBuilder> {
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls::config(roots, protocols)?)
        .dns_resolver(Arc::new(Loopback))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .read_timeout(PATIENCE))
}

struct Loopback;

impl Resolve for Loopback {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs =
            Box::new(std::iter::once(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
        Box::pin(async { Ok(addresses) })
    }
}
