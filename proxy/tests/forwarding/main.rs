//! The reverse proxy between a client and an upstream whose every byte the test writes.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod balancing;
mod bodies;
mod cache;
mod client_gone;
mod discovery;
mod expect;
mod fastcgi;
mod heads;
mod health;
mod holding;
mod peer;
mod responses;
mod smuggling;
mod transport;
mod upgrades;
