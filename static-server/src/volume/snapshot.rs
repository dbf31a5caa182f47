//! What is known of a file at one moment.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::FileType;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A FIFO, a device, a socket or a link: never served.
    Other,
}

/// The state of a file at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What it is.
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
    /// Last modification of the content: seconds since 1970, and nanoseconds.
    pub modified: (i64, u32),
    /// Inode number.
    pub inode: u64,
    /// Number of the device that holds it.
    pub device: u64,
}

/// How far apart two changes must be for their times to differ: kernels before 6.13 take the time
/// of a change from a clock that ticks every 1 to 10 ms.
const TICK: Duration = Duration::from_millis(15);

impl Snapshot {
    /// The present state of an open file.
    ///
    /// # Errors
    /// When the file system cannot say.
    pub fn of(file: impl AsFd) -> io::Result<Self> {
        let stat = rustix::fs::fstat(file)?;
        Ok(Self {
            kind: match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => Kind::Directory,
                FileType::RegularFile => Kind::File,
                _ => Kind::Other,
            },
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (
                stat.st_mtime,
                u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            ),
            inode: stat.st_ino,
            device: stat.st_dev,
        })
    }

    /// How long it takes until a further change is sure to show in [`Self::modified`]; `None` when
    /// it is. Before that the file may be half written, or be written again under the same time.
    pub fn settles_in(&self, now: SystemTime) -> Option<Duration> {
        let seconds = Duration::from_secs(u64::try_from(self.modified.0).ok()?);
        let modified =
            UNIX_EPOCH.checked_add(seconds + Duration::from_nanos(self.modified.1.into()))?;
        // A time that is to come was given to the file, or is another machine's.
        let age = now.duration_since(modified).ok()?;
        TICK.checked_sub(age).filter(|left| !left.is_zero())
    }

    /// Whether `later`, of the same open file, still has the same content. A file that was only
    /// unlinked or renamed has.
    pub fn has_content_of(&self, later: &Self) -> bool {
        (self.size, self.modified) == (later.size, later.modified)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{Kind, Snapshot, TICK};

    #[test]
    fn a_file_settles_one_tick_after_its_change() {
        let snapshot = |modified| Snapshot {
            kind: Kind::File,
            size: 1,
            modified,
            inode: 1,
            device: 1,
        };
        let change = UNIX_EPOCH + Duration::new(1_700_000_000, 5);
        let file = snapshot((1_700_000_000, 5));
        let ms = Duration::from_millis;
        assert_eq!(file.settles_in(change), Some(TICK));
        assert_eq!(file.settles_in(change + ms(5)), Some(TICK - ms(5)));
        assert_eq!(file.settles_in(change + TICK), None);
        assert_eq!(file.settles_in(change - ms(1)), None);
        for odd in [(-5, 0), (i64::MAX, 999_999_999), (0, 0)] {
            assert_eq!(snapshot(odd).settles_in(change), None, "{odd:?}");
        }
    }
}
