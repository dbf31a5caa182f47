//! The edge: reads the Caddyfile, terminates TLS, routes and forwards.
//!
//! A configuration file becomes Caddy's document ([`config_file`]), that is compiled ([`compile`])
//! into what workers run ([`edge`]), and [`app`] keeps it running. Requests go from an
//! [`edge::Edge`] through the routes of their server to a handler; [`certs`] and [`reload`] change
//! what they find, never while they wait.

pub mod access_log;
pub mod app;
pub mod body;
pub mod certs;
pub mod cli;
mod cloudflare;
pub mod compile;
mod compressed_cache;
pub mod config_file;
pub mod edge;
pub mod error;
pub mod exchange;
pub mod file_cache;
pub mod handler;
pub mod handoff;
pub mod http_cache;
pub mod log_level;
pub mod log_limit;
pub mod matcher;
pub mod metrics;
pub mod placeholder;
pub mod rehearsal;
pub mod reload;
pub mod reverse_proxy;
pub mod route;
pub mod spans;
pub mod status;
#[cfg(test)]
mod testing;
pub mod uri;
