//! What the end-to-end tests are made of. They see the programs from outside only: command lines,
//! ports, files and logs.
//!
//! A test starts a [`stack::Stack`] in a folder of its own on ports of its own, so that tests run
//! side by side. Every wait is a predicate with a deadline ([`wait::until`]).

pub mod ask;
pub mod caddy;
pub mod client;
pub mod compose;
pub mod demo;
pub mod pebble;
pub mod process;
pub mod raw;
pub mod stack;
pub mod tls;
pub mod upstream;
pub mod wait;
pub mod websocket;
