//! The server side of the edge: connections to upstreams.
//!
//! A [`Client`] belongs to one worker thread and its local tasks: nothing here is locked or shared
//! on the way of a request but the immutable [`Target`]. It speaks HTTP and FastCGI. It keeps pools of idle connections,
//! opens new ones over fresh DNS, sends one request at a time on an HTTP/1.1 connection (many on
//! an HTTP/2 one), and hands the response on as it comes. It does not choose among upstreams and
//! does not try again: that is for the caller, who gets an unsent request back in the error.

mod body;
mod client;
mod connect;
mod connection;
mod driver;
mod error;
mod fastcgi;
mod outgoing;
mod pool;
mod stream;
mod target;
mod tls;
mod tunnel;

pub use body::{BodyError, BodyObserver, UpstreamBody};
pub use client::Client;
pub use error::{SendError, SendErrorKind};
pub use fastcgi::{ScriptLog, Variables};
pub use target::{Address, KeepAlive, Target, TargetError, TargetSettings, Versions};
pub use tls::{ClientCertificate, TlsOptions, public_roots};
pub use tunnel::{TunnelEnd, TunnelFigures, tunnel};
