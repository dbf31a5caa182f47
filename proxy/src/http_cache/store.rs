//! Where responses are kept: bounded by bytes, shared by all workers.
//!
//! A hit reads under a lock that other hits share. What is written goes by the URI's slot, whose
//! invalidations tell a response that was asked for before one from those after it.

use std::cell::Cell;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

use http::HeaderMap;
use parking_lot::Mutex;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, UnitWeighter, Weighter};

use super::Policy;
use super::flight::{FlightKey, Flights};
use super::invalidations::{Invalidated, Invalidations};
use super::key::{Key, KeyRef, Purge};
use super::recording::Budget;
use super::stored::Stored;

/// Responses, and who is asking for which.
#[derive(Debug)]
pub(crate) struct Store {
    resources: Cache<Key, Arc<Resource>, ByBytes>,
    slots: Box<[Mutex<Invalidations>]>,
    hasher: RandomState,
    /// What was not for others lately, and until when nobody waits for it.
    passing: Cache<FlightKey, Instant>,
    pub flights: Arc<Flights>,
    /// Bytes of responses on their way.
    pub budget: Arc<Budget>,
}

/// What is stored for one URI, the newest first.
#[derive(Debug, Default)]
pub(crate) struct Resource {
    variants: Vec<Stored>,
}

/// What is there for a request.
#[derive(Debug)]
pub(crate) struct Found {
    /// The response that it may have.
    pub stored: Option<Stored>,
    resource: Option<Arc<Resource>>,
}

/// Responses for one URI; more are for one that varies by something that hardly ever comes twice.
const MOST_VARIANTS: usize = 16;

const SLOTS: usize = 256;

/// How long nobody waits for a response that was not for others.
const PASSING: Duration = Duration::from_secs(10);

/// URIs of which that is remembered.
const MOST_PASSING: usize = 4096;

/// Bytes that a part of the store has at least.
const LEAST_PART: u64 = 8 << 20;

/// Stores in use, by the handler that they are of and its limits.
type Stores = HashMap<(String, Policy), Weak<Store>>;

/// All of them: a reload goes on with what it finds.
static STORES: LazyLock<Mutex<Stores>> = LazyLock::new(Mutex::default);

impl Store {
    /// The store of the handler `owner`, which may be in use already.
    pub(crate) fn shared(owner: String, policy: &Policy) -> Arc<Self> {
        let mut stores = STORES.lock();
        stores.retain(|_, store| store.strong_count() > 0);
        let key = (owner, *policy);
        if let Some(store) = stores.get(&key).and_then(Weak::upgrade) {
            return store;
        }
        let store = Arc::new(Self::new(policy));
        stores.insert(key, Arc::downgrade(&store));
        store
    }

    /// All stores.
    pub(crate) fn all() -> Vec<Arc<Self>> {
        let stores = STORES.lock();
        stores.values().filter_map(Weak::upgrade).collect()
    }

    /// An empty store.
    pub(crate) fn new(policy: &Policy) -> Self {
        let max_size = policy.max_size;
        let expected = usize::try_from(max_size / (16 << 10)).unwrap_or(usize::MAX);
        // A part takes nothing that is larger than itself.
        let parts = (max_size / LEAST_PART.max(4 * policy.max_body)).clamp(1, 16);
        let options = OptionsBuilder::new()
            .estimated_items_capacity(expected.max(16))
            .weight_capacity(max_size)
            // Fewer than 17, so it fits.
            .shards(parts as usize)
            .build();
        let resources = match options {
            Ok(options) => Cache::with_options(
                options,
                ByBytes,
                Default::default(),
                DefaultLifecycle::default(),
            ),
            Err(_) => Cache::with_weighter(expected, max_size, ByBytes),
        };
        Self {
            resources,
            slots: (0..SLOTS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            passing: Cache::with_weighter(MOST_PASSING, MOST_PASSING as u64, UnitWeighter),
            flights: Arc::default(),
            budget: Arc::new(Budget::new(max_size / 4)),
        }
    }

    /// What is there for a request, whose target was changed to `target`.
    pub(crate) fn find(
        &self,
        key: &KeyRef<'_>,
        target: Option<&str>,
        request: &HeaderMap,
    ) -> Found {
        let resource = self.resources.get(key);
        let mut variants = resource.iter().flat_map(|resource| &resource.variants);
        let stored = variants.find(|stored| stored.head.selector.matches(target, request));
        Found {
            stored: stored.cloned(),
            resource,
        }
    }

    /// Counts up when a URI is invalidated, and now and then when another is.
    pub(crate) fn generation(&self, key: &KeyRef<'_>) -> u64 {
        self.slot(self.hash(key)).lock().count()
    }

    /// Keeps a response that was asked for in `generation`, unless its URI was invalidated since.
    pub(crate) fn insert(&self, key: &Key, generation: u64, stored: Stored) {
        let hash = self.hash(&key.as_ref());
        let invalidations = self.slot(hash).lock();
        if !invalidations.spared(hash, generation) {
            return;
        }
        let selector = &stored.head.selector;
        let known = self.resources.peek(key);
        let known = known.iter().flat_map(|resource| &resource.variants);
        let others = known.filter(|known| known.head.selector != *selector);
        let others: Vec<_> = others.take(MOST_VARIANTS - 1).cloned().collect();
        let mut variants = vec![stored];
        variants.extend(others);
        self.resources
            .insert(key.clone(), Arc::new(Resource { variants }));
    }

    /// Forgets a response that is no longer the one that the server gives.
    pub(crate) fn remove(&self, key: &Key, old: &Stored) {
        let _invalidations = self.slot(self.hash(&key.as_ref())).lock();
        let Some(known) = self.resources.peek(key) else {
            return;
        };
        let known = known.variants.iter();
        let left = known.filter(|stored| stored.head.selector != old.head.selector);
        let variants: Vec<_> = left.cloned().collect();
        if variants.is_empty() {
            self.resources.remove(key);
        } else {
            self.resources
                .insert(key.clone(), Arc::new(Resource { variants }));
        }
    }

    /// Forgets a URI (RFC 9111 section 4.4), and what is on its way for it.
    pub(crate) fn invalidate(&self, key: &KeyRef<'_>) {
        let hash = self.hash(key);
        let mut invalidations = self.slot(hash).lock();
        invalidations.add(Invalidated::Uri(hash));
        self.resources.remove(key);
    }

    /// Removes what `purge` says; how many responses that were.
    pub(crate) fn purge(&self, purge: &Purge) -> u64 {
        for slot in &self.slots {
            slot.lock().add(Invalidated::Everything);
        }
        let removed = Cell::new(0);
        self.resources.retain(|key, resource| {
            let is_kept = !purge.includes(key);
            if !is_kept {
                removed.set(removed.get() + resource.variants.len() as u64);
            }
            is_kept
        });
        removed.get()
    }

    /// Whether nobody is to wait for a response, since the last one was not for others.
    pub(crate) fn is_passing(&self, key: &FlightKey) -> bool {
        self.passing
            .get(key)
            .is_some_and(|until| Instant::now() < until)
    }

    /// Remembers that a response was not for others.
    pub(crate) fn pass(&self, key: FlightKey) {
        self.passing.insert(key, Instant::now() + PASSING);
    }

    /// Bytes and responses that are kept.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.resources.weight(), self.resources.len() as u64)
    }

    fn hash(&self, key: &KeyRef<'_>) -> u64 {
        self.hasher.hash_one(key)
    }

    fn slot(&self, hash: u64) -> &Mutex<Invalidations> {
        &self.slots[(hash % SLOTS as u64) as usize]
    }
}

impl Found {
    /// Whether there is something for the URI, if only for other requests.
    pub(crate) fn is_known(&self) -> bool {
        self.resource.is_some()
    }

    /// What tells the request from others for the same URI, as far as is known.
    pub(crate) fn values(&self, target: Option<&str>, request: &HeaderMap) -> Vec<u8> {
        let mut values = target.unwrap_or_default().as_bytes().to_vec();
        values.push(b'\n');
        let mut variants = self.resource.iter().flat_map(|resource| &resource.variants);
        if let Some(newest) = variants.next() {
            values.extend(newest.head.selector.values_of(request));
        }
        values
    }
}

#[derive(Clone, Copy, Debug)]
struct ByBytes;

impl Weighter<Key, Arc<Resource>> for ByBytes {
    fn weight(&self, key: &Key, resource: &Arc<Resource>) -> u64 {
        let variants = resource.variants.iter().map(Stored::weight);
        key.weight() as u64 + variants.sum::<u64>()
    }
}
