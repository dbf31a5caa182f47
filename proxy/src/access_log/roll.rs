//! A log file that is set aside when it has grown large, and removed when it is old.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use async_compression::tokio::write::GzipEncoder;
use caddyfile::document::FileWriter;
use tokio::io::AsyncWrite;

use crate::compile::Scope;

/// A log file and when it is rolled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rolling {
    path: PathBuf,
    mode: u32,
    /// Bytes at which it is set aside; `None` is never.
    size: Option<u64>,
    keep: usize,
    keep_for: Duration,
    compresses: bool,
    is_local: bool,
}

/// A log file that is open.
pub(super) struct RollingFile {
    rolling: Rolling,
    open: Option<(BufWriter<File>, u64)>,
}

const MEBIBYTE: u64 = 1024 * 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Rolling {
    pub(super) fn compile(document: &FileWriter, scope: &mut Scope) -> Option<Self> {
        for (is_used, name) in [
            (
                document.roll_interval.as_nanoseconds() != 0,
                ".roll_interval",
            ),
            (!document.roll_minutes.is_empty(), ".roll_minutes"),
            (!document.roll_at.is_empty(), ".roll_at"),
            (
                !document.backup_time_format.is_empty(),
                ".backup_time_format",
            ),
        ] {
            if is_used {
                scope.within(name, |scope| {
                    scope.error_with_hint("this is not supported", "roll by size: `roll_size`");
                });
            }
        }
        let compresses = match document.roll_compression.as_str() {
            "" => document.roll_gzip.unwrap_or(true),
            "gzip" => true,
            "none" => false,
            other => {
                scope.error_with_hint(
                    format!("rolled files cannot be compressed by `{other}`"),
                    "use `gzip` or `none`",
                );
                true
            }
        };
        let mode = match document.mode.as_str() {
            "" => Some(0o600),
            mode => u32::from_str_radix(mode, 8)
                .ok()
                .filter(|mode| *mode <= 0o777),
        };
        let Some(mode) = mode else {
            scope.error_with_hint(
                format!("`{}` is no file mode", document.mode),
                "write it in octal, such as `0640`",
            );
            return None;
        };
        let path = scope.constant(&document.filename);
        if path.is_empty() {
            scope.error("the log file has no name");
            return None;
        }
        let positive = |value: i64, default: u64| match u64::try_from(value) {
            Ok(0) | Err(_) => default,
            Ok(value) => value,
        };
        Some(Self {
            path: scope.context.folder.join(path),
            mode,
            size: document
                .roll
                .unwrap_or(true)
                .then(|| positive(document.roll_size_mb, 100) * MEBIBYTE),
            keep: usize::try_from(positive(document.roll_keep, 10)).unwrap_or(usize::MAX),
            keep_for: DAY
                * u32::try_from(positive(document.roll_keep_days, 90)).unwrap_or(u32::MAX),
            compresses,
            is_local: document.roll_local_time,
        })
    }

    /// The name that the file is set aside under, and what its siblings begin with.
    fn backup(&self) -> (PathBuf, String) {
        let stem = self
            .path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let zone = if self.is_local {
            jiff::tz::TimeZone::system()
        } else {
            jiff::tz::TimeZone::UTC
        };
        let now = jiff::Timestamp::now()
            .to_zoned(zone)
            .strftime("%Y-%m-%dT%H-%M-%S%.3f");
        let mut name = format!("{stem}-{now}");
        if let Some(extension) = self.path.extension() {
            name.push('.');
            name.push_str(&extension.to_string_lossy());
        }
        (self.path.with_file_name(name), format!("{stem}-"))
    }
}

impl RollingFile {
    pub(super) fn new(rolling: Rolling) -> Self {
        Self {
            rolling,
            open: None,
        }
    }

    /// The file, opened now if it is not. A file that somebody else moved away is left to them.
    fn file(&mut self) -> io::Result<&mut (BufWriter<File>, u64)> {
        if self.open.is_none() {
            if let Some(folder) = self.rolling.path.parent() {
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(folder)?;
            }
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(self.rolling.mode)
                .open(&self.rolling.path)?;
            let size = file.metadata()?.len();
            self.open = Some((BufWriter::new(file), size));
        }
        self.open
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn roll(&mut self) -> io::Result<()> {
        if let Some((mut file, _)) = self.open.take() {
            file.flush()?;
        }
        let (backup, prefix) = self.rolling.backup();
        fs::rename(&self.rolling.path, &backup)?;
        if self.rolling.compresses {
            compress(&backup, self.rolling.mode)?;
        }
        remove_old(&self.rolling, &prefix)
    }
}

impl Write for RollingFile {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        let limit = self.rolling.size.unwrap_or(u64::MAX);
        let length = entry.len() as u64;
        let (_, size) = *self
            .file()
            .map(|(_, size)| ((), *size))
            .as_ref()
            .map_err(again)?;
        if size > 0 && size + length > limit {
            self.roll()?;
        }
        let (file, size) = self.file()?;
        file.write_all(entry)?;
        *size += length;
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.open.as_mut().map_or(Ok(()), |(file, _)| file.flush())
    }
}

fn again(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

/// Replaces a file by its compressed form.
fn compress(path: &Path, mode: u32) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    let mut from = File::open(path)?;
    let mut to = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&name)?;
    let mut encoder = GzipEncoder::new(Vec::new());
    let mut chunk = vec![0; 64 * 1024];
    // The encoder writes into memory, so it is never pending.
    let mut context = Context::from_waker(Waker::noop());
    loop {
        let length = from.read(&mut chunk)?;
        let mut rest = &chunk[..length];
        while !rest.is_empty() {
            let written = ready(Pin::new(&mut encoder).poll_write(&mut context, rest))?;
            rest = &rest[written..];
        }
        if length == 0 {
            ready(Pin::new(&mut encoder).poll_shutdown(&mut context))?;
        }
        to.write_all(encoder.get_ref())?;
        encoder.get_mut().clear();
        if length == 0 {
            return fs::remove_file(path);
        }
    }
}

fn ready<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Removes the files that were set aside beyond the number and age that are kept.
fn remove_old(rolling: &Rolling, prefix: &str) -> io::Result<()> {
    let folder = rolling
        .path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut backups: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder.unwrap_or_else(|| Path::new(".")))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // A time follows: other logs may begin with the same word.
        let is_backup = name
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
        if is_backup {
            backups.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    backups.sort();
    let excess = backups.len().saturating_sub(rolling.keep);
    let oldest = SystemTime::now()
        .checked_sub(rolling.keep_for)
        .unwrap_or(SystemTime::UNIX_EPOCH);
    for (index, (modified, path)) in backups.into_iter().enumerate() {
        if index < excess || modified < oldest {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
