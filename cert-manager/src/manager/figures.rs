//! Figures of all names, for metrics and measurements.

use jiff::Timestamp;
use proto::certs::v1;

use super::Manager;
use crate::name::Name;

/// Figures of the manager.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Names that something is being done about.
    pub under_way: usize,
    /// Names that are due and wait: for a limit, a proxy, or the end of another attempt.
    pub waiting: usize,
    /// When the next name is to be looked at, beside those that wait.
    pub next: Option<Timestamp>,
}

/// Figures of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameFigures {
    /// The name.
    pub name: Name,
    /// What it is doing.
    pub state: v1::State,
    /// End of validity of the stored certificate.
    pub not_after: Option<Timestamp>,
    /// Certificates obtained since the start of the program.
    pub obtained: u64,
    /// Attempts that failed since the start of the program.
    pub failed: u64,
    /// When the last attempt failed, if it did, and the kind of problem.
    pub last_error: Option<(Timestamp, &'static str)>,
}

impl Manager {
    /// Figures of the manager.
    pub fn figures(&self) -> Figures {
        let names = self.names.lock();
        Figures {
            under_way: names.busy(),
            waiting: names.ready_lanes().map(|(_, count)| count).sum(),
            next: names.next_later(),
        }
    }

    /// Figures of each name, sorted by name.
    pub fn name_figures(&self) -> Vec<NameFigures> {
        let now = self.now();
        self.names.lock().figures(now).collect()
    }
}
