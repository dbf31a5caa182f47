//! Owns certificates: obtains them by ACME or from its own authority, stores and renews them, and
//! delivers them to the proxies.

pub mod app;
pub mod authority;
pub mod backoff;
pub mod certificate;
pub mod challenge;
pub mod cli;
pub mod clock;
pub mod config;
mod container;
pub mod control;
pub mod dns;
pub mod doctor;
pub mod events;
pub mod fail_point;
pub mod finding;
pub mod grpc;
pub mod issuer;
pub mod manager;
pub mod metrics;
pub mod name;
pub mod on_demand;
mod pem;
pub mod plan;
pub mod policy;
pub mod record;
pub mod store;
pub mod ticket_keys;
mod words;
