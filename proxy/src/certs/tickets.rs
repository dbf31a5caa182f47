//! The keys of session tickets: from cert-manager, kept over restarts, and our own until there are
//! some.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use downstream::{
    SessionTickets, TICKET_KEY_NAME_LEN, TICKET_KEY_SECRET_LEN, TicketKey, TicketKeyError,
};
use parking_lot::Mutex;
use proto::certs::v1;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::private_file;

/// A key is wiped after this time, also while cert-manager is away: its own rotation takes the same.
const WINDOW: Duration = Duration::from_secs(36 * 3600);
/// How long a key of our own encrypts.
const ROTATION: Duration = Duration::from_secs(12 * 3600);
/// Keys that are taken at once at most; cert-manager sends three.
const MOST: usize = 16;

/// The keys that are in use.
#[derive(Debug)]
pub(super) struct Tickets {
    shared: Arc<SessionTickets>,
    path: PathBuf,
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    /// cert-manager's, the one that encrypts first.
    given: Vec<Kept>,
    /// Our own, newest first.
    own: Vec<Kept>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    key: TicketKey,
    first_seen: SystemTime,
}

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    /// Base64.
    name: String,
    /// Base64.
    secret: Zeroizing<String>,
    /// Seconds since 1970.
    first_seen: u64,
}

impl Tickets {
    /// The keys that are kept in `data`, and one of our own. Blocks.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(super) fn load(data: &Path, now: SystemTime) -> Result<Self, TicketKeyError> {
        let tickets = Self {
            shared: Arc::new(SessionTickets::new()?),
            path: data.join("session-tickets.json"),
            keys: Mutex::default(),
        };
        match read(&tickets.path) {
            Ok(given) => tickets.keys.lock().given = given,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(
                %error,
                path = %tickets.path.display(),
                "cannot read the kept keys of session tickets; they come again from cert-manager"
            ),
        }
        tickets.tend(now);
        Ok(tickets)
    }

    /// What listeners make tickets by.
    pub(super) fn shared(&self) -> &Arc<SessionTickets> {
        &self.shared
    }

    /// Takes over the keys that cert-manager sent. Blocks.
    pub(super) fn take(&self, received: &[v1::TicketKey], now: SystemTime) {
        let given: Option<Vec<TicketKey>> = received.iter().map(from_wire).collect();
        let given = given.filter(|given| (1..=MOST).contains(&given.len()));
        let Some(given) = given else {
            tracing::error!(
                "cert-manager sent keys of session tickets that cannot be used; those before stay"
            );
            return;
        };
        let mut keys = self.keys.lock();
        let before = std::mem::take(&mut keys.given);
        keys.given = given
            .into_iter()
            .map(|key| {
                let known = before.iter().find(|known| known.key == key);
                let first_seen = known.map_or(now, |known| known.first_seen);
                Kept { key, first_seen }
            })
            .collect();
        self.apply(&keys);
        if keys.given != before {
            self.keep(&keys);
        }
    }

    /// Wipes what is too old, and replaces our own key if that is the one in use. Blocks.
    pub(super) fn tend(&self, now: SystemTime) {
        let mut keys = self.keys.lock();
        let is_alive = |kept: &Kept| age(kept, now) < WINDOW;
        let count = keys.given.len();
        keys.given.retain(is_alive);
        keys.own.retain(is_alive);
        let is_due = keys
            .own
            .first()
            .is_none_or(|kept| age(kept, now) >= ROTATION);
        if keys.given.is_empty() && is_due {
            match TicketKey::generate() {
                Ok(key) => keys.own.insert(
                    0,
                    Kept {
                        key,
                        first_seen: now,
                    },
                ),
                Err(error) => tracing::error!(%error, "the key of session tickets stays"),
            }
        }
        self.apply(&keys);
        if keys.given.len() != count {
            self.keep(&keys);
        }
    }

    fn apply(&self, keys: &Keys) {
        let all = keys.given.iter().chain(&keys.own).map(|kept| &kept.key);
        if let Err(error) = self.shared.set_keys(all) {
            tracing::error!(%error, "the keys of session tickets before stay in use");
        }
    }

    /// Writes cert-manager's keys; ours are worth nothing to others.
    fn keep(&self, keys: &Keys) {
        let stored = Stored {
            keys: keys.given.iter().map(StoredKey::from).collect(),
        };
        let written = serde_json::to_string_pretty(&stored)
            .map(Zeroizing::new)
            .map_err(io::Error::other)
            .and_then(|text| private_file::write(&self.path, text.as_bytes(), None));
        if let Err(error) = written {
            tracing::warn!(
                %error,
                path = %self.path.display(),
                "cannot keep the keys of session tickets: after a restart without cert-manager \
                 clients would begin new sessions"
            );
        }
    }
}

impl From<&Kept> for StoredKey {
    fn from(kept: &Kept) -> Self {
        let first_seen = kept.first_seen.duration_since(SystemTime::UNIX_EPOCH);
        Self {
            name: STANDARD.encode(kept.key.name()),
            secret: Zeroizing::new(STANDARD.encode(kept.key.secret())),
            first_seen: first_seen.unwrap_or_default().as_secs(),
        }
    }
}

impl std::fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredKey").finish_non_exhaustive()
    }
}

/// How old a key is. One that was first seen by a clock which has been put back since is as old as
/// can be: nobody knows how long it has been in use.
fn age(kept: &Kept, now: SystemTime) -> Duration {
    const TOLERANCE: Duration = Duration::from_secs(3600);
    match now.duration_since(kept.first_seen) {
        Ok(age) => age,
        Err(ahead) if ahead.duration() <= TOLERANCE => Duration::ZERO,
        Err(_) => Duration::MAX,
    }
}

fn from_wire(wire: &v1::TicketKey) -> Option<TicketKey> {
    key(&wire.name, &wire.secret)
}

fn key(name: &[u8], secret: &[u8]) -> Option<TicketKey> {
    let name = <[u8; TICKET_KEY_NAME_LEN]>::try_from(name).ok()?;
    let secret = <[u8; TICKET_KEY_SECRET_LEN]>::try_from(secret).ok()?;
    Some(TicketKey::new(name, Zeroizing::new(secret)))
}

fn read(path: &Path) -> io::Result<Vec<Kept>> {
    let text = Zeroizing::new(fs::read(path)?);
    let stored: Stored = serde_json::from_slice(&text)?;
    stored
        .keys
        .iter()
        .map(|stored| {
            let name = STANDARD.decode(&stored.name).map_err(io::Error::other)?;
            let secret = STANDARD
                .decode(stored.secret.as_bytes())
                .map(Zeroizing::new)
                .map_err(io::Error::other)?;
            let key = key(&name, &secret)
                .ok_or_else(|| io::Error::other("a key is of another length"))?;
            let first_seen = SystemTime::UNIX_EPOCH
                .checked_add(Duration::from_secs(stored.first_seen))
                .ok_or_else(|| io::Error::other("a key is of no time"))?;
            Ok(Kept { key, first_seen })
        })
        .collect()
}

#[cfg(test)]
mod tests;
