//! The socket of one replica, in a folder that it shares with proxies and other replicas.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::handoff::{Connection, EXTENSION, Listener};

/// For the user and the group that it runs as.
const MODE: u32 = 0o660;
/// What a socket's name ends in until it is listened at, so that whoever finds one that ends in
/// [`EXTENSION`] can connect, unless the replica is gone.
const UNFINISHED: &str = "new";
/// Age at which such a name is one that a replica left behind.
const STALE: Duration = Duration::from_secs(60);

/// A socket that is listened at, and is removed when this is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: Listener,
    path: PathBuf,
}

impl Socket {
    /// Listens at a new socket in `folder`, and removes those that replicas left behind which are
    /// gone. `name` differs between replicas.
    ///
    /// # Errors
    /// When the folder is not there or not writable, or its path is too long for a socket.
    pub fn bind(folder: &Path, name: &str) -> io::Result<Self> {
        remove_stale(folder)?;
        let unfinished = folder.join(format!("{name}.{UNFINISHED}"));
        let listener = Listener::bind(&unfinished)?;
        let socket = Self {
            listener,
            path: folder.join(format!("{name}.{EXTENSION}")),
        };
        std::fs::set_permissions(&unfinished, Permissions::from_mode(MODE))?;
        std::fs::rename(&unfinished, &socket.path)?;
        Ok(socket)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next connection.
    ///
    /// # Errors
    /// When none can be accepted, or the peer runs as a user that is not trusted.
    pub async fn accept(&self) -> io::Result<Connection> {
        self.listener.accept().await
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(socket = %self.path.display(), %error, "the socket cannot be removed");
        }
    }
}

fn remove_stale(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let is_stale = match extension {
            Some(EXTENSION) => Connection::open(&path)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused),
            Some(UNFINISHED) => is_old(&path),
            _ => false,
        };
        if is_stale && let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(
                socket = %path.display(),
                %error,
                "the socket of a static-server that is gone cannot be removed"
            );
        }
    }
    Ok(())
}

fn is_old(path: &Path) -> bool {
    let modified = std::fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    modified
        .ok()
        .and_then(|modified| modified.elapsed().ok())
        .is_some_and(|age| age > STALE)
}
