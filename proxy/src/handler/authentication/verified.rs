//! Remembers which passwords were right, since finding out takes up to a second and browsers send
//! them with every request.

use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use parking_lot::RwLock;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::password::PasswordHash;

/// Names and passwords that were right, by a salted digest that lives as long as the process; wrong
/// ones are never remembered.
pub(super) struct Verified {
    salt: [u8; 32],
    digests: RwLock<HashSet<[u8; 32]>>,
}

/// Accounts that are remembered; beyond this the memory is cleared.
const CAPACITY: usize = 4096;

/// Verifications at a time: more would only take the cores from those who are in already.
static TURNS: LazyLock<Semaphore> = LazyLock::new(|| {
    Semaphore::new(std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)))
});

impl Verified {
    /// Whether the password has the hash.
    pub(super) async fn check(&self, hash: &PasswordHash, name: &str, password: &str) -> bool {
        let digest = self.digest(hash, name, password);
        if self.digests.read().contains(&digest) {
            return true;
        }
        // The semaphore is never closed.
        let _turn = TURNS.acquire().await;
        // While this one waited, another request of the same page may have found out.
        if self.digests.read().contains(&digest) {
            return true;
        }
        let (hash, password) = (hash.clone(), password.to_owned());
        let verification = tokio::task::spawn_blocking(move || hash.verify(&password));
        let is_right = verification.await.unwrap_or(false);
        if is_right {
            let mut digests = self.digests.write();
            if digests.len() >= CAPACITY {
                digests.clear();
            }
            digests.insert(digest);
        }
        is_right
    }

    fn digest(&self, hash: &PasswordHash, name: &str, password: &str) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(self.salt);
        for part in [hash.as_str(), name, password] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
        digest.finalize().into()
    }
}

impl Default for Verified {
    fn default() -> Self {
        Self {
            salt: rand::random(),
            digests: RwLock::default(),
        }
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("count", &self.digests.read().len())
            .finish()
    }
}
