//! The Compose project of a test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

/// How long one Compose command may take.
const DEADLINE: &str = "180";

/// A Compose project of its own, removed with its volumes when dropped.
///
/// `COMPOSE` names the command (`docker compose`), `PORTICO_IMAGES` the images' prefix.
#[derive(Debug)]
pub struct Project {
    command: Vec<String>,
    environment: Vec<(String, String)>,
    folder: TempDir,
}

impl Project {
    /// A project of some of the files in `compose/`; nothing runs yet.
    ///
    /// # Errors
    /// When there is no folder to be had.
    pub fn new(files: &[&str], environment: Vec<(String, String)>) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("portico-compose-").context("making a folder")?;
        let name = folder
            .path()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        let compose = Path::new(env!("CARGO_MANIFEST_DIR")).join("../compose");
        let mut command: Vec<String> = std::env::var("COMPOSE")
            .unwrap_or_else(|_| "docker compose".to_owned())
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        command.extend(["-p".to_owned(), name.replace('.', "")]);
        for file in files {
            let path = compose.join(file);
            command.extend(["-f".to_owned(), path.to_string_lossy().into_owned()]);
        }
        Ok(Self {
            command,
            environment,
            folder,
        })
    }

    /// Runs a Compose command and returns what it wrote to standard output.
    ///
    /// # Errors
    /// When it fails, with what it wrote.
    pub fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.output(args)?;
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        ensure!(output.status.success(), "{args:?} failed:\n{out}{err}");
        Ok(out)
    }

    /// Runs a command of the Docker client.
    ///
    /// # Errors
    /// When it fails, with what it wrote.
    pub fn docker(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = Command::new("docker")
            .args(args)
            .output()
            .context("running docker")?;
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        ensure!(
            output.status.success(),
            "docker {args:?} failed:\n{out}{err}"
        );
        Ok(out)
    }

    /// The ids of a service's containers.
    ///
    /// # Errors
    /// When Compose fails.
    pub fn containers(&self, service: &str) -> anyhow::Result<Vec<String>> {
        Ok(self
            .run(&["ps", "-q", service])?
            .lines()
            .map(str::to_owned)
            .collect())
    }

    /// Copies a file out of a service's first container.
    ///
    /// # Errors
    /// When there is none.
    pub fn copy(&self, service: &str, path: &str) -> anyhow::Result<PathBuf> {
        let container = self
            .containers(service)?
            .into_iter()
            .next()
            .context("no container")?;
        let target = self.folder.path().join("copied");
        let source = format!("{container}:{path}");
        self.docker(&["cp", &source, &target.to_string_lossy()])?;
        Ok(target)
    }

    fn output(&self, args: &[&str]) -> anyhow::Result<Output> {
        Command::new("timeout")
            .arg(DEADLINE)
            .args(&self.command)
            .args(args)
            .envs(self.environment.iter().cloned())
            .output()
            .with_context(|| format!("running {:?} {args:?}", self.command))
    }
}

impl Drop for Project {
    #[expect(
        clippy::print_stdout,
        reason = "shown by the test runner when the test fails"
    )]
    fn drop(&mut self) {
        for args in [
            &["logs", "--no-color", "--tail", "100"][..],
            &["down", "--volumes"],
        ] {
            match self.output(args) {
                Ok(output) => println!("{}{}", text(&output.stdout), text(&output.stderr)),
                Err(error) => println!("{error:#}"),
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
