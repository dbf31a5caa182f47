//! Whether a program is ready, and what it still waits for.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// What a program waits for before it can do its work; shared by the gRPC health service and
/// `/readyz`. Ready when nothing is left.
#[derive(Clone, Debug)]
pub struct Readiness {
    waits: Arc<Mutex<BTreeMap<&'static str, String>>>,
    ready: watch::Sender<bool>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self {
            waits: Arc::default(),
            ready: watch::Sender::new(true),
        }
    }
}

impl Readiness {
    /// Notes that `part` is not ready, and why, in words for an operator.
    pub fn wait_for(&self, part: &'static str, reason: impl Into<String>) {
        let mut waits = self.waits.lock();
        waits.insert(part, reason.into());
        self.ready.send_replace(false);
    }

    /// Notes that `part` is ready.
    pub fn set_ready(&self, part: &'static str) {
        let mut waits = self.waits.lock();
        waits.remove(part);
        self.ready.send_replace(waits.is_empty());
    }

    /// Whether nothing is waited for.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// What is waited for, one line each; empty when ready.
    pub fn report(&self) -> String {
        self.waits
            .lock()
            .iter()
            .map(|(part, reason)| format!("{part}: {reason}\n"))
            .collect()
    }

    /// Follows readiness; the first value is the present one.
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::Readiness;

    #[test]
    fn is_ready_once_every_part_is() {
        let readiness = Readiness::default();
        assert!(readiness.is_ready());
        readiness.wait_for("store", "opening");
        readiness.wait_for("identity", "no file");
        readiness.set_ready("store");
        assert!(!readiness.is_ready());
        assert_eq!(readiness.report(), "identity: no file\n");
        readiness.set_ready("identity");
        assert!(readiness.is_ready());
    }
}
