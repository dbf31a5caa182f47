//! BIND, as Debian packages it, with a zone that a key may write to.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use tempfile::TempDir;
use tokio::net::{TcpStream, UdpSocket};

use crate::context::{DEADLINE, free_address};

/// The name of the key.
pub(crate) const KEY_NAME: &str = "update-key";
/// The key, base64.
pub(crate) const KEY: &str = "c2VjcmV0IG9mIHRoZSB0ZXN0cywgMzIgYnl0ZXMgbG8=";

/// A running BIND; killed when dropped.
#[derive(Debug)]
pub(crate) struct Bind {
    pub(crate) address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Bind {
    /// Starts BIND for the zone `school.org`, or says why not and returns `None`.
    pub(crate) async fn start() -> Option<Self> {
        let Some(program) = program() else {
            println!("SKIPPED: named is not installed (apt-get install bind9)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        write_zone(folder.path());
        let config = folder.path().join("named.conf");
        std::fs::write(&config, settings(folder.path(), address)).unwrap();
        let child = Command::new(program)
            .args(["-g", "-n", "1", "-c"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut bind = Self {
            address,
            child,
            _folder: folder,
        };
        bind.ready().await;
        Some(bind)
    }

    /// The values of the TXT records of `name`.
    pub(crate) async fn txt(&self, name: &str) -> Vec<String> {
        let mut name = Name::from_ascii(name).unwrap();
        name.set_fqdn(true);
        let mut question = Message::query();
        question.add_query(Query::query(name, RecordType::TXT));
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.connect(self.address).await.unwrap();
        socket.send(&question.to_vec().unwrap()).await.unwrap();
        let mut buffer = [0; 4096];
        let received = tokio::time::timeout(DEADLINE, socket.recv(&mut buffer)).await;
        let answer = Message::from_vec(&buffer[..received.unwrap().unwrap()]).unwrap();
        let values = answer
            .answers
            .iter()
            .filter_map(|record| match &record.data {
                RData::TXT(txt) => Some(String::from_utf8(txt.txt_data.concat()).unwrap()),
                _ => None,
            });
        values.collect()
    }

    /// Waits until `name` has as many TXT records as wanted.
    pub(crate) async fn has_txt(&self, name: &str, wanted: usize) -> Vec<String> {
        let begin = Instant::now();
        loop {
            let values = self.txt(name).await;
            if values.len() == wanted {
                return values;
            }
            assert!(begin.elapsed() < DEADLINE, "{name} has {values:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn ready(&mut self) {
        let begin = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            let ended = self.child.try_wait().unwrap();
            let log = || std::fs::read_to_string(self._folder.path().join("log"));
            assert!(ended.is_none(), "named ended: {:?}", log());
            assert!(begin.elapsed() < DEADLINE, "named does not listen");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian puts it where users do not look.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join("named"))
        .find(|program| program.exists())
}

/// The challenge's record of `alias.school.org` is elsewhere.
fn write_zone(folder: &Path) {
    let zone = "$TTL 60\n@ SOA localhost. hostmaster.localhost. 1 60 60 60 60\n@ NS localhost.\n\
                _acme-challenge.alias CNAME elsewhere\n";
    std::fs::write(folder.join("zone"), zone).unwrap();
}

fn settings(folder: &Path, address: SocketAddr) -> String {
    let folder = folder.display();
    let (host, port) = (address.ip(), address.port());
    format!(
        "options {{ directory \"{folder}\"; listen-on port {port} {{ {host}; }}; \
         listen-on-v6 {{ none; }}; pid-file none; session-keyfile none; recursion no; \
         dnssec-validation no; }};\n\
         controls {{ }};\n\
         key \"{KEY_NAME}\" {{ algorithm hmac-sha256; secret \"{KEY}\"; }};\n\
         zone \"school.org\" {{ type primary; file \"zone\"; \
         update-policy {{ grant {KEY_NAME} zonesub TXT; }}; }};\n"
    )
}
