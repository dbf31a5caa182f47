//! The Caddyfile language: text in, Caddy's JSON document out.
//!
//! This crate does no I/O and never panics on input: files to import come through a
//! [`Loader`](parser::Loader), environment variables through a function.

mod adapt;
pub mod address;
pub mod cursor;
pub mod diagnostic;
mod directive;
pub mod document;
mod env;
pub mod format;
mod import;
mod lexer;
mod lower;
pub mod matcher;
mod options;
mod order;
pub mod parser;
pub mod regexp;
pub mod shorthand;
pub mod token;
pub mod value;

pub use adapt::{Adapted, adapt};
