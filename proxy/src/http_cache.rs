//! The app's own responses, kept for others: a shared cache (RFC 9111) with what RFC 5861 adds.
//!
//! The handler (`cache`) asks `store` for what there is, `freshness` whether the request may have
//! it, and otherwise lets the handlers behind it answer. `storing` says which of their responses
//! are kept, `recording` keeps them while they go to the client, and `flight` has others wait who
//! want the same. Nothing is kept of which the server did not say that it may be, unless the
//! Caddyfile does.

mod cache_control;
mod cache_status;
mod conditions;
pub(crate) mod figures;
mod flight;
mod freshness;
mod invalidations;
mod key;
mod recording;
mod store;
mod stored;
mod storing;
mod variants;

use std::time::Duration;

pub(crate) use self::cache_control::RequestDirectives;
pub(crate) use self::cache_status::{CacheStatus, Forward};
pub(crate) use self::conditions::{FOR_CACHES, FOR_THE_SERVER};
pub(crate) use self::flight::{Flight, FlightKey, Landing, Lead, Phase, Place};
pub(crate) use self::freshness::Use;
pub(crate) use self::key::{Key, KeyRef, Purge};
pub use self::recording::RecordedBody;
pub(crate) use self::recording::{Pushed, Recording};
pub(crate) use self::store::{Found, Store};
pub(crate) use self::stored::{Head, Received, Stored, conditional};
pub(crate) use self::storing::Asker;

/// What the Caddyfile says of a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Policy {
    /// Bytes of all that is kept.
    pub max_size: u64,
    /// Bytes of the largest body that is kept.
    pub max_body: u64,
    /// How long a response past its lifetime is given while it is validated, unless it says so
    /// itself.
    pub stale_while_revalidate: Duration,
    /// How long a response past its lifetime is given where the server fails, unless it says so
    /// itself.
    pub stale_if_error: Duration,
    /// How long a response is fresh that does not say.
    pub default_ttl: Duration,
}

/// Removes what `purge` says from all caches; how many responses that were.
pub(crate) fn purge(purge: &Purge) -> u64 {
    Store::all().iter().map(|store| store.purge(purge)).sum()
}

/// Forgets a URI in all caches (RFC 9111 section 4.4).
pub(crate) fn invalidate(key: &KeyRef<'_>) {
    for store in Store::all() {
        store.invalidate(key);
    }
}
