//! The certificates in use, by name.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::certificate::Certificate;
use super::challenge::TlsAlpnChallenges;

/// Every certificate that can be served. Reading takes no lock; a change is seen by the next
/// handshake, and handshakes in progress keep what they have.
#[derive(Debug, Default)]
pub struct CertificateTable {
    current: ArcSwap<Snapshot>,
    /// Held while a new snapshot is made.
    change: Mutex<()>,
    challenges: TlsAlpnChallenges,
}

#[derive(Clone, Debug, Default)]
struct Snapshot {
    loaded: HashMap<Box<str>, Arc<Certificate>>,
    managed: HashMap<Box<str>, Arc<Certificate>>,
    awaited: Arc<HashSet<Box<str>>>,
}

impl CertificateTable {
    /// Puts certificates in place, each under the name that it was obtained for.
    pub fn insert(&self, certificates: impl IntoIterator<Item = (Box<str>, Arc<Certificate>)>) {
        self.change(|snapshot| snapshot.managed.extend(certificates));
    }

    /// Takes away the certificate that was obtained for `name`.
    pub fn remove(&self, name: &str) {
        self.change(|snapshot| {
            snapshot.managed.remove(name);
        });
    }

    /// Keeps, of the certificates that were obtained, those whose name `keep` wants.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.change(|snapshot| snapshot.managed.retain(|name, _| keep(name)));
    }

    /// Replaces, as a whole, the certificates that the operator keeps in files. They are served for
    /// each of their names, before any that were obtained.
    pub fn set_loaded(&self, certificates: &[Arc<Certificate>]) {
        let mut loaded = HashMap::new();
        for certificate in certificates {
            for name in certificate.names() {
                loaded
                    .entry(name.clone())
                    .or_insert_with(|| Arc::clone(certificate));
            }
        }
        self.change(|snapshot| snapshot.loaded = loaded);
    }

    /// Says which names should have a certificate, so that a handshake for one that has none yet is
    /// worth a word.
    pub fn set_awaited(&self, names: HashSet<Box<str>>) {
        self.change(|snapshot| snapshot.awaited = Arc::new(names));
    }

    /// The certificate for `name`, or for the wildcard over its first label.
    pub fn find(&self, name: &str) -> Option<Arc<Certificate>> {
        let snapshot = self.current.load();
        snapshot
            .exact(name)
            .or_else(|| snapshot.exact(&wildcard(name)?))
            .map(Arc::clone)
    }

    /// Whether there is a certificate for `name`, or for the wildcard over its first label.
    pub fn contains(&self, name: &str) -> bool {
        let snapshot = self.current.load();
        snapshot.exact(name).is_some()
            || wildcard(name).is_some_and(|wildcard| snapshot.exact(&wildcard).is_some())
    }

    /// The certificate that was obtained under exactly this name.
    pub fn managed(&self, name: &str) -> Option<Arc<Certificate>> {
        self.current.load().managed.get(name).map(Arc::clone)
    }

    /// The answers to challenges, which no other handshake sees.
    pub fn challenges(&self) -> &TlsAlpnChallenges {
        &self.challenges
    }

    /// Whether `name` should have a certificate.
    pub(super) fn is_awaited(&self, name: &str) -> bool {
        let snapshot = self.current.load();
        snapshot.awaited.contains(name)
            || wildcard(name).is_some_and(|wildcard| snapshot.awaited.contains(wildcard.as_str()))
    }

    fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        let _changing = self.change.lock();
        let mut snapshot = Snapshot::clone(&self.current.load());
        change(&mut snapshot);
        self.current.store(Arc::new(snapshot));
    }
}

impl Snapshot {
    fn exact(&self, name: &str) -> Option<&Arc<Certificate>> {
        self.loaded.get(name).or_else(|| self.managed.get(name))
    }
}

fn wildcard(name: &str) -> Option<String> {
    let (_, parent) = name.split_once('.')?;
    Some(format!("*.{parent}"))
}
