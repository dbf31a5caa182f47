//! Pebble, Let's Encrypt's test authority, as Debian packages it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::process::Program;
use crate::{client, tls, wait};

/// A running Pebble. It validates over HTTP-01 and TLS-ALPN-01 at 127.0.0.1, whatever the name, and refuses some
/// nonces at random, as it does by default.
#[derive(Debug)]
pub struct Pebble {
    /// The ACME directory.
    pub directory: String,
    /// PEM certificate that the directory's own HTTPS is checked against.
    pub directory_root: PathBuf,
    management: String,
    folder: PathBuf,
    program: Program,
    _dns: Program,
}

/// How Pebble validates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// As soon as it is asked to.
    AtOnce,
    /// After a random time of some seconds, as it does by default.
    Delayed,
}

impl Pebble {
    /// Starts Pebble and its DNS server; `http_port` is where it validates over HTTP-01, and nothing
    /// listens where it validates over TLS-ALPN-01.
    ///
    /// # Errors
    /// When Pebble is not installed or does not come up.
    pub async fn start(
        folder: &Path,
        http_port: u16,
        validation: Validation,
    ) -> anyhow::Result<Self> {
        Self::start_at(folder, [http_port, ports::free()?], validation).await
    }

    /// As [`Self::start`], with the ports where it validates over HTTP-01 and TLS-ALPN-01.
    ///
    /// # Errors
    /// When Pebble is not installed or does not come up.
    pub async fn start_at(
        folder: &Path,
        [http_port, tls_port]: [u16; 2],
        validation: Validation,
    ) -> anyhow::Result<Self> {
        let (listen, management, dns) = (ports::free()?, ports::free()?, ports::free()?);
        let directory_root = write_server_certificate(folder)?;
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{listen}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": folder.join("pebble.pem"),
            "privateKey": folder.join("pebble.key"),
            "httpPort": http_port,
            "tlsPort": tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        }});
        let config_file = folder.join("pebble.json");
        std::fs::write(&config_file, config.to_string()).context("writing Pebble's settings")?;

        let dns_management = ports::free()?;
        let mut command = Command::new("pebble-challtestsrv");
        command.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]);
        command.args(["-dns01", &format!("127.0.0.1:{dns}")]);
        command.args(["-http01", "", "-https01", "", "-tlsalpn01", ""]);
        command.args(["-management", &format!("127.0.0.1:{dns_management}")]);
        let dns_server = Program::start("pebble-dns", command, folder)?;
        wait::until("Pebble's DNS server is up", async || {
            let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, dns_management)).await;
            connected
                .map(drop)
                .context("connecting to its management port")
        })
        .await?;

        let mut command = Command::new("pebble");
        command.arg("-config").arg(&config_file);
        command.args(["-dnsserver", &format!("127.0.0.1:{dns}")]);
        if validation == Validation::AtOnce {
            command.env("PEBBLE_VA_NOSLEEP", "1");
        }
        let program = Program::start("pebble", command, folder)?;

        let pebble = Self {
            directory: format!("https://127.0.0.1:{listen}/dir"),
            directory_root,
            management: format!("https://127.0.0.1:{management}"),
            folder: folder.to_owned(),
            program,
            _dns: dns_server,
        };
        wait::until("Pebble answers", async || {
            pebble.get(&pebble.directory).await
        })
        .await?;
        Ok(pebble)
    }

    /// A PEM file with the root that the issued certificates lead to.
    ///
    /// # Errors
    /// When Pebble does not tell.
    pub async fn issuing_root(&self) -> anyhow::Result<PathBuf> {
        let pem = self.get(&format!("{}/roots/0", self.management)).await?;
        let path = self.folder.join("pebble-root.pem");
        std::fs::write(&path, pem).context("writing Pebble's root")?;
        Ok(path)
    }

    /// How many orders were placed so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn orders(&self) -> anyhow::Result<usize> {
        self.count("Added order ")
    }

    /// How many accounts were made so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn accounts(&self) -> anyhow::Result<usize> {
        self.count("accounts in memory")
    }

    fn count(&self, words: &str) -> anyhow::Result<usize> {
        Ok(self
            .program
            .log()?
            .lines()
            .filter(|line| line.contains(words))
            .count())
    }

    async fn get(&self, url: &str) -> anyhow::Result<String> {
        let client = client::new(&tls::roots(&[&self.directory_root])?)?;
        let response = client
            .get(url)
            .send()
            .await
            .with_context(|| format!("asking {url}"))?;
        let response = response.error_for_status().context("asking Pebble")?;
        response.text().await.context("reading Pebble's answer")
    }
}

/// A self-signed certificate for Pebble's own HTTPS.
fn write_server_certificate(folder: &Path) -> anyhow::Result<PathBuf> {
    let key = KeyPair::generate().context("making Pebble's key")?;
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)
        .and_then(|params| params.self_signed(&key))
        .context("making Pebble's certificate")?;
    let path = folder.join("pebble.pem");
    std::fs::write(&path, certificate.pem()).context("writing Pebble's certificate")?;
    std::fs::write(folder.join("pebble.key"), key.serialize_pem())
        .context("writing Pebble's key")?;
    Ok(path)
}
