//! Validators of a representation (RFC 9110 section 8.8): entity tag and modification date.

use std::time::{Duration, UNIX_EPOCH};

use headers::ETag;
use http::HeaderValue;

use crate::volume::Snapshot;

/// What tells one version of a representation from another.
#[derive(Clone, Debug, Default)]
pub struct Validators {
    /// The entity tag, for comparing.
    pub etag: Option<ETag>,
    /// The entity tag, for sending.
    pub etag_value: Option<HeaderValue>,
    /// Seconds since 1970 of the last modification.
    pub modified_seconds: Option<i64>,
}

impl Validators {
    /// The validators of what is sent.
    ///
    /// `sent` is the file whose bytes are sent; `named` is the one that the request names, which
    /// differs for a precompressed sibling, and whose date is shown, as in Caddy. The tag is a weak
    /// one unless `is_settled`: only then has every other content another tag.
    pub fn new(sent: &Snapshot, named: &Snapshot, is_settled: bool) -> Self {
        let etag_value = has_useful_date(sent).then(|| etag(sent, is_settled));
        Self {
            etag: etag_value
                .as_ref()
                .and_then(|value| value.to_str().ok()?.parse().ok()),
            etag_value,
            modified_seconds: has_useful_date(named).then_some(named.modified.0),
        }
    }

    /// The value of `Last-Modified`.
    pub fn last_modified(&self) -> Option<HeaderValue> {
        let seconds = u64::try_from(self.modified_seconds?).ok()?;
        let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
        // A four-digit year is all that the format can hold, and all that the formatter accepts.
        if seconds >= FIRST_SECOND_OF_YEAR_10000 {
            return None;
        }
        HeaderValue::from_str(&httpdate::fmt_http_date(time)).ok()
    }

    #[cfg(test)]
    pub(crate) fn for_test(etag: &'static str, modified_seconds: i64) -> Self {
        Self {
            etag: etag.parse().ok(),
            etag_value: Some(HeaderValue::from_static(etag)),
            modified_seconds: Some(modified_seconds),
        }
    }
}

const FIRST_SECOND_OF_YEAR_10000: u64 = 253_402_300_800;

/// An entity tag: the modification time in nanoseconds, the size, and the inode, so that
/// also a file that replaces another of the same age and size has a tag of its own.
fn etag(snapshot: &Snapshot, is_strong: bool) -> HeaderValue {
    let (seconds, nanoseconds) = snapshot.modified;
    let weak = if is_strong { "" } else { "W/" };
    let tag = format!(
        "{weak}\"{seconds:x}.{nanoseconds:x}-{:x}-{:x}\"",
        snapshot.size, snapshot.inode
    );
    HeaderValue::try_from(tag).unwrap_or_else(|_| unreachable!("hexadecimal digits are a value"))
}

/// Caddy: images that are built reproducibly set every file to 1970, so that such a date says
/// nothing about the version.
fn has_useful_date(snapshot: &Snapshot) -> bool {
    !matches!(snapshot.modified.0, 0 | 1)
}

#[cfg(test)]
mod tests {
    use super::Validators;
    use crate::volume::{Kind, Snapshot};

    fn snapshot(seconds: i64, nanoseconds: u32, size: u64, inode: u64) -> Snapshot {
        Snapshot {
            kind: Kind::File,
            size,
            modified: (seconds, nanoseconds),
            inode,
            device: 1,
        }
    }

    fn etag(snapshot: &Snapshot) -> String {
        let validators = Validators::new(snapshot, snapshot, true);
        validators.etag_value.unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn every_part_counts() {
        let first = etag(&snapshot(100, 5, 7, 9));
        for other in [
            snapshot(101, 5, 7, 9),
            snapshot(100, 6, 7, 9),
            snapshot(100, 5, 8, 9),
            snapshot(100, 5, 7, 10),
        ] {
            assert_ne!(first, etag(&other));
        }
        assert!(
            first.starts_with('"') && first.ends_with('"'),
            "strong: {first}"
        );
    }

    #[test]
    fn what_may_change_under_the_same_tag_has_a_weak_one() {
        let snapshot = snapshot(100, 5, 7, 9);
        let weak = Validators::new(&snapshot, &snapshot, false)
            .etag_value
            .unwrap();
        assert_eq!(weak, format!("W/{}", etag(&snapshot)));
    }

    #[test]
    fn date_is_of_the_named_file_and_tag_of_the_sent_one() {
        let (sent, named) = (snapshot(200, 0, 3, 4), snapshot(784_111_777, 0, 9, 5));
        let validators = Validators::new(&sent, &named, true);
        assert_eq!(
            validators.etag_value.as_ref().unwrap(),
            etag(&sent).as_str()
        );
        assert_eq!(
            validators.last_modified().unwrap(),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
    }

    #[test]
    fn useless_and_odd_dates_are_left_out() {
        let epoch = snapshot(0, 0, 3, 4);
        let validators = Validators::new(&epoch, &epoch, true);
        assert!(validators.etag_value.is_none() && validators.last_modified().is_none());
        for seconds in [-5, i64::MAX, i64::MIN, 253_402_300_800] {
            let odd = snapshot(seconds, 0, 3, 4);
            let validators = Validators::new(&odd, &odd, true);
            assert!(validators.last_modified().is_none(), "{seconds}");
            assert!(validators.etag.is_some(), "{seconds}");
        }
    }
}
