//! What every program does the same way: command line, logs, mutual TLS identity, gRPC server and
//! client, readiness, the administration listener and shutdown.
//!
//! A program's `main` reads the command line ([`cli`]), starts logging ([`logs`]), takes its
//! identity ([`identity`]), serves ([`grpc`], [`admin`]) and ends by [`shutdown`].

pub mod admin;
pub mod cli;
pub mod dns;
pub mod error_chain;
pub mod grpc;
pub mod identity;
pub mod logs;
pub mod readiness;
pub mod shutdown;
