//! Waiting for something to become true.

use std::time::Duration;

use tokio::time::Instant;

/// Long enough for anything that works, on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often a predicate is asked again.
const INTERVAL: Duration = Duration::from_millis(25);

/// Asks `check` until it gives a value.
///
/// # Errors
/// After [`DEADLINE`], naming `what` was waited for and the last reason that `check` gave.
pub async fn until<T>(
    what: &str,
    check: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    until_within(DEADLINE, what, check).await
}

/// As [`until`], with another deadline.
///
/// # Errors
/// After `deadline`, naming `what` was waited for and the last reason that `check` gave.
pub async fn until_within<T>(
    deadline: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let end = Instant::now() + deadline;
    let mut last = anyhow::anyhow!("no attempt finished");
    loop {
        match tokio::time::timeout_at(end, check()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => last = error,
            Err(_) => {}
        }
        if Instant::now() >= end {
            return Err(last.context(format!("waited {deadline:?} until {what}")));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
