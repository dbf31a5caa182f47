//! Runs a program for each event.

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::mpsc;

use super::Event;

/// How long a program may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A program that is run for each event, one after the other: with the event as JSON on its
/// standard input and in environment variables.
#[derive(Clone, Debug)]
pub struct ExecSink {
    program: PathBuf,
}

impl ExecSink {
    /// Runs `program`, which is no shell's command line.
    pub fn new(program: PathBuf) -> Self {
        Self { program }
    }

    pub(super) async fn run(self, mut events: mpsc::Receiver<Event>) {
        while let Some(event) = events.recv().await {
            if let Err(error) = self.tell(&event).await {
                tracing::warn!(
                    program = %self.program.display(),
                    event = event.event.as_str(),
                    name = event.name,
                    error,
                    "a program was not told of an event (--event-exec)"
                );
            }
        }
    }

    async fn tell(&self, event: &Event) -> Result<(), String> {
        let body = serde_json::to_vec(event).map_err(|error| error.to_string())?;
        let moment = |at: Option<jiff::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
        let mut child = Command::new(&self.program)
            .env("PORTICO_EVENT", event.event.as_str())
            .env("PORTICO_EVENT_AT", event.at.to_string())
            .env("PORTICO_EVENT_NAME", &event.name)
            .env("PORTICO_EVENT_ISSUER", &event.issuer)
            .env("PORTICO_EVENT_SERIAL", &event.serial)
            .env("PORTICO_EVENT_NOT_AFTER", moment(event.not_after))
            .env("PORTICO_EVENT_FAILURES", event.failures.to_string())
            .env("PORTICO_EVENT_PROBLEM", &event.problem)
            .env("PORTICO_EVENT_HINT", &event.hint)
            .env("PORTICO_EVENT_NEXT_ATTEMPT", moment(event.next_attempt))
            // It is for the webhooks alone.
            .env_remove(super::webhook::TOKEN_VARIABLE)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("it cannot be run: {error}"))?;
        let finish = async {
            if let Some(mut input) = child.stdin.take() {
                // A program may leave its input unread.
                let _ = input.write_all(&body).await;
            }
            child.wait().await
        };
        match tokio::time::timeout(TIMEOUT, finish).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("it ended with {status}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("it took longer than {TIMEOUT:?} and was ended")),
        }
    }
}

impl fmt::Display for ExecSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.program.display().fmt(f)
    }
}
