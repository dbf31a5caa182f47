//! The real program, with proxies and authorities of the tests' own around it.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test ends by a panic, and says on its output why it is skipped"
)]

mod acme;
mod bind;
mod context;
mod control_plane;
mod crash;
mod diagnosis;
mod disk;
mod dns_challenge;
mod events;
mod fail_points;
mod fake_ca;
mod name_server;
mod on_demand;
mod pebble;
mod proxy;
mod sealing;
mod subscription;
mod transfer;
mod with_pebble;
