//! The numbered changes of one volume.

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::broadcast;

/// Changes that a subscriber may lag behind before it is told that everything changed.
const CAPACITY: usize = 4096;

/// What changed in a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Everything may have.
    Everything,
    /// One path, relative to the volume; for a directory, everything below it.
    Path(Arc<str>),
}

/// A change and its place in the sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Grows by one with each change.
    pub sequence: u64,
    /// What changed.
    pub change: Change,
}

/// The changes of one volume, numbered, for any number of subscribers.
#[derive(Debug)]
pub struct Feed {
    epoch: u64,
    state: Mutex<State>,
    sender: broadcast::Sender<Numbered>,
}

#[derive(Debug)]
struct State {
    sequence: u64,
    is_watched: bool,
}

/// A position in a feed, and the changes after it.
#[derive(Debug)]
pub struct Subscription {
    /// The sequence number of the last change before this subscription.
    pub sequence: u64,
    /// The changes after it.
    pub changes: broadcast::Receiver<Numbered>,
}

impl Feed {
    /// A feed whose numbers count from zero in `epoch`.
    pub fn new(epoch: u64) -> Self {
        Self {
            epoch,
            state: Mutex::new(State {
                sequence: 0,
                is_watched: false,
            }),
            sender: broadcast::Sender::new(CAPACITY),
        }
    }

    /// Tells subscribers of a change. Never waits for them.
    pub fn publish(&self, change: Change) {
        let mut state = self.state.lock();
        state.sequence += 1;
        // Nobody listening is no error: the number is all that a later subscriber needs.
        let _ = self.sender.send(Numbered {
            sequence: state.sequence,
            change,
        });
    }

    /// Subscribes: no change after the position is missed.
    pub fn subscribe(&self) -> Subscription {
        let state = self.state.lock();
        Subscription {
            sequence: state.sequence,
            changes: self.sender.subscribe(),
        }
    }

    /// Notes whether the volume's changes are noticed as they happen.
    pub fn set_watched(&self, is_watched: bool) {
        self.state.lock().is_watched = is_watched;
    }

    /// Whether the volume's changes are noticed as they happen.
    pub fn is_watched(&self) -> bool {
        self.state.lock().is_watched
    }

    /// The epoch that sequence numbers belong to.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many subscribers there are.
    pub fn subscribers(&self) -> usize {
        self.sender.receiver_count()
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Feed};

    #[test]
    fn a_subscription_begins_where_it_says() {
        let feed = Feed::new(7);
        feed.publish(Change::Everything);
        let mut subscription = feed.subscribe();
        assert_eq!(subscription.sequence, 1);
        feed.publish(Change::Path("a".into()));
        let next = subscription.changes.try_recv().unwrap();
        assert_eq!((next.sequence, next.change), (2, Change::Path("a".into())));
        assert_eq!(feed.subscribers(), 1);
        drop(subscription);
        assert_eq!(feed.subscribers(), 0);
    }
}
