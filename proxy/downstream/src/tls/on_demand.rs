//! Certificates that are obtained while the client waits.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// Obtains certificates for names that a client has just asked for.
pub trait OnDemand: fmt::Debug + Send + Sync {
    /// Begins to obtain a certificate for `name`, in lower case, or joins an attempt that is under
    /// way; `None` when there is none to be had.
    ///
    /// The result is ready when the certificate is in the table, or there will be none. Dropping it
    /// ends the wait and not the attempt, for others may wait too.
    fn obtain(&self, name: &str) -> Option<Obtaining>;
}

/// The wait for a certificate.
pub type Obtaining = Pin<Box<dyn Future<Output = ()> + Send>>;
