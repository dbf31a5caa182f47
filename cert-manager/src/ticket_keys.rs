//! The keys of TLS session tickets: made here and given to every proxy, so that a client resumes its
//! session at any of them, and after a restart of all of them.
//!
//! Whoever has a key can read the sessions that were resumed by it, so keys do not live long: each
//! encrypts for [`ROTATION`] and decrypts for [`WINDOW`], then it is wiped everywhere.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proto::sidecar::error_chain::Chain;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::store::{Storage, StoreError};

/// How long a key encrypts. Caddy: the same, `rotation_interval`.
pub const ROTATION: SignedDuration = SignedDuration::from_hours(12);
/// How long a key decrypts: a ticket lasts a day, and was made up to [`ROTATION`] after its key.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(36);

/// How long to wait after keys could not be kept.
const RETRY: SignedDuration = SignedDuration::from_mins(1);
/// A key that was made by a clock further ahead than this is not waited for.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_hours(1);

/// A key of session tickets. Its secret is wiped when dropped, and never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKey {
    name: [u8; 16],
    secret: Zeroizing<[u8; 32]>,
    created_at: Timestamp,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum TicketKeysError {
    /// They cannot be read or kept.
    #[error("keeping the keys of session tickets")]
    Store(#[from] StoreError),
    /// There is no randomness.
    #[error("the system gives no randomness for keys of session tickets")]
    Random,
}

/// The present keys. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct TicketKeys {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    current: watch::Sender<Arc<[TicketKey]>>,
}

impl TicketKey {
    fn generate(now: Timestamp) -> Result<Self, TicketKeysError> {
        let mut name = [0; 16];
        let mut secret = Zeroizing::new([0; 32]);
        for octets in [&mut name[..], &mut secret[..]] {
            aws_lc_rs::rand::fill(octets).map_err(|_| TicketKeysError::Random)?;
        }
        Ok(Self {
            name,
            secret,
            created_at: now,
        })
    }

    /// What goes in front of each ticket.
    pub fn name(&self) -> &[u8; 16] {
        &self.name
    }

    /// The secret, for the proxies alone.
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKey")
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

impl TicketKeys {
    /// The keys in `storage`, after a rotation if one is due.
    ///
    /// # Errors
    /// When they cannot be read, made or kept.
    pub async fn load(
        storage: Arc<dyn Storage>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TicketKeysError> {
        let stored = storage.ticket_keys().await?;
        let keys = Self {
            storage,
            clock,
            current: watch::Sender::new(stored.into()),
        };
        keys.rotate_due().await?;
        Ok(keys)
    }

    /// The keys from now on, the one that encrypts first.
    pub fn subscribe(&self) -> watch::Receiver<Arc<[TicketKey]>> {
        self.current.subscribe()
    }

    /// Rotates whenever that is due. Never ends.
    pub async fn keep_rotated(self) {
        loop {
            let now = self.clock.now();
            let next = match self.rotate_due().await {
                Ok(()) => next_change(&self.current.borrow(), now),
                Err(error) => {
                    tracing::error!(
                        error = %Chain(&error),
                        "the keys of session tickets stay as they are; trying again in a minute"
                    );
                    now + RETRY
                }
            };
            self.clock.sleep_until(next).await;
        }
    }

    /// Makes and drops what is due. Durable before a proxy hears of it, or sessions would not be
    /// resumed after a crash.
    async fn rotate_due(&self) -> Result<(), TicketKeysError> {
        let present = Arc::clone(&self.current.borrow());
        let Some(next) = rotated(&present, self.clock.now())? else {
            return Ok(());
        };
        self.storage.put_ticket_keys(&next).await?;
        tracing::debug!(keys = next.len(), "rotated the keys of session tickets");
        self.current.send_replace(next.into());
        Ok(())
    }
}

/// The keys that follow `keys` at `now`, newest first; `None` while nothing is due.
fn rotated(keys: &[TicketKey], now: Timestamp) -> Result<Option<Vec<TicketKey>>, TicketKeysError> {
    let mut next: Vec<TicketKey> = keys
        .iter()
        .filter(|key| is_alive(key, now))
        .cloned()
        .collect();
    let newest = next.first();
    if newest.is_none_or(|key| now.duration_since(key.created_at) >= ROTATION) {
        next.insert(0, TicketKey::generate(now)?);
    }
    Ok((next != keys).then_some(next))
}

fn is_alive(key: &TicketKey, now: Timestamp) -> bool {
    let age = now.duration_since(key.created_at);
    age < WINDOW && age >= -CLOCK_TOLERANCE
}

/// When [`rotated`] next changes something.
fn next_change(keys: &[TicketKey], now: Timestamp) -> Timestamp {
    let rotation = keys.first().map(|newest| newest.created_at + ROTATION);
    let end = keys.last().map(|oldest| oldest.created_at + WINDOW);
    rotation.into_iter().chain(end).min().unwrap_or(now)
}

#[cfg(test)]
mod tests;
