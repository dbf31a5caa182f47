//! The three programs together.

mod control;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_rustls::client::TlsStream;

use crate::process::{self, Program};
use crate::raw::Raw;
use crate::upstream::Upstream;
use crate::{client, tls, wait};

/// The programs of one test, its ports and its folder.
///
/// Fields of programs are public so that a test can signal, kill and restart them.
#[derive(Debug)]
pub struct Stack {
    /// The cert-manager, while it runs.
    pub cert_manager: Option<Program>,
    /// The static-server, while it runs.
    pub static_server: Option<Program>,
    /// The proxy, while it runs.
    pub proxy: Option<Program>,
    /// The ports in use.
    pub ports: Ports,
    /// More environment for the programs, for `{$NAME}` in the Caddyfile and for flags.
    pub environment: Vec<(String, String)>,
    options: String,
    folder: TempDir,
}

/// Where everything listens, on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// The proxy's `http_port`.
    pub http: u16,
    /// The proxy's `https_port`.
    pub https: u16,
    /// cert-manager's `--listen`.
    pub manager: u16,
    /// cert-manager's `--status-listen`.
    pub status: u16,
    /// static-server's `--listen`.
    pub files: u16,
    /// static-server's `--events-listen`.
    pub events: u16,
    /// `--admin` of cert-manager, static-server and proxy.
    pub admin: [u16; 3],
}

impl Stack {
    /// A folder and ports; nothing runs yet.
    ///
    /// # Errors
    /// When there is no folder or no port to be had.
    pub fn new() -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("portico-test-").context("making a folder")?;
        for name in [
            "control",
            "cert-data",
            "handoff",
            "proxy-data",
            "static",
            "media",
        ] {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        }
        let ports = Ports {
            http: ports::free()?,
            https: ports::free()?,
            manager: ports::free()?,
            status: ports::free()?,
            files: ports::free()?,
            events: ports::free()?,
            admin: [ports::free()?, ports::free()?, ports::free()?],
        };
        Ok(Self {
            cert_manager: None,
            static_server: None,
            proxy: None,
            ports,
            environment: Vec::new(),
            options: String::new(),
            folder,
        })
    }

    /// All three programs, ready, with `sites` as Caddyfile (without global options).
    ///
    /// # Errors
    /// When one does not come up.
    pub async fn start(sites: &str) -> anyhow::Result<Self> {
        let mut stack = Self::new()?;
        stack.write_caddyfile(sites)?;
        stack.start_all().await?;
        Ok(stack)
    }

    /// As [`Self::start`], with the demo app behind `localhost` as in the example Caddyfile.
    ///
    /// # Errors
    /// When something does not come up.
    pub async fn start_demo() -> anyhow::Result<(Self, Upstream)> {
        let mut stack = Self::new()?;
        let upstream = Upstream::start(stack.folder()).await?;
        stack.write_caddyfile(&demo_site("localhost", &upstream))?;
        stack.start_all().await?;
        Ok((stack, upstream))
    }

    /// Starts all three programs and waits until each is ready.
    ///
    /// # Errors
    /// When one does not come up.
    pub async fn start_all(&mut self) -> anyhow::Result<()> {
        self.start_cert_manager(&[])?;
        self.start_static_server()?;
        self.start_proxy(&[])?;
        self.ready("cert-manager").await?;
        self.ready("static-server").await?;
        self.ready("proxy").await
    }

    /// Starts cert-manager; it may not be ready yet.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn start_cert_manager(&mut self, args: &[&str]) -> anyhow::Result<()> {
        let mut command = self.command("cert-manager")?;
        command.args(args);
        self.cert_manager = Some(Program::start("cert-manager", command, self.folder())?);
        Ok(())
    }

    /// Starts static-server; it may not be ready yet.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn start_static_server(&mut self) -> anyhow::Result<()> {
        let mut command = self.command("static-server")?;
        for name in ["static", "media"] {
            let volume = format!("/srv/{name}={}", self.path(name).display());
            command.args(["--volume", &volume]);
        }
        self.static_server = Some(Program::start("static-server", command, self.folder())?);
        Ok(())
    }

    /// Starts the proxy; it may not be ready yet.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn start_proxy(&mut self, args: &[&str]) -> anyhow::Result<()> {
        let mut command = self.command("proxy")?;
        command.args(args);
        self.proxy = Some(Program::start("proxy", command, self.folder())?);
        Ok(())
    }

    /// Writes the Caddyfile: global options with this stack's ports, then `sites`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_caddyfile(&self, sites: &str) -> anyhow::Result<()> {
        let text = format!(
            "{{\n\thttp_port {}\n\thttps_port {}\n{}}}\n{sites}\n",
            self.ports.http, self.ports.https, self.options
        );
        std::fs::write(self.caddyfile(), text).context("writing the Caddyfile")
    }

    /// Adds lines to the global options that [`Self::write_caddyfile`] writes.
    pub fn add_options(&mut self, lines: &str) {
        self.options.push_str(lines);
        self.options.push('\n');
    }

    /// Waits until a program says that it is ready.
    ///
    /// # Errors
    /// When it does not, with what it waits for.
    pub async fn ready(&self, program: &str) -> anyhow::Result<()> {
        let url = format!("http://127.0.0.1:{}/readyz", self.admin_port(program)?);
        let client = client::plain()?;
        wait::until(&format!("{program} is ready"), async || {
            let response = client.get(&url).send().await.context("asking")?;
            let (status, text) = (response.status(), response.text().await.context("reading")?);
            if status != reqwest::StatusCode::OK {
                bail!("{status}: {text}");
            }
            Ok(())
        })
        .await
    }

    /// Waits until HTTPS works for `name`.
    ///
    /// # Errors
    /// When it does not.
    pub async fn certified(&self, name: &str) -> anyhow::Result<()> {
        wait::until(&format!("{name} has a certificate"), async || {
            self.served_serial(name).await.map(drop)
        })
        .await
    }

    /// The serial number of the certificate that the proxy serves for `name`, whoever signed it.
    ///
    /// # Errors
    /// When none is served, or it does not lead to the internal authority.
    pub async fn served_serial(&self, name: &str) -> anyhow::Result<String> {
        let config = tls::config(&self.roots()?, &["http/1.1"])?;
        tls::serial(&tls::connect(self.ports.https, name, config).await?)
    }

    /// An HTTP/1.1 connection over TLS to `localhost`.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn connect(&self) -> anyhow::Result<TlsStream<TcpStream>> {
        let config = tls::config(&self.roots()?, &["http/1.1"])?;
        tls::connect(self.ports.https, "localhost", config).await
    }

    /// The same, for requests written by hand.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn raw(&self) -> anyhow::Result<Raw<TlsStream<TcpStream>>> {
        Ok(Raw::new(self.connect().await?))
    }

    /// The internal authority's root.
    ///
    /// # Errors
    /// When there is none yet.
    pub fn roots(&self) -> anyhow::Result<rustls::RootCertStore> {
        tls::roots(&[&self.root_certificate()])
    }

    /// A client that trusts the internal authority.
    ///
    /// # Errors
    /// When there is no root yet.
    pub fn client(&self) -> anyhow::Result<reqwest::Client> {
        client::new(&self.roots()?)
    }

    /// The URL of `path` on `host` over HTTPS.
    pub fn https(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.ports.https)
    }

    /// The URL of `path` on `host` over plain HTTP.
    pub fn http(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.ports.http)
    }

    /// The folder of this test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the folder of this test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The Caddyfile's path.
    pub fn caddyfile(&self) -> PathBuf {
        self.path("Caddyfile")
    }

    /// Where cert-manager puts the internal authority's root.
    pub fn root_certificate(&self) -> PathBuf {
        self.path("cert-data/caddy/pki/authorities/local/root.crt")
    }

    /// The proxy, which must have been started.
    ///
    /// # Errors
    /// When it was not.
    pub fn running_proxy(&mut self) -> anyhow::Result<&mut Program> {
        self.proxy.as_mut().context("the proxy was not started")
    }

    /// The metrics of a program, as text.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self, program: &str) -> anyhow::Result<String> {
        let url = format!("http://127.0.0.1:{}/metrics", self.admin_port(program)?);
        let response = client::plain()?.get(&url).send().await.context("asking")?;
        response.text().await.context("reading")
    }

    fn admin_port(&self, program: &str) -> anyhow::Result<u16> {
        ["cert-manager", "static-server", "proxy"]
            .iter()
            .position(|name| *name == program)
            .map(|index| self.ports.admin[index])
            .with_context(|| format!("no program is called {program}"))
    }

    /// `PROGRAM serve` with everything it needs, by environment.
    fn command(&self, program: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(process::binary(program)?);
        command
            .arg("serve")
            .env_clear()
            .envs(self.program_environment(program)?);
        Ok(command)
    }
}

/// The example Caddyfile's site with the demo app as upstream; its folders in place of `/srv`.
pub fn demo_site(host: &str, upstream: &Upstream) -> String {
    format!(
        "{host} {{
	handle_path /static/* {{
		root * /srv/static
		file_server
	}}
	handle_path /media/* {{
		root * /srv/media
		file_server
	}}
	reverse_proxy {}
}}",
        upstream.address()
    )
}
