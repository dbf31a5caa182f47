//! What is run after a certificate was written.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::files::Written;
use crate::name::Name;

/// A program with its arguments.
#[derive(Debug)]
pub(super) struct Hook {
    words: Vec<String>,
    timeout: Duration,
}

impl Hook {
    /// Reads a command line: by a shell where `is_for_shell` says so, else into words, of which
    /// quotes keep some together.
    pub(super) fn new(text: &str, is_for_shell: bool, timeout: Duration) -> Result<Self, String> {
        let words = if is_for_shell {
            ["sh", "-c", text].map(str::to_owned).into()
        } else {
            shlex::split(text)
                .filter(|words| !words.is_empty())
                .ok_or_else(|| format!("`{text}` (--hook) has a quote that does not end"))?
        };
        Ok(Self { words, timeout })
    }

    /// Runs the hook for `name`, to its end.
    pub(super) async fn run(&self, name: &Name, written: &Written) -> Result<(), String> {
        let mut child = self
            .command(name, written)
            .spawn()
            .map_err(|error| format!("`{}` cannot be run: {error}", self.words[0]))?;
        match tokio::time::timeout(self.timeout, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("it ended with {status}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => {
                end(&mut child).await;
                let seconds = self.timeout.as_secs();
                Err(format!(
                    "it took longer than {seconds} s (--hook-timeout) and was ended"
                ))
            }
        }
    }

    fn command(&self, name: &Name, written: &Written) -> Command {
        let mut command = Command::new(&self.words[0]);
        command
            .args(&self.words[1..])
            .env("PORTICO_NAME", name.as_str())
            .env("PORTICO_CRT", &written.chain)
            .env("PORTICO_KEY", &written.key)
            .env("PORTICO_PEM", &written.both)
            .stdin(Stdio::null())
            // Of its own, so that what it starts ends with it.
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// Ends a hook and what it started.
async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    let ended = group.map(|group| kill_process_group(group, Signal::KILL));
    if let Some(Err(error)) = ended {
        tracing::warn!(%error, "a hook cannot be ended");
    }
    if let Err(error) = child.wait().await {
        tracing::warn!(%error, "a hook cannot be waited for");
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn run(text: &str, is_for_shell: bool, timeout: Duration) -> Result<(), String> {
        let written = Written {
            both: PathBuf::from("/certs/a.pem"),
            chain: PathBuf::from("/certs/a.crt"),
            key: PathBuf::from("/certs/a.key"),
            is_change: true,
        };
        let hook = Hook::new(text, is_for_shell, timeout)?;
        hook.run(&Name::parse("a.school.org").unwrap(), &written)
            .await
    }

    #[tokio::test]
    async fn a_shell_reads_the_hook_only_if_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = |file: &str| folder.path().join(file).display().to_string();
        // Without a shell this is one program with an odd argument.
        run(&format!("touch '{};x'", path("a")), false, LONG)
            .await
            .unwrap();
        assert!(folder.path().join("a;x").exists());
        let text = format!("echo \"$PORTICO_NAME $PORTICO_PEM\" > {}", path("b"));
        run(&text, true, LONG).await.unwrap();
        let told = std::fs::read_to_string(path("b")).unwrap();
        assert_eq!(told, "a.school.org /certs/a.pem\n");
    }

    #[tokio::test]
    async fn failures_are_told() {
        let error = run("false", false, LONG).await.unwrap_err();
        assert!(error.contains("exit status: 1"), "{error}");
        let error = run("/nowhere/hook now", false, LONG).await.unwrap_err();
        assert!(error.contains("/nowhere/hook"), "{error}");
        let error = run("echo 'open", false, LONG).await.unwrap_err();
        assert!(error.contains("quote"), "{error}");
        // What it started ends with it, or this would never come back.
        let error = run("sleep 600 & wait", true, Duration::from_millis(200)).await;
        assert!(error.unwrap_err().contains("--hook-timeout"));
    }
}
