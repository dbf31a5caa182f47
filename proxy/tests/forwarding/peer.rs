//! The proxy, and both ends of it.

use std::future::Future;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Runs a test, but not for ever.
pub(crate) fn run<F: Future<Output = ()>>(test: F) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await })
        .expect("the test takes too long");
}

/// A running proxy.
pub(crate) struct Proxy {
    folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    child: Child,
}

impl Proxy {
    /// A proxy whose one site forwards as `handler` says, to upstreams at these addresses.
    pub(crate) async fn start(handler: Value, upstreams: &[SocketAddr]) -> Self {
        let mut handler = handler;
        handler["handler"] = json!("reverse_proxy");
        handler["upstreams"] = upstreams
            .iter()
            .map(|upstream| json!({"dial": upstream.to_string()}))
            .collect();
        Self::start_with(json!([{"handle": [handler]}])).await
    }

    /// A proxy with these routes.
    pub(crate) async fn start_with(routes: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [address, admin] = free_ports();
        let document = json!({"apps": {"http": {
            "http_port": address.port(),
            "servers": {"test": {"listen": [address.to_string()], "routes": routes}},
        }}});
        let config = folder.path().join("config.json");
        std::fs::write(&config, document.to_string()).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_proxy"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PORTICO_")) {
            command.env_remove(name);
        }
        let child = command
            .arg("serve")
            .env("PORTICO_ADMIN", admin.to_string())
            .env("PORTICO_CONFIG", config)
            .env("PORTICO_DATA", folder.path().join("data"))
            .env("PORTICO_CONTROL", folder.path().join("control"))
            .env("PORTICO_CERT_MANAGER", "https://127.0.0.1:1")
            .env("PORTICO_STATIC_SERVER", "http://127.0.0.1:1")
            .env("PORTICO_WORKERS", "1")
            .env("PORTICO_LOG_FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut proxy = Self {
            folder,
            address,
            admin,
            child,
        };
        while TcpStream::connect(address).await.is_err() {
            assert!(proxy.child.try_wait().unwrap().is_none(), "{}", proxy.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        proxy
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Runs a command that asks it something.
    pub(crate) fn run(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proxy"));
        let admin = self.admin.to_string();
        command
            .args(arguments)
            .env("PORTICO_ADMIN", admin)
            .output()
            .unwrap()
    }

    /// Reloads its configuration, and waits until that is done.
    pub(crate) async fn reload(&mut self) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::HUP).unwrap();
        while !self.log().contains("reloaded the configuration") {
            assert!(self.child.try_wait().unwrap().is_none(), "{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn connect(&self) -> Peer {
        Peer::new(TcpStream::connect(self.address).await.unwrap())
    }

    /// A connection on which `request` has been sent.
    pub(crate) async fn send(&self, request: &str) -> Peer {
        let mut client = self.connect().await;
        client.write(request).await;
        client
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An upstream whose connections the test serves by hand.
pub(crate) struct Upstream {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Upstream {
    pub(crate) async fn bind() -> Self {
        Self::bind_to(ports::free_address().unwrap()).await
    }

    pub(crate) async fn bind_to(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    pub(crate) async fn accept(&self) -> Peer {
        Peer::new(self.listener.accept().await.unwrap().0)
    }
}

/// One end of a connection.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Reads up to and with `end`.
    pub(crate) async fn read_to(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = find(&self.read, end.as_bytes()) {
                let rest = self.read.split_off(at + end.len());
                return String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
            }
            let count = self.stream.read_buf(&mut self.read).await.unwrap();
            assert!(
                count > 0,
                "closed after {:?}",
                String::from_utf8_lossy(&self.read)
            );
        }
    }

    /// Reads so many bytes.
    pub(crate) async fn bytes(&mut self, count: usize) -> String {
        while self.read.len() < count {
            let read = self.stream.read_buf(&mut self.read).await.unwrap();
            assert!(
                read > 0,
                "closed after {:?}",
                String::from_utf8_lossy(&self.read)
            );
        }
        let rest = self.read.split_off(count);
        String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap()
    }

    /// Reads the head of a message.
    pub(crate) async fn head(&mut self) -> String {
        self.read_to("\r\n\r\n").await
    }

    /// Reads the head of a message, unless the other side closes first.
    pub(crate) async fn try_head(&mut self) -> Option<String> {
        while find(&self.read, b"\r\n\r\n").is_none() {
            match self.stream.read_buf(&mut self.read).await {
                Ok(count) if count > 0 => {}
                _ => return None,
            }
        }
        Some(self.head().await)
    }

    /// Reads until the other side closes.
    pub(crate) async fn rest(&mut self) -> String {
        // A reset is as good an end.
        while matches!(self.stream.read_buf(&mut self.read).await, Ok(count) if count > 0) {}
        String::from_utf8(std::mem::take(&mut self.read)).unwrap()
    }

    /// What was read beyond what was asked for.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.read
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// The lines of a head behind the first, sorted.
pub(crate) fn fields(head: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = head.trim_end().lines().skip(1).collect();
    lines.sort_unstable();
    lines
}

/// Addresses that nobody listens on now.
pub(crate) fn free_ports<const N: usize>() -> [SocketAddr; N] {
    std::array::from_fn(|_| ports::free_address().unwrap())
}

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A request for `/` without a body.
pub(crate) const GET: &str = "GET / HTTP/1.1\r\nhost: app.test\r\n\r\n";
