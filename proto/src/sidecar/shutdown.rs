//! The end of a program: SIGTERM or SIGINT asks for it, tracked tasks finish, the rest is dropped.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
pub use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The one shutdown of a program: a token that says when, and the tasks that it waits for.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Cancelled once the program should end.
    pub token: CancellationToken,
    /// Tasks that are given time to finish.
    pub tasks: TaskTracker,
}

impl Shutdown {
    /// A shutdown that SIGTERM and SIGINT ask for. A second signal changes nothing.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::default();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let token = shutdown.token.clone();
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "shutting down");
            token.cancel();
        });
        Ok(shutdown)
    }

    /// Asks for the end, waits for the tracked tasks, and returns whether all of them finished
    /// within `grace`.
    pub async fn finish(&self, grace: Duration) -> bool {
        self.token.cancel();
        self.tasks.close();
        tokio::time::timeout(grace, self.tasks.wait()).await.is_ok()
    }
}
