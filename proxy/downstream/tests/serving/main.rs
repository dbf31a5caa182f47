//! The server over real sockets.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod http;
mod lifecycle;
mod on_demand;
mod support;
mod tls;
