//! What the command line says, checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::serve::path::clean;

/// One `--volume PATH=DIR`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeArg {
    /// The path that requests name, clean and absolute.
    pub path: String,
    /// The folder that holds it.
    pub directory: PathBuf,
}

/// How a server is to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where files are asked for, over HTTP/1.1 and HTTP/2 without TLS.
    pub listen: SocketAddr,
    /// Where changes are asked for, over gRPC with mutual TLS.
    pub events_listen: SocketAddr,
    /// Folder of the sockets over which proxies on this host are given open files; one that is not
    /// there leaves it at HTTP.
    pub handoff: PathBuf,
    /// What is served.
    pub volumes: Vec<VolumeArg>,
    /// What anybody may have uploaded.
    pub untrusted: Vec<UntrustedArg>,
}

/// One `--untrusted PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UntrustedArg {
    /// The path as requests name it, clean and absolute.
    pub path: String,
}

impl FromStr for UntrustedArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        absolute(text).map(|path| Self { path })
    }
}

impl FromStr for VolumeArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((path, directory)) = text.split_once('=') else {
            return Err(format!(
                "`{text}` is not PATH=DIR, such as /srv/static={text}"
            ));
        };
        if directory.is_empty() {
            return Err(format!("no folder is given for `{path}`"));
        }
        Ok(Self {
            path: absolute(path)?,
            directory: PathBuf::from(directory),
        })
    }
}

/// A path as requests name it.
fn absolute(path: &str) -> Result<String, String> {
    if !path.starts_with('/') {
        return Err(format!("the path `{path}` does not start with a slash"));
    }
    let path = String::from_utf8(clean(path.as_bytes())).map_err(|error| error.to_string())?;
    Ok(format!("/{path}"))
}

/// Checks that no two volumes share a path.
///
/// # Errors
/// Names the path that two volumes have.
pub fn check_volumes(volumes: &[VolumeArg]) -> Result<(), String> {
    for (at, volume) in volumes.iter().enumerate() {
        if volumes[..at].iter().any(|other| other.path == volume.path) {
            return Err(format!(
                "two volumes (--volume) have the path `{}`",
                volume.path
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{VolumeArg, check_volumes};

    #[test]
    fn what_is_not_trusted_is_a_path() {
        let path = |text: &str| text.parse::<super::UntrustedArg>().map(|arg| arg.path);
        assert_eq!(path("/srv/media/").unwrap(), "/srv/media");
        assert!(path("media").is_err() && path("").is_err());
    }

    #[test]
    fn volumes_are_path_and_directory() {
        let volume: VolumeArg = "/srv/static/=data/st=atic".parse().unwrap();
        assert_eq!(volume.path, "/srv/static");
        assert_eq!(volume.directory.to_str(), Some("data/st=atic"));
        for wrong in ["/srv", "srv=/srv", "/srv=", ""] {
            assert!(wrong.parse::<VolumeArg>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn two_volumes_cannot_share_a_path() {
        let volume = |text: &str| text.parse::<VolumeArg>().unwrap();
        assert!(check_volumes(&[volume("/a=/x"), volume("/b=/x")]).is_ok());
        assert!(check_volumes(&[volume("/a=/x"), volume("/a/=/y")]).is_err());
    }
}
