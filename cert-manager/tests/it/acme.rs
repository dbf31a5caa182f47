//! The ACME issuer against an authority that misbehaves.

mod account;
mod client;
mod managed;
mod policy;
mod rehearsal;
mod renewal;
mod trouble;
