//! Pebble, Let's Encrypt's authority for tests, and its DNS server, as Debian packages them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::context::{DEADLINE, free_address};

/// Key id and MAC key, base64url, of the account that others are bound to.
pub(crate) const EXTERNAL_ACCOUNT: (&str, &str) = (
    "kid-1",
    "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
);

/// A running Pebble; killed when dropped.
#[derive(Debug)]
pub(crate) struct Pebble {
    folder: TempDir,
    directory: SocketAddr,
    /// Where it looks for answers to HTTP-01.
    pub(crate) http: SocketAddr,
    /// Where it asks for records.
    pub(crate) dns: SocketAddr,
    /// Where that is told its records, if it is Pebble's own.
    pub(crate) dns_management: SocketAddr,
    children: Vec<Child>,
}

impl Pebble {
    /// Starts Pebble, or says why not and returns `None`.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(None, false).await
    }

    /// As [`Pebble::start`], asking the name server at `dns`.
    pub(crate) async fn start_with_dns(dns: SocketAddr) -> Option<Self> {
        Self::start_with(Some(dns), false).await
    }

    /// As [`Pebble::start`], with accounts that must be bound to [`EXTERNAL_ACCOUNT`].
    pub(crate) async fn start_binding() -> Option<Self> {
        Self::start_with(None, true).await
    }

    async fn start_with(dns: Option<SocketAddr>, is_binding: bool) -> Option<Self> {
        for program in ["pebble", "pebble-challtestsrv"] {
            let found = Command::new(program)
                .arg("-help")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if found.is_err() {
                println!("SKIPPED: {program} is not installed (apt-get install pebble)");
                return None;
            }
        }
        let mut pebble = Self {
            folder: tempfile::tempdir().unwrap(),
            directory: free_address(),
            http: free_address(),
            dns: dns.unwrap_or_else(free_address),
            dns_management: free_address(),
            children: Vec::new(),
        };
        pebble.write_certificate();
        pebble.write_config(is_binding);
        if dns.is_none() {
            let dns = Command::new("pebble-challtestsrv")
                .args(["-dns01", &pebble.dns.to_string()])
                .args(["-http01", "", "-https01", "", "-tlsalpn01", ""])
                .args(["-management", &pebble.dns_management.to_string()])
                .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            pebble.children.push(dns);
        }
        pebble.run().await;
        Some(pebble)
    }

    pub(crate) fn directory_url(&self) -> String {
        format!("https://{}/dir", self.directory)
    }

    /// The root of the directory's own certificate.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// Ends Pebble and starts it anew: it has forgotten every account and order, and its root.
    pub(crate) async fn restart(&mut self) {
        let mut pebble = self.children.pop().unwrap();
        pebble.kill().unwrap();
        pebble.wait().unwrap();
        self.run().await;
    }

    /// Ends Pebble.
    pub(crate) fn stop(&mut self) {
        let mut pebble = self.children.pop().unwrap();
        pebble.kill().unwrap();
        pebble.wait().unwrap();
    }

    /// Starts Pebble with its random nonce rejection on.
    pub(crate) async fn run(&mut self) {
        let child = Command::new("pebble")
            .arg("-config")
            .arg(self.folder.path().join("config.json"))
            .args(["-dnsserver", &self.dns.to_string()])
            // Or it waits up to 15 seconds before each validation.
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "15")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.children.push(child);
        let begin = Instant::now();
        while TcpStream::connect(self.directory).await.is_err() {
            assert!(begin.elapsed() < DEADLINE, "pebble does not listen");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn write_certificate(&self) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(self.root(), certificate.pem()).unwrap();
        std::fs::write(self.folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    }

    fn write_config(&self, is_binding: bool) {
        let (key_id, mac_key) = EXTERNAL_ACCOUNT;
        let config = json!({ "pebble": {
            "listenAddress": self.directory.to_string(),
            "managementListenAddress": free_address().to_string(),
            "certificate": self.root(),
            "privateKey": self.folder.path().join("key.pem"),
            "httpPort": self.http.port(),
            "tlsPort": free_address().port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": is_binding,
            "externalAccountMACKeys": if is_binding { json!({ key_id: mac_key }) } else { json!({}) },
        }});
        let path = self.folder.path().join("config.json");
        std::fs::write(path, config.to_string()).unwrap();
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
