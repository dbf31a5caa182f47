//! Where requests enter: what workers share, what each has of its own, and the steps of a request
//! before and after its routes.

mod client_address;
mod host;
mod serve;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use downstream::CertificateTable;
use parking_lot::{Mutex, RwLock};
use prometheus_client::registry::Registry;
use proto::sidecar::dns::Resolver;
use tokio::sync::Notify;
use upstream::{Client, Target};

pub use self::client_address::ClientAddress;
pub(crate) use self::host::normalize;
#[cfg(test)]
pub(crate) use self::serve::answer;
pub(crate) use self::serve::route;
use crate::body::RequestBody;
use crate::compile::Config;
use crate::compressed_cache::CompressedCache;
use crate::file_cache::FileCache;
use crate::file_cache::changes::VolumeChanges;
use crate::file_cache::flights::Flights;
use crate::handler::file_server::Probes;
use crate::handoff::{Handoff, Replicas};
use crate::spans::Spans;

/// Bytes of small files that each worker may keep.
const FILE_CACHE: u64 = 32 << 20;

/// Bytes of compressed files that each worker may keep, with what they are made from.
const COMPRESSED_CACHE: u64 = 32 << 20;

/// What all workers share; nothing here is locked on the way of an ordinary request.
pub struct Shared {
    /// Number of workers.
    pub workers: usize,
    /// The configuration that new requests begin under.
    pub config: ArcSwap<Config>,
    /// Answers to ACME HTTP-01 challenges.
    pub challenges: Challenges,
    /// The certificates that connections are served with.
    pub certificates: Arc<CertificateTable>,
    /// The static-server that file requests go to.
    pub static_server: Arc<Target>,
    /// Static-servers on this host that hand over open files.
    pub replicas: Arc<Replicas>,
    /// What the static-server says of changed files.
    pub volume_changes: Arc<VolumeChanges>,
    /// The proxy's metrics, once there are any; the registry itself reads what is shared.
    pub metrics: OnceLock<Weak<Mutex<Registry>>>,
    /// Where requests are recorded as spans.
    pub spans: Spans,
}

/// What one worker has of its own.
pub struct Worker {
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// Connections to upstreams and to the static-server.
    pub upstreams: Rc<Client<RequestBody>>,
    /// Resolves the names of upstreams.
    pub resolver: Resolver,
    /// Files that were looked for before.
    pub(crate) probes: RefCell<Probes>,
    /// Small files that were served before.
    pub(crate) files: RefCell<FileCache>,
    /// Those that are on their way there.
    pub(crate) flights: Flights,
    /// Compressed forms of these.
    pub(crate) compressed: RefCell<CompressedCache>,
    /// Files that static-servers on this host hand over.
    pub(crate) handoff: Handoff,
    config: RefCell<KnownConfig>,
    /// Told whenever another configuration takes the place of the one before.
    pub(crate) replaced: Notify,
}

/// A worker's own handle of a configuration.
#[derive(Debug)]
pub struct CurrentConfig(Arc<Config>);

/// What a worker knows of the configuration in force.
struct KnownConfig {
    /// Tells cheaply whether there is another one.
    latest: arc_swap::Cache<ConfigOf, Arc<Config>>,
    handle: Rc<CurrentConfig>,
}

/// Where the configuration in force is to be found.
struct ConfigOf(Arc<Shared>);

/// Answers requests; implements [`downstream::Edge`].
pub struct Edge {
    worker: Rc<Worker>,
}

/// Answers to ACME HTTP-01 challenges (RFC 8555 section 8.3), by token.
#[derive(Default)]
pub struct Challenges {
    answers: RwLock<HashMap<String, String>>,
    source: Option<Box<dyn ChallengeSource>>,
}

/// Asks cert-manager for a challenge that this proxy was not told of.
pub trait ChallengeSource: Send + Sync {
    /// The key authorization for `token` on `host`, if there is one. Ends within a few seconds.
    fn key_authorization(
        &self,
        host: &str,
        token: &str,
    ) -> Pin<Box<dyn Future<Output = Option<String>> + Send>>;
}

impl Shared {
    /// The proxy's metrics in the OpenMetrics text format; empty before it serves.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn render_metrics(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        if let Some(registry) = self.metrics.get().and_then(Weak::upgrade) {
            prometheus_client::encoding::text::encode(&mut text, &registry.lock())?;
        }
        Ok(text)
    }
}

impl Worker {
    /// A worker of `shared`, on the thread that is to run it.
    pub fn new(shared: Arc<Shared>, resolver: Resolver) -> Rc<Self> {
        let config = KnownConfig {
            latest: arc_swap::Cache::new(ConfigOf(Arc::clone(&shared))),
            handle: Rc::new(CurrentConfig(shared.config.load_full())),
        };
        Rc::new(Self {
            upstreams: Client::new(resolver.clone()),
            handoff: Handoff::new(Arc::clone(&shared.replicas), shared.workers),
            probes: RefCell::default(),
            files: RefCell::new(FileCache::new(
                FILE_CACHE,
                Arc::clone(&shared.volume_changes),
            )),
            flights: Flights::default(),
            compressed: RefCell::new(CompressedCache::new(COMPRESSED_CACHE)),
            shared,
            resolver,
            config: RefCell::new(config),
            replaced: Notify::new(),
        })
    }

    /// The current configuration. Requests share this worker's handle of it, so that workers do
    /// not contend for its reference count.
    pub fn config(&self) -> Rc<CurrentConfig> {
        let known = &mut *self.config.borrow_mut();
        let latest = known.latest.load();
        if !Arc::ptr_eq(latest, &known.handle.0) {
            known.handle = Rc::new(CurrentConfig(Arc::clone(latest)));
            self.replaced.notify_waiters();
        }
        Rc::clone(&known.handle)
    }
}

impl Deref for CurrentConfig {
    type Target = Config;

    fn deref(&self) -> &Config {
        &self.0
    }
}

impl Deref for ConfigOf {
    type Target = ArcSwap<Config>;

    fn deref(&self) -> &ArcSwap<Config> {
        &self.0.config
    }
}

impl Edge {
    /// Answers requests as `worker`.
    pub fn new(worker: Rc<Worker>) -> Self {
        Self { worker }
    }
}

impl Challenges {
    /// No answers yet; those that are missing are asked from `source`.
    pub fn new(source: Option<Box<dyn ChallengeSource>>) -> Self {
        Self {
            answers: RwLock::default(),
            source,
        }
    }

    /// Answers `token` with `key_authorization` from now on.
    pub fn insert(&self, token: String, key_authorization: String) {
        self.answers.write().insert(token, key_authorization);
    }

    /// Forgets `token`.
    pub fn remove(&self, token: &str) {
        self.answers.write().remove(token);
    }

    /// Forgets all but the given tokens and takes over their answers.
    pub fn replace(&self, answers: HashMap<String, String>) {
        *self.answers.write() = answers;
    }

    /// The key authorization for `token`, asked for if it is not known.
    pub async fn answer(&self, host: &str, token: &str) -> Option<String> {
        let known = self.answers.read().get(token).cloned();
        match (known, &self.source) {
            (Some(known), _) => Some(known),
            (None, Some(source)) => source.key_authorization(host, token).await,
            (None, None) => None,
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").finish_non_exhaustive()
    }
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Key authorizations are no secrets, but nobody needs them in a log either.
        f.debug_struct("Challenges")
            .field("tokens", &self.answers.read().len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
