//! Listings of folders (Caddy: `file_server browse`).
//!
//! A listing names what a client can ask for: files, folders, and links to these below the root.
//! Hidden names, links that lead out or nowhere, FIFOs, sockets and devices are left out. It is made
//! from the open folder, with a bounded number of entries.

mod html;
mod json;
mod link;
mod text;
mod view;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode, request};
use jiff::Timestamp;
use proto::file_request::Browse;
use proto::representation::Validators;
use rustix::fs::FileType;

use self::view::View;
use super::answer::{Answer, precondition};
use super::content::Content;
use super::error::ServeError;
use super::hide::is_hidden;
use super::validator::last_modified;
use crate::volume::folder::{self, FolderEntry};
use crate::volume::{Kind, Lookup, Purpose, Root, Snapshot};

/// Entries that are read where the Caddyfile does not say. As in Caddy.
const DEFAULT_LIMIT: u32 = 10_000;
/// Entries that are read at most, whatever the Caddyfile says: some 20 MB while the answer is made.
const MOST_ENTRIES: u32 = 100_000;
/// A folder that changed less than this ago may change again within the second that dates tell
/// apart.
const SETTLED: Duration = Duration::from_secs(2);

/// What is in a folder.
#[derive(Debug)]
pub struct Listing {
    /// The segments of the path that was asked for.
    segments: Vec<String>,
    entries: Vec<Entry>,
    /// How many entries were read, when there are more.
    cut_at: Option<u32>,
    /// The last change of the folder or of an entry.
    modified: (i64, u32),
    browse: Browse,
}

/// One line of a listing.
#[derive(Clone, Debug)]
struct Entry {
    /// The name for people; a folder's ends in a slash.
    name: String,
    /// Where it is, relative to the folder.
    url: String,
    is_directory: bool,
    is_link: bool,
    /// What the link holds, where that is shown.
    leads_to: Option<String>,
    /// Bytes of the file, also behind a link.
    size: u64,
    modified: (i64, u32),
    /// As in Go's `fs.FileMode`.
    mode: u32,
}

impl Listing {
    /// Lists the folder `directory`, which is open as `folder`, in the state of `snapshot`; `asked`
    /// is the path that was asked for, both relative to the root.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn read(
        root: &Root,
        (folder, snapshot): (&OwnedFd, &Snapshot),
        (directory, asked): (&[u8], &[u8]),
        hide: &[String],
        browse: Browse,
    ) -> Result<Self, ServeError> {
        let limit = browse.limit.unwrap_or(DEFAULT_LIMIT).min(MOST_ENTRIES);
        let found = folder::entries(folder, usize::try_from(limit).unwrap_or(usize::MAX))
            .map_err(|error| ServeError::from_io(error, &root.absolute(directory)))?;
        let mut modified = snapshot.modified;
        let mut entries = Vec::with_capacity(found.entries.len());
        for entry in found.entries {
            let mut relative = directory.to_vec();
            if !relative.is_empty() {
                relative.push(b'/');
            }
            relative.extend_from_slice(&entry.name);
            if !hide.is_empty() && is_hidden(&root.absolute(&relative), hide) {
                continue;
            }
            let Some(mut line) = Entry::of(&entry, root, &relative) else {
                continue;
            };
            if line.is_link && browse.reveals_links {
                line.leads_to = folder::link_text(folder, &entry.name)
                    .map(|text| String::from_utf8_lossy(&text).into_owned());
            }
            modified = modified.max(entry.modified);
            entries.push(line);
        }
        Ok(Self {
            segments: asked
                .split(|octet| *octet == b'/')
                .filter(|segment| !segment.is_empty())
                .map(|segment| String::from_utf8_lossy(segment).into_owned())
                .collect(),
            entries,
            cut_at: found.has_more.then_some(limit),
            modified,
            browse,
        })
    }

    /// The answer with the listing: JSON or plain text where `Accept` names it, else a page.
    pub fn answer(self, request: &request::Parts) -> Answer {
        let accept = accepted(&request.headers);
        let view = View::new(self, request.uri.query());
        let (kind, body) = if accept.contains("application/json") {
            ("application/json; charset=utf-8", json::write(&view))
        } else if accept.contains("text/plain") {
            ("text/plain; charset=utf-8", text::write(&view))
        } else {
            ("text/html; charset=utf-8", html::write(&view))
        };
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::VARY, VARY);
        let validators = validators(&body, view.modified);
        if let Some(answer) = precondition(request, &validators, &mut headers) {
            return answer;
        }
        if let Some(date) = last_modified(&validators) {
            headers.insert(header::LAST_MODIFIED, date);
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if kind.starts_with("text/html") {
            headers.insert(header::CONTENT_SECURITY_POLICY, html::POLICY);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        let mut response = Response::new(match request.method {
            Method::HEAD => Content::Empty,
            _ => Content::Bytes(Bytes::from(body)),
        });
        *response.status_mut() = StatusCode::OK;
        *response.headers_mut() = headers;
        response
    }
}

impl Entry {
    /// The line of an entry, if it is one that can be asked for.
    fn of(entry: &FolderEntry, root: &Root, relative: &[u8]) -> Option<Self> {
        let is_link = entry.file_type() == FileType::Symlink;
        let (is_directory, size) = match entry.file_type() {
            FileType::Directory => (true, entry.size),
            FileType::RegularFile => (false, entry.size),
            FileType::Symlink => {
                let target = root.open(relative, Purpose::Probe, Lookup::Full).ok()?;
                match target.snapshot.kind {
                    Kind::Directory => (true, target.snapshot.size),
                    Kind::File => (false, target.snapshot.size),
                    Kind::Other => return None,
                }
            }
            _ => return None,
        };
        let mut name = String::from_utf8_lossy(&entry.name).into_owned();
        if is_directory {
            name.push('/');
        }
        Some(Self {
            name,
            url: link::to(&entry.name, is_directory),
            is_directory,
            is_link,
            leads_to: None,
            size,
            modified: entry.modified,
            mode: go_mode(entry),
        })
    }
}

fn accepted(headers: &HeaderMap) -> String {
    let values = headers.get_all(header::ACCEPT).iter();
    let values: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    values.join(",").to_ascii_lowercase()
}

/// The tag is of the page, whatever it was made of. The date is left out where the folder may
/// change again without another date.
fn validators(body: &str, modified: (i64, u32)) -> Validators {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let etag = format!("W/\"{:x}\"", hasher.finish());
    let seconds = u64::try_from(modified.0).unwrap_or(0);
    let age = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_secs(seconds));
    Validators::new(
        HeaderValue::try_from(etag).ok(),
        age.is_ok_and(|age| age >= SETTLED).then_some(modified.0),
    )
}

/// The mode in Go's numbers, which Caddy's JSON shows.
fn go_mode(entry: &FolderEntry) -> u32 {
    let kind = match entry.file_type() {
        FileType::Directory => 1 << 31,
        FileType::Symlink => 1 << 27,
        _ => 0,
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let special = special
        .into_iter()
        .filter(|(bit, _)| entry.mode & bit != 0)
        .fold(0, |all, (_, flag)| all | flag);
    kind | special | (entry.mode & 0o777)
}

fn timestamp((seconds, nanoseconds): (i64, u32)) -> Timestamp {
    let nanoseconds = i32::try_from(nanoseconds).unwrap_or(0);
    Timestamp::new(seconds, nanoseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A size in Caddy's words, such as `4.0 KiB`.
fn human_size(size: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if size < 10 {
        return format!("{size} B");
    }
    let (mut unit, mut divisor) = (0, 1_u64);
    while size / divisor >= 1024 {
        divisor *= 1024;
        unit += 1;
    }
    // Rounded half up to tenths, in whole numbers.
    let tenths = (u128::from(size) * 20 / u128::from(divisor)).div_ceil(2);
    let name = UNITS[unit];
    if tenths < 100 {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    } else {
        format!("{} {name}", round_half_even(tenths))
    }
}

/// Tenths as a whole number, as Go's `%.0f` rounds.
fn round_half_even(tenths: u128) -> u128 {
    let whole = tenths / 10;
    match tenths % 10 {
        0..=4 => whole,
        5 => whole + whole % 2,
        _ => whole + 1,
    }
}

const VARY: HeaderValue = HeaderValue::from_static("Accept, Accept-Encoding");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

#[cfg(test)]
mod tests {
    use super::human_size;

    #[test]
    fn sizes_are_in_binary_units() {
        for (size, expected) in [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1271, "1.2 KiB"),
            (3000, "2.9 KiB"),
            (10_188, "9.9 KiB"),
            (10_240, "10 KiB"),
            (82_854_982, "79 MiB"),
            (1_572_864, "1.5 MiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(human_size(size), expected, "{size}");
        }
    }
}
