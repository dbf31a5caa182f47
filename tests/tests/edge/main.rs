//! The edge with an app behind it: forwarding, long connections, streams, and an app that is gone.

mod forwarding;
mod framing;
mod long_lived;
mod streams;
mod unavailable;
