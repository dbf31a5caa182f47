//! The real programs as child processes.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};

use crate::wait;

/// A program that runs, with its log. Killed when dropped; its log then goes to the test's output,
/// which is shown when the test fails.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
    pid: Pid,
}

impl Program {
    /// Starts `command`; what it writes goes to a new file `NAME.log` in `folder`.
    ///
    /// # Errors
    /// When the log cannot be made or the program cannot be run.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> anyhow::Result<Self> {
        let log = new_log(name, folder);
        let file = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("sharing the log")?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("running {:?}", command.as_std()))?;
        let pid = child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .context("the program ended at once")?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
            pid,
        })
    }

    /// Everything written so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> anyhow::Result<String> {
        std::fs::read_to_string(&self.log)
            .with_context(|| format!("reading {}", self.log.display()))
    }

    /// Waits for a line that holds every one of `parts`, and returns it.
    ///
    /// # Errors
    /// When none comes, or the program ends without it.
    pub async fn logged(&mut self, parts: &[&str]) -> anyhow::Result<String> {
        let what = format!("{} logs {parts:?}", self.name);
        wait::until(&what, async || {
            let ended = self.child.try_wait().context("looking after the program")?;
            let log = self.log()?;
            let line = log
                .lines()
                .find(|line| parts.iter().all(|part| line.contains(part)));
            match line {
                Some(line) => Ok(line.to_owned()),
                None => bail!("no such line (ended: {ended:?}) in:\n{log}"),
            }
        })
        .await
    }

    /// Sends a signal to the program's process group, which it must have been given
    /// (`process_group(0)`).
    ///
    /// # Errors
    /// When the system refuses.
    pub fn signal_group(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process_group(self.pid, signal)
            .with_context(|| format!("signalling the processes of {}", self.name))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the program is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(self.pid, signal)
            .with_context(|| format!("sending {signal:?} to {}", self.name))
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When it does not come.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        tokio::time::timeout(wait::DEADLINE, self.child.wait())
            .await
            .with_context(|| {
                format!(
                    "{} does not end:\n{}",
                    self.name,
                    self.log().unwrap_or_default()
                )
            })?
            .context("waiting for the program")
    }

    /// SIGTERM, then the end.
    ///
    /// # Errors
    /// When it is gone already or does not end.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.ended().await
    }

    /// SIGKILL, then the end.
    ///
    /// # Errors
    /// When it is gone already.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.ended().await.map(drop)
    }

    /// The most memory it ever held, in bytes.
    ///
    /// # Errors
    /// When the program is gone.
    pub fn peak_memory(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/status", self.pid);
        let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let kibibytes: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|value| value.trim().strip_suffix(" kB"))
            .with_context(|| format!("no VmHWM in {path}"))?
            .parse()
            .with_context(|| format!("reading VmHWM of {path}"))?;
        Ok(kibibytes * 1024)
    }
}

impl Drop for Program {
    #[expect(
        clippy::print_stdout,
        reason = "shown by the test runner when the test fails"
    )]
    fn drop(&mut self) {
        println!(
            "--- log of {}\n{}",
            self.name,
            self.log().unwrap_or_default()
        );
    }
}

/// The path of one of the workspace's programs: in `PORTICO_BIN_DIR`, else beside the tests.
///
/// # Errors
/// When it has not been built.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let folder = match std::env::var_os("PORTICO_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            // target/TRIPLE/PROFILE/deps/TEST
            let test = std::env::current_exe().context("finding this test's path")?;
            let profile = test
                .ancestors()
                .nth(2)
                .context("finding the target folder")?;
            profile.to_owned()
        }
    };
    let path = folder.join(name);
    if !path.is_file() {
        bail!(
            "{} is not built: run `cargo build --workspace --bins`",
            path.display()
        );
    }
    Ok(path)
}

/// Runs a program to its end and returns what it wrote.
///
/// # Errors
/// When it cannot be run or does not end; its exit status is the caller's to judge.
pub async fn run(program: impl AsRef<OsStr>, args: &[&str]) -> anyhow::Result<Output> {
    let program = program.as_ref();
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    tokio::time::timeout(wait::DEADLINE, output)
        .await
        .with_context(|| format!("{program:?} {args:?} does not end"))?
        .with_context(|| format!("running {program:?} {args:?}"))
}

fn new_log(name: &str, folder: &Path) -> PathBuf {
    (1..)
        .map(|run| folder.join(format!("{name}.{run}.log")))
        .find(|path| !path.exists())
        .expect("the numbers do not end")
}
