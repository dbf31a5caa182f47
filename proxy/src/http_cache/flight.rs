//! One request at a time to the server for what many want at once.
//!
//! Who comes first is in the lead, and asks. The others follow: they wait for the head of the
//! response, and share its body while it comes. Whatever becomes of the lead, its end is told, also
//! when its client goes away, so that a follower can take over.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher as _;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::key::Key;
use super::recording::Recording;

/// What a flight is for: a URI, and what tells requests for it apart as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FlightKey {
    pub key: Key,
    /// The target, if handlers changed it, and values of fields.
    pub values: Vec<u8>,
}

/// All that are under way.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    /// Workers seldom need the same part at once.
    parts: [Mutex<HashMap<FlightKey, Arc<Flight>>>; PARTS],
    hasher: RandomState,
}

/// A request that others may wait for.
#[derive(Debug)]
pub(crate) struct Flight {
    phase: watch::Sender<Phase>,
    /// How often the URI had been invalidated when it began.
    generation: u64,
}

/// How far a flight is.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// There is no head yet.
    Waiting,
    /// The response is being kept.
    Recording(Arc<Recording>),
    /// It is over.
    Ended(Landing),
}

/// How a flight ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landing {
    /// Nobody is there any more who would have had the response.
    Abandoned,
    /// The server could not be asked, or failed.
    Failed,
    /// The response is not for others.
    NotForOthers,
    /// The response is kept.
    Stored,
}

/// A place in a flight.
#[derive(Debug)]
pub(crate) enum Place {
    /// In front: asks the server.
    Lead(Lead),
    /// Behind somebody who does.
    Follow(Arc<Flight>),
}

/// Leads a flight. Dropping it abandons the flight.
#[derive(Debug)]
pub(crate) struct Lead {
    flights: Arc<Flights>,
    pub key: FlightKey,
    flight: Arc<Flight>,
}

const PARTS: usize = 16;

impl Flights {
    /// Joins the flight for `key`, or begins one. One that began before the URI was invalidated is
    /// joined by nobody.
    pub(crate) fn board(self: &Arc<Self>, key: FlightKey, generation: u64) -> Place {
        let mut part = self.part(&key).lock();
        let entry = part.entry(key.clone());
        if let Entry::Occupied(known) = &entry
            && known.get().generation == generation
        {
            return Place::Follow(Arc::clone(known.get()));
        }
        let flight = Arc::new(Flight {
            phase: watch::Sender::new(Phase::Waiting),
            generation,
        });
        entry.insert_entry(Arc::clone(&flight));
        Place::Lead(Lead {
            flights: Arc::clone(self),
            key,
            flight,
        })
    }

    fn part(&self, key: &FlightKey) -> &Mutex<HashMap<FlightKey, Arc<Flight>>> {
        let index = self.hasher.hash_one(key) % PARTS as u64;
        &self.parts[index as usize]
    }
}

impl Flight {
    /// How far it is.
    pub(crate) fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// Waits until there is a head, or where there is one, until its body has come.
    pub(crate) async fn progress(&self) -> Option<Landing> {
        let mut phase = self.phase.subscribe();
        let was_waiting = matches!(*phase.borrow_and_update(), Phase::Waiting);
        loop {
            match &*phase.borrow_and_update() {
                Phase::Ended(landing) => return Some(*landing),
                Phase::Recording(_) if was_waiting => return None,
                Phase::Recording(_) | Phase::Waiting => {}
            }
            if phase.changed().await.is_err() {
                return Some(Landing::Abandoned);
            }
        }
    }
}

impl Lead {
    /// The response is being kept.
    pub(crate) fn record(&self, recording: Arc<Recording>) {
        self.flight.phase.send_replace(Phase::Recording(recording));
    }

    /// It is over.
    pub(crate) fn land(self, landing: Landing) {
        self.end(landing);
    }

    fn end(&self, landing: Landing) {
        let mut part = self.flights.part(&self.key).lock();
        if let Entry::Occupied(known) = part.entry(self.key.clone())
            && Arc::ptr_eq(known.get(), &self.flight)
        {
            known.remove();
        }
        drop(part);
        self.flight.phase.send_if_modified(|phase| {
            let is_over = matches!(phase, Phase::Ended(_));
            if !is_over {
                *phase = Phase::Ended(landing);
            }
            !is_over
        });
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.end(Landing::Abandoned);
    }
}
