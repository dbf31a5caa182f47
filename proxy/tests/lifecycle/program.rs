//! Runs the program in a folder of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A folder with a configuration, and the program that may run on it.
pub(crate) struct Proxy {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) cert_manager: String,
    pub(crate) flags: Vec<String>,
    pub(crate) environment: Vec<(&'static str, String)>,
    child: Option<Child>,
}

impl Proxy {
    pub(crate) fn new() -> Self {
        let [http, https, admin] = std::array::from_fn(|_| ports::free_address().unwrap());
        Self {
            folder: tempfile::tempdir().unwrap(),
            http,
            https,
            admin,
            cert_manager: "https://127.0.0.1:1".to_owned(),
            flags: Vec::new(),
            environment: Vec::new(),
            child: None,
        }
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("config.json")
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.folder.path().join("control")
    }

    /// Writes a document with these servers.
    pub(crate) fn write(&self, servers: Value) {
        let document = json!({"apps": {"http": {
            "http_port": self.http.port(),
            "https_port": self.https.port(),
            "grace_period": "3s",
            "servers": servers,
        }}});
        write_atomically(&self.config(), &document.to_string());
    }

    /// A server in plain HTTP that answers with `text`.
    pub(crate) fn plain(&self, text: &str) -> Value {
        json!({"plain": {
            "listen": [self.http.to_string()],
            "routes": [{"handle": [{"handler": "static_response", "body": text}]}],
        }})
    }

    /// A server in TLS that answers with `text` for each of `hosts`.
    pub(crate) fn tls(&self, hosts: &[&str], text: &str) -> Value {
        json!({"secure": {
            "listen": [self.https.to_string()],
            "routes": [{
                "match": [{"host": hosts}],
                "handle": [{"handler": "static_response", "body": text}],
            }],
        }})
    }

    /// Starts serving and waits until the listeners are open.
    pub(crate) fn start(&mut self) {
        self.spawn();
        self.wait_for("the start", |this| {
            this.get_admin("/readyz")
                .is_some_and(|answer| !answer.contains("listeners: "))
        });
    }

    /// Starts serving.
    pub(crate) fn spawn(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        let mut command = self.command(&["serve"]);
        command.args(&self.flags).stderr(log).stdout(Stdio::null());
        self.child = Some(command.spawn().unwrap());
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proxy"));
        let is_setting = |name: &str| {
            ["PORTICO_", "OTEL_"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
        };
        for (name, _) in std::env::vars().filter(|(name, _)| is_setting(name)) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .env("PORTICO_ADMIN", self.admin.to_string())
            .env("PORTICO_CONFIG", self.config())
            .env("PORTICO_DATA", self.folder.path().join("data"))
            .env("PORTICO_CONTROL", self.control())
            .env("PORTICO_CERT_MANAGER", &self.cert_manager)
            .env("PORTICO_STATIC_SERVER", "http://127.0.0.1:1")
            .env("PORTICO_WORKERS", "2")
            .env("PORTICO_LOG_FORMAT", "json")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        Finished::from(self.command(arguments).output().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Ends it by SIGTERM.
    pub(crate) fn stop(&mut self) -> i32 {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> i32 {
        let deadline = Instant::now() + Duration::from_secs(20);
        let child = self.child.as_mut().unwrap();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                self.child = None;
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it without any chance to tidy up.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().unwrap())
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.get_admin("/readyz")
            .is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    pub(crate) fn get_admin(&self, path: &str) -> Option<String> {
        crate::client::exchange(
            self.admin,
            &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
        )
        .ok()
    }

    pub(crate) fn status(&self) -> Value {
        let finished = self.run(&["status", "--json"]);
        assert_eq!(finished.code, 0, "{finished:?}");
        serde_json::from_str(&finished.stdout).unwrap()
    }

    /// Waits until `fact` is true.
    pub(crate) fn wait_for(&mut self, what: &str, fact: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !fact(self) {
            let ended = self
                .child
                .as_mut()
                .and_then(|child| child.try_wait().unwrap());
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "no {what} (ended: {ended:?}):\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for what the log says after an answer: it is written on a thread of its own.
    pub(crate) fn wait_for_log(&mut self, text: &str) {
        self.wait_for(&format!("{text} in the log"), |proxy| {
            proxy.log().contains(text)
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Replaces a file as editors do.
pub(crate) fn write_atomically(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, path).unwrap();
}
