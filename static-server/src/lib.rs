//! Serves confined volumes, and tells the edge what changed in them.
//!
//! A request comes in over HTTP ([`server`]), and [`serve`] answers it from the [`volume`]s, which
//! alone open files. Proxies on the same host may ask over a Unix socket instead ([`handoff`]) and get
//! the open file itself. Changes are noticed and told by [`events`]. The server holds no site
//! configuration: which root and options apply comes with each request, in the `Portico-File`
//! field (`proto::file_request`).

pub mod app;
pub mod cli;
pub mod config;
pub mod events;
pub mod handoff;
pub mod metrics;
pub mod serve;
pub mod server;
pub mod status;
pub mod volume;
pub mod warnings;
