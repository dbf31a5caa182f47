//! Where requests go: an address and how to speak to it.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::tls::{TlsConfig, TlsOptions};

/// One upstream and the way to talk to it; immutable, shared by all workers.
///
/// Equal settings give the same target for as long as one of its holders lives, so that a reload
/// that changes nothing keeps the pooled connections.
pub struct Target {
    id: u64,
    settings: TargetSettings,
    tls: Option<TlsConfig>,
    permits: Option<Arc<Semaphore>>,
}

/// What makes a [`Target`].
#[derive(Clone, Debug, PartialEq)]
pub struct TargetSettings {
    /// The address that is dialled.
    pub address: Address,
    /// TLS, where the upstream wants it.
    pub tls: Option<TlsOptions>,
    /// The protocol versions that may be spoken.
    pub versions: Versions,
    /// How long resolving and connecting may take, over all addresses of a name.
    pub dial_timeout: Duration,
    /// How long the response head may take after the request was sent; `None` waits for ever.
    pub response_header_timeout: Option<Duration>,
    /// How long a body is held back that the client sends only on `100 Continue` (RFC 9110
    /// section 10.1.1), if the upstream does not ask for it; `None` sends it at once, as Caddy
    /// does, since many servers never ask.
    pub expect_continue_timeout: Option<Duration>,
    /// The longest silence in a response body.
    pub read_timeout: Option<Duration>,
    /// The longest time that the upstream may refuse to take more bytes.
    pub write_timeout: Option<Duration>,
    /// How connections are kept for later requests.
    pub keep_alive: KeepAlive,
    /// The address that connections are made from; `None` leaves it to the system.
    pub local_address: Option<IpAddr>,
    /// The name servers that are asked for the name; empty are those of the system.
    pub name_servers: Box<[SocketAddr]>,
    /// At most this many connections, over all workers; requests beyond it wait.
    pub max_connections: Option<usize>,
    /// The largest response head, in bytes.
    pub max_response_header_size: Option<usize>,
}

/// What is dialled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A host name or literal IP address, and a port.
    Host {
        /// The name, or a literal address without brackets.
        host: Box<str>,
        /// The TCP port.
        port: u16,
    },
    /// A Unix domain stream socket; a leading `@` names one without a file.
    Unix(PathBuf),
}

/// The HTTP versions that may be spoken with an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Versions {
    /// HTTP/2 where TLS negotiates it, else HTTP/1.1.
    #[default]
    Any,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone, also without TLS (prior knowledge).
    Http2,
}

/// How connections are kept for later requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeepAlive {
    /// Whether connections are kept at all.
    pub is_enabled: bool,
    /// How long a connection may be idle; it is closed within the last quarter of this time.
    pub idle_timeout: Duration,
    /// How many idle connections each worker keeps.
    pub max_idle: usize,
    /// How long a connection may be silent before the kernel asks whether the other end lives.
    pub probe_interval: Duration,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The TLS name of the upstream is neither a DNS name nor an IP address.
    #[error("`{0}` cannot be a TLS server name")]
    ServerName(String),
    /// The TLS library refuses certificates or a key.
    #[error("using the TLS settings of the upstream")]
    Tls(#[from] rustls::Error),
}

/// Live targets by address.
type Registry = Mutex<HashMap<Address, Vec<Weak<Target>>>>;

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::default);
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl Target {
    /// The target of these settings: the one that is in use already, or a new one.
    ///
    /// # Errors
    /// When the TLS settings cannot be used.
    pub fn new(settings: TargetSettings) -> Result<Arc<Self>, TargetError> {
        let mut registry = REGISTRY.lock();
        let same_address = registry.entry(settings.address.clone()).or_default();
        same_address.retain(|target| target.strong_count() > 0);
        if let Some(target) = same_address
            .iter()
            .filter_map(Weak::upgrade)
            .find(|target| target.settings == settings)
        {
            return Ok(target);
        }
        let tls = settings
            .tls
            .as_ref()
            .map(|options| options.build(settings.address.host(), settings.versions))
            .transpose()?;
        let target = Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            tls,
            permits: settings
                .max_connections
                .map(|count| Arc::new(Semaphore::new(count))),
            settings,
        });
        same_address.push(Arc::downgrade(&target));
        Ok(target)
    }

    /// The settings it was made of.
    pub fn settings(&self) -> &TargetSettings {
        &self.settings
    }

    /// The address that is dialled.
    pub fn address(&self) -> &Address {
        &self.settings.address
    }

    /// Whether TLS is spoken.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// What TLS connections to it are made with; for one without TLS, what they are made with by
    /// default.
    ///
    /// # Errors
    /// When the TLS library has no defaults.
    pub fn tls_client_config(&self) -> Result<Arc<rustls::ClientConfig>, TargetError> {
        let config = match &self.tls {
            Some(tls) => Arc::clone(tls.connector.config()),
            None => {
                let default = TlsOptions::default();
                let tls = default.build("localhost", self.settings.versions)?;
                Arc::clone(tls.connector.config())
            }
        };
        Ok(config)
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn tls(&self) -> Option<&TlsConfig> {
        self.tls.as_ref()
    }

    pub(crate) fn permits(&self) -> Option<&Arc<Semaphore>> {
        self.permits.as_ref()
    }

    /// Whether a connection may turn out to carry many requests at once.
    pub(crate) fn may_multiplex(&self) -> bool {
        match self.settings.versions {
            Versions::Any => self.is_tls(),
            Versions::Http1 => false,
            Versions::Http2 => true,
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let mut registry = REGISTRY.lock();
        if let Some(same_address) = registry.get_mut(&self.settings.address) {
            same_address.retain(|target| target.strong_count() > 0);
            if same_address.is_empty() {
                registry.remove(&self.settings.address);
            }
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("id", &self.id)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl TargetSettings {
    /// Caddy's defaults for `address`, without TLS: 3 s to connect, no other timeouts, idle
    /// connections kept for 2 minutes.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            tls: None,
            versions: Versions::default(),
            dial_timeout: Duration::from_secs(3),
            response_header_timeout: None,
            expect_continue_timeout: None,
            read_timeout: None,
            write_timeout: None,
            keep_alive: KeepAlive::default(),
            local_address: None,
            name_servers: Box::default(),
            max_connections: None,
            max_response_header_size: None,
        }
    }
}

impl Default for KeepAlive {
    /// Caddy keeps 32 idle connections. One request in flight holds one connection, so with more
    /// than 32 requests at once that bound closes and opens connections all the time; idle
    /// connections cost little, and 1024 of them last for any load that one core can carry.
    fn default() -> Self {
        Self {
            is_enabled: true,
            idle_timeout: Duration::from_secs(120),
            max_idle: 1024,
            probe_interval: Duration::from_secs(30),
        }
    }
}

impl Address {
    /// The host name or literal address; empty for a Unix socket.
    pub fn host(&self) -> &str {
        match self {
            Self::Host { host, .. } => host,
            Self::Unix(_) => "",
        }
    }

    /// The socket address, when no name has to be resolved.
    pub fn literal(&self) -> Option<SocketAddr> {
        match self {
            Self::Host { host, port } => {
                let address: IpAddr = host.parse().ok()?;
                Some(SocketAddr::new(address, *port))
            }
            Self::Unix(_) => None,
        }
    }

    /// The path, for a Unix socket.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Host { .. } => None,
            Self::Unix(path) => Some(path),
        }
    }
}

/// `host:port`, `[v6]:port` or `unix/path`, as Caddy writes dial addresses.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Host { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix/{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(port: u16) -> TargetSettings {
        TargetSettings::new(Address::Host {
            host: "web.test".into(),
            port,
        })
    }

    #[test]
    fn equal_settings_share_a_target_while_it_lives() {
        let first = Target::new(settings(1)).unwrap();
        let second = Target::new(settings(1)).unwrap();
        assert_eq!(first.id(), second.id());
        let mut other = settings(1);
        other.dial_timeout = Duration::from_secs(9);
        assert_ne!(first.id(), Target::new(other).unwrap().id());
        let id = first.id();
        drop((first, second));
        assert_ne!(id, Target::new(settings(1)).unwrap().id());
    }

    #[test]
    fn addresses_are_written_as_dialled() {
        let host = |host: &str| Address::Host {
            host: host.into(),
            port: 80,
        };
        assert_eq!(host("web").to_string(), "web:80");
        assert_eq!(host("::1").to_string(), "[::1]:80");
        assert_eq!(
            Address::Unix("/run/app.sock".into()).to_string(),
            "unix//run/app.sock"
        );
    }
}
