//! The Compose files, with a Docker engine: scaled, and losing parts. Needs the images that
//! compose/build-images.sh makes.

mod authority;
mod scaled;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use rustls::RootCertStore;
use tempfile::TempDir;
use tests::compose::Project;
use tests::{tls, wait};

const DEMO: [&str; 2] = ["compose.yaml", "demo.yaml"];

/// A project and where it is published on 127.0.0.1.
struct Demo {
    project: Project,
    domain: String,
    http: u16,
    https: u16,
    status: u16,
    authority: u16,
    /// Where `fetch.yaml` has its folders.
    fetched: TempDir,
}

impl Demo {
    fn new(files: &[&str], domain: &str) -> anyhow::Result<Self> {
        let (http, https) = (ports::free()?, ports::free()?);
        let (status, authority) = (ports::free()?, ports::free()?);
        let fetched = tempfile::tempdir()?;
        for folder in ["identity", "certs"] {
            // For the containers' user, who is somebody else here.
            let folder = fetched.path().join(folder);
            fs::create_dir(&folder)?;
            fs::set_permissions(folder, Permissions::from_mode(0o777))?;
        }
        let environment = [
            ("DOMAIN", domain.to_owned()),
            ("FETCH_NAME", domain.to_owned()),
            ("FETCH_FOLDER", fetched.path().display().to_string()),
            ("PORTICO_HTTP_PORT", format!("127.0.0.1:{http}")),
            ("PORTICO_HTTPS_PORT", format!("127.0.0.1:{https}")),
            ("PORTICO_STATUS_PORT", status.to_string()),
            ("PORTICO_PEBBLE_PORT", authority.to_string()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        Ok(Self {
            project: Project::new(files, environment.to_vec())?,
            domain: domain.to_owned(),
            http,
            https,
            status,
            authority,
            fetched,
        })
    }

    fn up(&self) -> anyhow::Result<()> {
        let args = [
            "up",
            "-d",
            "--no-build",
            "--scale",
            "proxy=2",
            "--scale",
            "static-server=3",
        ];
        self.project.run(&args).map(drop)
    }

    fn https(&self, path: &str) -> String {
        format!("https://{}:{}{path}", self.domain, self.https)
    }

    /// The serial number of the certificate that is served, which must lead to `roots`.
    async fn served_serial(&self, roots: &RootCertStore) -> anyhow::Result<String> {
        let config = tls::config(roots, &["http/1.1"])?;
        tls::serial(&tls::connect(self.https, &self.domain, config).await?)
    }

    /// Waits for the root of the internal authority and copies it out.
    async fn internal_root(&self) -> anyhow::Result<RootCertStore> {
        let copied = wait::until("the internal authority has a root", async || {
            self.project
                .copy("cert-manager", "/data/caddy/pki/authorities/local/root.crt")
        })
        .await?;
        tls::roots(&[Path::new(&copied)])
    }

    /// Waits until `count` containers of a service are healthy.
    async fn healthy(&self, service: &str, count: usize) -> anyhow::Result<()> {
        wait::until(&format!("{count} {service} are healthy"), async || {
            let containers = self.project.containers(service)?;
            ensure!(containers.len() == count, "there are {}", containers.len());
            for container in containers {
                let format = "{{.State.Health.Status}} {{json .State.Health.Log}}";
                let health = self
                    .project
                    .docker(&["inspect", "-f", format, &container])?;
                if !health.starts_with("healthy") {
                    bail!("{health}");
                }
            }
            Ok(())
        })
        .await
        .with_context(|| format!("the health of {service}"))
    }
}
