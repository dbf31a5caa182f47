//! A running `cert-manager` with folders and ports of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use cert_manager::fail_point::FailPoint;
use proto::certs::v1::admin_client::AdminClient;
use proto::certs::v1::status_client::StatusClient;
use proto::certs::v1::{GetRequest, NameStatus};
use proto::sidecar::cli::AdminAddress;
use proto::sidecar::dns::Resolver;
use proto::sidecar::grpc::{admin_channel, channel};
use proto::sidecar::identity::{Identity, LiveIdentity, Role};
use tempfile::TempDir;
use tonic::transport::Channel;

/// Longer than anything here takes, even on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Folders and addresses that outlive a run of the program.
#[derive(Debug)]
pub(crate) struct Place {
    folder: TempDir,
    pub(crate) listen: SocketAddr,
    pub(crate) status_listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) flags: Vec<String>,
    pub(crate) variables: Vec<(&'static str, &'static str)>,
    fail_at: Option<FailPoint>,
}

/// A running program; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    admin: AdminAddress,
    log: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with_flags([])
    }

    /// A place whose program gets more flags.
    pub(crate) fn with_flags<const N: usize>(flags: [&str; N]) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            listen: free_address(),
            status_listen: free_address(),
            admin: free_address(),
            flags: flags.map(ToOwned::to_owned).into(),
            variables: Vec::new(),
            fail_at: None,
        }
    }

    /// Has the next start of the program get these flags.
    pub(crate) fn set_flags<const N: usize>(&mut self, flags: [&str; N]) {
        self.flags = flags.map(ToOwned::to_owned).into();
    }

    /// Has the programs that are started from now on abort at `point`, or nowhere.
    pub(crate) fn fail_at(&mut self, point: Option<FailPoint>) {
        self.fail_at = point;
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder of the logs, one for each run.
    pub(crate) fn logs(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.folder.path().join("control")
    }

    /// The root of the internal authority, PEM.
    pub(crate) fn internal_root(&self) -> String {
        let path = self.data().join("caddy/pki/authorities/local/root.crt");
        std::fs::read_to_string(path).unwrap()
    }

    /// Starts the program and waits until it is ready.
    pub(crate) async fn start(&self) -> Server {
        let server = self.spawn(self.listen, self.status_listen, self.admin);
        server.ready().await;
        server
    }

    /// Starts the program.
    pub(crate) fn spawn(
        &self,
        listen: SocketAddr,
        status_listen: SocketAddr,
        admin: SocketAddr,
    ) -> Server {
        self.spawn_by(self.command("serve"), listen, status_listen, admin)
    }

    /// Starts the program by a command that ends with `serve` and takes more flags.
    pub(crate) fn spawn_by(
        &self,
        mut command: Command,
        listen: SocketAddr,
        status_listen: SocketAddr,
        admin: SocketAddr,
    ) -> Server {
        // A pipe that nobody reads would hold the program up.
        let log = (1..)
            .map(|run| log_of(self.folder.path(), run))
            .find(|path| !path.exists())
            .unwrap();
        let fail_at = self.fail_at.map(|point| point.to_string());
        let child = command
            .envs(fail_at.map(|point| ("PORTICO_FAIL_AT", point)))
            .arg("--data")
            .arg(self.data())
            .args(["--listen", &listen.to_string()])
            .args(["--status-listen", &status_listen.to_string()])
            .args(["--admin", &admin.to_string()])
            .args(["--log-format", "console"])
            .args(&self.flags)
            .envs(self.variables.iter().copied())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Server {
            child,
            admin: AdminAddress::Tcp(admin),
            log,
        }
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        let (command, args) = args.split_first().unwrap();
        self.command(command)
            .args(args)
            .env("PORTICO_LISTEN", self.listen.to_string())
            .env("PORTICO_STATUS_LISTEN", self.status_listen.to_string())
            .env("PORTICO_ADMIN", self.admin.to_string())
            .output()
            .unwrap()
    }

    /// A channel to the mutual TLS listener as the holder of `role`.
    pub(crate) fn channel(&self, role: Role) -> Channel {
        self.channel_by(role.as_str())
    }

    /// A channel to the mutual TLS listener with the identity of a folder.
    pub(crate) fn channel_by(&self, folder: &str) -> Channel {
        let identity = LiveIdentity::default();
        identity.set(Identity::load(&self.control().join(folder)).unwrap());
        let resolver = Resolver::from_system().unwrap();
        let url = format!("https://{}", self.listen);
        channel(&url, Role::CertManager, identity, resolver).unwrap()
    }

    pub(crate) fn status(&self) -> StatusClient<Channel> {
        StatusClient::new(admin_channel(&AdminAddress::Tcp(self.status_listen)).unwrap())
    }

    pub(crate) fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel(Role::Operator))
    }

    /// Waits until the status of `name` is as wanted.
    pub(crate) async fn status_of(
        &self,
        name: &str,
        is_wanted: impl Fn(&NameStatus) -> bool,
    ) -> NameStatus {
        let begin = Instant::now();
        let mut client = self.status();
        loop {
            let request = GetRequest {
                name: name.to_owned(),
            };
            let answer = client.get(request).await;
            let status = answer.ok().and_then(|answer| answer.into_inner().status);
            match status {
                Some(status) if is_wanted(&status) => return status,
                other => assert!(begin.elapsed() < DEADLINE, "{name} is {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A new folder of this place, for a test's own use.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, command: &str) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_cert-manager"));
        program.arg(command).arg("--control").arg(self.control());
        program
    }
}

impl Server {
    /// Waits until the program is ready.
    pub(crate) async fn ready(&self) {
        let begin = Instant::now();
        while let Err(reason) = self.health().await {
            assert!(begin.elapsed() < DEADLINE, "not ready: {reason}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the program says of its readiness.
    pub(crate) async fn health(&self) -> Result<(), String> {
        proto::sidecar::admin::health(&self.admin).await
    }

    /// Ends the program as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until the program has ended by itself; returns its log.
    pub(crate) async fn aborted(mut self) -> String {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begin.elapsed() < DEADLINE, "the program goes on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(status.code(), None, "the program did not abort");
        self.log()
    }

    /// Ends the program by SIGTERM; returns what it logged, how long it took, and its exit code.
    pub(crate) fn terminate(mut self) -> (String, Duration, Option<i32>) {
        let begin = Instant::now();
        let id = self.child.id().to_string();
        Command::new("kill").arg(id).status().unwrap();
        let status = self.child.wait().unwrap();
        (self.log(), begin.elapsed(), status.code())
    }

    /// Lets it write files of any size from now on.
    pub(crate) fn lift_file_size_limit(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let limit = rustix::process::Rlimit {
            current: None,
            maximum: None,
        };
        rustix::process::prlimit(Some(pid), rustix::process::Resource::Fsize, limit).unwrap();
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits for its end by itself; returns what it logged and its exit code.
    pub(crate) fn ended(mut self) -> (String, Option<i32>) {
        let status = self.child.wait().unwrap();
        (self.log(), status.code())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_of(folder: &Path, run: u32) -> PathBuf {
    folder.join(format!("{run}.log"))
}

/// What the last of the runs that log to `folder` has said.
pub(crate) fn last_log(folder: &Path) -> String {
    let runs = (1..).map(|run| log_of(folder, run));
    let last = runs.take_while(|log| log.exists()).last();
    last.map_or_else(String::new, |log| std::fs::read_to_string(log).unwrap())
}

/// A loopback address that nobody listens on.
pub(crate) fn free_address() -> SocketAddr {
    ports::free_address().unwrap()
}
