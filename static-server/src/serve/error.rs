//! Why a request is not answered with a file, and the status that says so.

use std::io;

use http::StatusCode;
use proto::file_request::FileHeaderError;
use proto::sidecar::error_chain::Chain;
use rustix::io::Errno;

use super::path::PathError;
use crate::warnings::Warnings;

/// Why a request is not answered with a file.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The file changed while it was read, also when it was tried again.
    #[error("the file `{path}` changes all the time")]
    Changing {
        /// The file, as requests name it.
        path: String,
    },
    /// The program may not read the file.
    #[error("`{path}` may not be read")]
    Forbidden {
        /// The file, as requests name it.
        path: String,
    },
    /// The `Portico-File` field cannot be understood.
    #[error("the Portico-File field cannot be understood")]
    Header(#[source] FileHeaderError),
    /// A symbolic link leads out of the root.
    #[error("a symbolic link on the way to `{path}` leads out of the site root")]
    Link {
        /// The file, as requests name it.
        path: String,
    },
    /// There is no such file, or it is hidden, or it is not one that is served.
    #[error("not found")]
    NotFound,
    /// The root of the site is in no volume.
    #[error("the site root `{root}` is in no volume")]
    Outside {
        /// The root that was asked for.
        root: String,
        /// The paths of the volumes there are.
        volumes: String,
    },
    /// The path cannot name a file.
    #[error("the path cannot name a file")]
    Path(#[source] PathError),
    /// The last of the files to try is a status.
    #[error("none of the files to try is there")]
    Status(StatusCode),
    /// The path is longer than any file name.
    #[error("the path is too long")]
    TooLong,
    /// The system could not open or read the file.
    #[error("opening or reading `{path}`")]
    Unavailable {
        /// The file, as requests name it.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The kernel would have to wait for the disk: to be tried again on a blocking thread.
    #[error("the disk is needed")]
    WouldBlock,
}

impl ServeError {
    /// The error for a file that could not be opened or read.
    pub fn from_io(error: io::Error, path: &[u8]) -> Self {
        let path = || String::from_utf8_lossy(path).into_owned();
        match Errno::from_io_error(&error) {
            Some(Errno::AGAIN) => Self::WouldBlock,
            Some(Errno::NOENT | Errno::NOTDIR | Errno::NXIO | Errno::NODEV) => Self::NotFound,
            Some(Errno::XDEV | Errno::LOOP) => Self::Link { path: path() },
            Some(Errno::ACCESS | Errno::PERM) => Self::Forbidden { path: path() },
            Some(Errno::NAMETOOLONG) => Self::TooLong,
            _ if error.kind() == io::ErrorKind::NotFound => Self::NotFound,
            _ => Self::Unavailable {
                path: path(),
                source: error,
            },
        }
    }

    /// Whether another file may be taken in place of this one.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Link { .. } | Self::NotFound | Self::TooLong)
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Changing { .. } | Self::Unavailable { .. } | Self::WouldBlock => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::Header(_) | Self::Path(_) | Self::TooLong => StatusCode::BAD_REQUEST,
            Self::Link { .. } | Self::NotFound | Self::Outside { .. } => StatusCode::NOT_FOUND,
            Self::Status(status) => *status,
        }
    }

    /// The reason for metrics, when it is one that an operator should know of.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Changing { .. } => Some("changing"),
            Self::Forbidden { .. } => Some("forbidden"),
            Self::Header(_) => Some("header"),
            Self::Link { .. } => Some("link"),
            Self::Outside { .. } => Some("outside"),
            Self::Unavailable { .. } => Some("unavailable"),
            Self::NotFound | Self::Path(_) | Self::Status(_) | Self::TooLong | Self::WouldBlock => {
                None
            }
        }
    }

    /// Logs what an operator should know of, a few lines a minute at most.
    pub fn log(&self, warnings: &Warnings) {
        let Some(reason) = self.reason() else {
            return;
        };
        let Some(unsaid) = warnings.admit(reason) else {
            return;
        };
        match self {
            Self::Outside { root, volumes } => tracing::warn!(
                root,
                volumes,
                unsaid,
                "a site root is in no volume, so its files are not found; \
                 add --volume {root}=DIR or correct `root` in the Caddyfile"
            ),
            Self::Forbidden { path } => tracing::warn!(
                path,
                unsaid,
                "a file may not be read; give the user of static-server (65532 in the image) \
                 permission to read it"
            ),
            Self::Link { path } => tracing::warn!(
                path,
                unsaid,
                "a symbolic link leads out of the site root, so the file is not found; \
                 links must be relative and stay below the root"
            ),
            other => tracing::warn!(error = %Chain(other), unsaid, "a file could not be served"),
        }
    }
}
