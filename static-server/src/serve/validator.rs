//! Validators of a representation (RFC 9110 section 8.8): entity tag and modification date.

use std::time::{Duration, UNIX_EPOCH};

use http::HeaderValue;
use proto::representation::Validators;

use crate::volume::Snapshot;

/// The validators of what is sent.
///
/// `sent` is the file whose bytes are sent; `named` is the one that the request names, which
/// differs for a precompressed sibling, and whose date is shown, as in Caddy. The tag is a weak
/// one unless `is_settled`: only then has every other content another tag.
pub fn validators(sent: &Snapshot, named: &Snapshot, is_settled: bool) -> Validators {
    Validators::new(
        has_useful_date(sent).then(|| etag(sent, is_settled)),
        has_useful_date(named).then_some(named.modified.0),
    )
}

/// The value of `Last-Modified`.
pub fn last_modified(validators: &Validators) -> Option<HeaderValue> {
    let seconds = u64::try_from(validators.modified_seconds?).ok()?;
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    // A four-digit year is all that the format can hold, and all that the formatter accepts.
    if seconds >= FIRST_SECOND_OF_YEAR_10000 {
        return None;
    }
    HeaderValue::from_str(&httpdate::fmt_http_date(time)).ok()
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
    use super::{last_modified, validators};
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
        let validators = validators(snapshot, snapshot, true);
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
        let weak = validators(&snapshot, &snapshot, false).etag_value.unwrap();
        assert_eq!(weak, format!("W/{}", etag(&snapshot)));
    }

    #[test]
    fn date_is_of_the_named_file_and_tag_of_the_sent_one() {
        let (sent, named) = (snapshot(200, 0, 3, 4), snapshot(784_111_777, 0, 9, 5));
        let found = validators(&sent, &named, true);
        assert_eq!(found.etag_value.as_ref().unwrap(), etag(&sent).as_str());
        assert_eq!(
            last_modified(&found).unwrap(),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
    }

    #[test]
    fn useless_and_odd_dates_are_left_out() {
        let epoch = snapshot(0, 0, 3, 4);
        let found = validators(&epoch, &epoch, true);
        assert!(found.etag_value.is_none() && last_modified(&found).is_none());
        for seconds in [-5, i64::MAX, i64::MIN, 253_402_300_800] {
            let odd = snapshot(seconds, 0, 3, 4);
            let found = validators(&odd, &odd, true);
            assert!(last_modified(&found).is_none(), "{seconds}");
            assert!(found.etag.is_some(), "{seconds}");
        }
    }
}
