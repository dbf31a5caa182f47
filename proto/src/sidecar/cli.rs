//! The flags that all programs share, and the exit codes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

/// Flags of every program's `serve`, and of the commands that reach a running program.
#[derive(Clone, Debug, clap::Args)]
pub struct CommonArgs {
    /// Folder of this program's mutual TLS identity (in cert-manager: of all roles)
    #[arg(
        long,
        env = "PORTICO_CONTROL",
        default_value = "/control",
        value_name = "DIR",
        global = true
    )]
    pub control: PathBuf,
    /// How log lines are written [default: console on a terminal, else json]
    #[arg(
        long,
        env = "PORTICO_LOG_FORMAT",
        value_enum,
        value_name = "FORMAT",
        global = true
    )]
    pub log_format: Option<LogFormat>,
    /// Least severe level that is logged: error, warn, info, debug or trace, also per module
    #[arg(
        long,
        env = "PORTICO_LOG_LEVEL",
        default_value = "info",
        value_name = "LEVEL",
        global = true
    )]
    pub log_level: String,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people, with colours on a terminal.
    Console,
    /// One JSON object a line.
    Json,
}

/// Where the administration listener is: a TCP address, or `unix:PATH`.
///
/// A Unix socket lets several programs share one network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// `HOST:PORT` with a literal address.
    Tcp(SocketAddr),
    /// `unix:` and the path of the socket.
    Unix(PathBuf),
}

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            format!("`{text}` is neither an address such as 127.0.0.1:9080 nor unix:PATH")
        })
    }
}

impl std::fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Failed while running.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::Usage => Self::from(2),
        }
    }
}
