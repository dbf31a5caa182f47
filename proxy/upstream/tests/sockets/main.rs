//! The client against upstreams whose every byte the test writes.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod backpressure;
mod connecting;
mod expect;
mod fastcgi;
mod http2;
mod peer;
mod responses;
mod reuse;
mod timeouts;
mod tls;
mod upgrades;
