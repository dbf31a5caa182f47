//! Changes of files: noticed by inotify ([`watch`]), numbered per volume ([`Feed`]), and told to
//! the edge over gRPC ([`grpc`]).

mod feed;
pub mod grpc;
mod tree;
pub mod watch;

pub use feed::{Change, Feed, Numbered, Subscription};
