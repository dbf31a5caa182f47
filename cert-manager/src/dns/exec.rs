//! A program of the operator's that writes and removes records: `PROGRAM present|cleanup FQDN
//! VALUE`, where `FQDN` has no final dot. Its exit status says whether it is done.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use tokio::process::Command;

use super::{DnsError, Provider, TxtRecord, excerpt};

/// How long the program may run.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Runs one program.
#[derive(Debug)]
pub(super) struct Exec {
    program: PathBuf,
    time_limit: Duration,
}

impl Exec {
    /// Runs `program`, which is cert-manager's to name and not the Caddyfile's.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn new(program: Option<PathBuf>) -> Result<Self, DnsError> {
        let program = program.ok_or_else(|| {
            DnsError::new("the Caddyfile says `dns exec`, but cert-manager was given no program")
                .with_hint(
                    "start cert-manager with `--dns-exec PROGRAM` (PORTICO_DNS_EXEC), the path of \
                     a program in its container",
                )
        })?;
        Ok(Self {
            program,
            time_limit: TIME_LIMIT,
        })
    }

    async fn run(&self, action: &str, record: &TxtRecord) -> Result<(), DnsError> {
        let program = self.program.display();
        let running = Command::new(&self.program)
            .args([action, &record.name, &record.value])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        match tokio::time::timeout(self.time_limit, running).await {
            Ok(Ok(output)) if output.status.success() => Ok(()),
            Ok(Ok(output)) => Err(DnsError::new(format!(
                "`{program} {action} {}` failed: {}",
                record.name,
                describe(&output)
            ))
            .with_hint("what it says is for whoever wrote it")),
            Ok(Err(error)) => Err(DnsError::new(format!(
                "cannot run `{program}` (--dns-exec): {error}"
            ))
            .with_hint("is it in cert-manager's container, and executable for its user?")),
            Err(_) => Err(DnsError::new(format!(
                "`{program} {action} {}` was ended, since it took longer than {} s",
                record.name,
                self.time_limit.as_secs()
            ))
            .with_hint(
                "the program is to write the record and end; cert-manager waits for propagation",
            )),
        }
    }
}

#[async_trait]
impl Provider for Exec {
    async fn add(&self, record: &TxtRecord, _: Duration) -> Result<(), DnsError> {
        self.run("present", record).await
    }

    async fn remove(&self, record: &TxtRecord) -> Result<(), DnsError> {
        self.run("cleanup", record).await
    }
}

/// How a program ended, with what it said on its standard error.
fn describe(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    if said.trim().is_empty() {
        output.status.to_string()
    } else {
        format!("{}: {}", output.status, excerpt(&said))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn record() -> TxtRecord {
        TxtRecord {
            name: "_acme-challenge.school.org".to_owned(),
            value: "digest".to_owned(),
        }
    }

    /// A program that is the shell script `script`.
    fn program(folder: &tempfile::TempDir, script: &str) -> Exec {
        let path = folder.path().join("hook");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        Exec::new(Some(path)).unwrap()
    }

    #[tokio::test]
    async fn it_is_told_what_to_do_with_which_record() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let exec = program(&folder, &format!("echo \"$@\" >> {}", log.display()));
        exec.add(&record(), TIME_LIMIT).await.unwrap();
        exec.remove(&record()).await.unwrap();
        assert_eq!(
            std::fs::read_to_string(log).unwrap(),
            "present _acme-challenge.school.org digest\n\
             cleanup _acme-challenge.school.org digest\n"
        );
    }

    #[tokio::test]
    async fn its_words_are_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let exec = program(&folder, "echo no such zone >&2; exit 3");
        let error = exec.remove(&record()).await.unwrap_err().message;
        assert!(
            error.ends_with(
                "cleanup _acme-challenge.school.org` failed: exit status: 3: no such zone"
            ),
            "{error}"
        );
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let exec = Exec {
            time_limit: Duration::from_millis(50),
            ..program(&folder, "exec sleep 600")
        };
        let error = exec.add(&record(), TIME_LIMIT).await.unwrap_err();
        assert!(error.message.contains("was ended"), "{error}");
    }

    #[tokio::test]
    async fn without_a_program_the_flag_is_named() {
        let error = Exec::new(None).unwrap_err();
        assert!(error.hint.contains("--dns-exec"), "{error:?}");
        let exec = Exec::new(Some("/nowhere/hook".into())).unwrap();
        let error = exec.add(&record(), TIME_LIMIT).await.unwrap_err();
        assert!(error.message.contains("/nowhere/hook"), "{error}");
    }
}
