//! Repeats a request while the authority only dislikes its nonce.

use std::time::Duration;

use instant_acme::Error;
use tokio::time::Instant;

use super::failure::Failure;
use super::http::Transport;
use crate::record::Step;

/// How long a step that is one request may take, with its repetitions.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a step is sent again because of its nonce, beyond what instant-acme does by itself.
const NONCE_RETRIES: u32 = 5;

/// The attempts at one step.
#[derive(Debug)]
pub(super) struct Tries<'a> {
    step: Step,
    transport: &'a Transport,
    timeout: Duration,
    deadline: Instant,
    left: u32,
}

impl<'a> Tries<'a> {
    /// Attempts at `step` that may take `timeout` together.
    pub(super) fn new(step: Step, transport: &'a Transport, timeout: Duration) -> Self {
        transport.begin(step);
        Self {
            step,
            transport,
            timeout,
            deadline: Instant::now() + timeout,
            left: NONCE_RETRIES,
        }
    }

    /// Makes one attempt; `None` when it should be made again.
    pub(super) async fn run<T>(
        &mut self,
        attempt: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, Failure> {
        match tokio::time::timeout_at(self.deadline, attempt).await {
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(error)) if self.left > 0 && Failure::is_bad_nonce(&error) => {
                self.left -= 1;
                Ok(None)
            }
            Ok(Err(error)) => Err(Failure::of_request(self.step, error, self.transport)),
            Err(_) => Err(Failure::slow(self.step, self.timeout)),
        }
    }
}

/// Evaluates a future, anew for each attempt, until it is done or fails for good. A macro, since a
/// closure that lends to its future cannot be shown to be `Send`.
macro_rules! retried {
    ($step:expr, $transport:expr, $timeout:expr, $attempt:expr $(,)?) => {{
        let mut tries = $crate::issuer::acme::tries::Tries::new($step, $transport, $timeout);
        loop {
            match tries.run($attempt).await {
                Ok(Some(value)) => break Ok(value),
                Ok(None) => {}
                Err(failure) => break Err(failure),
            }
        }
    }};
}

pub(super) use retried;
