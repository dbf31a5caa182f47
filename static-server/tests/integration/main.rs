//! A whole server in this process, asked over real sockets.

#![allow(clippy::unwrap_used, reason = "a failure ends the test, as it should")]

mod authority;
mod cold;
mod confinement;
mod events;
mod handoff;
mod http;
mod life_cycle;
mod listings;
mod preconditions;
mod program;
mod proxied;
mod ranges;
mod support;
mod uploads;
