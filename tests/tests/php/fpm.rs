//! A php-fpm of a test's own.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::process::Signal;
use tests::process::Program;
use tests::wait;
use tokio::net::UnixStream;
use tokio::process::Command;

/// A running php-fpm, killed with its workers when it is dropped.
#[derive(Debug)]
pub(crate) struct Fpm {
    program: Program,
    socket: PathBuf,
}

impl Fpm {
    /// Starts one that listens on a socket in `folder`.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let socket = folder.join("php.sock");
        let configuration = folder.join("php-fpm.conf");
        let text = format!(
            "[global]
error_log = /dev/stderr
daemonize = no
[www]
{}listen = {}
pm = static
pm.max_children = 3
php_admin_flag[log_errors] = on
php_admin_flag[display_errors] = off
php_admin_value[output_buffering] = 0
",
            if rustix::process::getuid().is_root() {
                "user = root\ngroup = root\n"
            } else {
                ""
            },
            socket.display()
        );
        std::fs::write(&configuration, text).context("configuring php-fpm")?;
        let mut command = Command::new(Self::binary()?);
        // As root where the test is, without the system's settings, in the foreground.
        command
            .process_group(0)
            .args(["-R", "-n", "-F", "-y"])
            .arg(&configuration);
        let program = Program::start("php-fpm", command, folder)?;
        let fpm = Self { program, socket };
        let answers = wait::until("php-fpm listens", async || {
            UnixStream::connect(&fpm.socket).await.context("connecting")
        });
        let answers = answers.await.map(drop);
        answers.with_context(|| fpm.program.log().unwrap_or_default())?;
        Ok(fpm)
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Ends it, and takes its socket away as a container that goes does.
    ///
    /// # Errors
    /// When it does not end.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.program.signal_group(Signal::TERM)?;
        self.program.ended().await?;
        match std::fs::remove_file(&self.socket) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("removing the socket")
            }
            _ => Ok(()),
        }
    }

    fn binary() -> anyhow::Result<PathBuf> {
        if let Some(path) = std::env::var_os("PHP_FPM") {
            return Ok(path.into());
        }
        let folder = std::fs::read_dir("/usr/sbin").context("looking for php-fpm")?;
        let mut found = folder.filter_map(|entry| Some(entry.ok()?.path()));
        found
            .find(|path| {
                let name = path.file_name().and_then(|name| name.to_str());
                name.is_some_and(|name| name.starts_with("php-fpm"))
            })
            .context("there is no php-fpm in /usr/sbin: install it, or name it in PHP_FPM")
    }
}

impl Drop for Fpm {
    fn drop(&mut self) {
        // It may have ended by itself. Workers of a master that is killed alone would stay.
        let _ = self.program.signal_group(Signal::KILL);
    }
}
