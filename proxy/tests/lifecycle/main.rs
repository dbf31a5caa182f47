//! The program from outside: its commands, its life, and certificates from a cert-manager that the
//! test plays.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod certificates;
mod client;
mod client_certificates;
mod commands;
mod manager;
mod on_demand;
mod program;
mod serving;
mod session_tickets;
mod traces;
