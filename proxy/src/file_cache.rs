//! Small files in the edge's own memory, so that a hit never crosses to the static-server.
//!
//! Each worker has a cache of its own: no lock on the way of a request. An entry is the static-server's
//! whole 200 response. It lives until the folder its file lies in changes ([`changes`]), which the
//! static-server announces ([`events`]). Once the announcements are not to be had, an entry must be
//! confirmed before it is given again, nothing new is kept, and only where nobody answers may an
//! entry stand in, for a while. What many ask for at once is fetched once (`flights`).
//!
//! The rule is coarser than need be on purpose: a change drops every entry of the changed file's
//! folder, so that index files and precompressed siblings that appear beside a file count as well.

pub mod changes;
pub mod events;
pub(crate) mod flights;

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use proto::representation::Validators;
use quick_cache::unsync::Cache;
use quick_cache::{Equivalent, Weighter};

use changes::{Changes, VolumeChanges};

/// Bodies above this many bytes are not kept; for them the second hop is a small part of the cost.
pub(crate) const LARGEST_BODY: u64 = 256 * 1024;

/// What an entry costs beside its body: the response head, the key and the bookkeeping.
const ENTRY_OVERHEAD: u64 = 1024;

/// A response that can be given again.
#[derive(Debug)]
pub(crate) struct CachedFile {
    /// The static-server's response fields that go to clients, and the proxy's own `Server`.
    pub headers: HeaderMap,
    /// What these say of the version.
    pub validators: Validators,
    /// The whole body.
    pub body: Bytes,
    /// Where the file lies: volume path and path below it, such as `/srv/static/css/app.css`.
    pub file: String,
}

/// What makes two requests the same request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// The file options of the route, as the value of `Portico-File` without per-request members.
    pub options: &'a HeaderValue,
    /// The path as it is sent to the static-server.
    pub path: &'a str,
    /// `Accept-Encoding`, where the options allow precompressed siblings; else empty.
    pub accept_encoding: &'a [u8],
}

/// What is known of a request's response.
#[derive(Debug)]
pub(crate) enum Found {
    /// The response, as it is now.
    Current(Rc<CachedFile>),
    /// The response as it was until announcements ended, or it was last confirmed.
    Unconfirmed(Rc<CachedFile>, Instant),
}

/// The cache of one worker.
#[derive(Debug)]
pub(crate) struct FileCache {
    entries: Cache<Key, Entry, ByBytes>,
    changes: Arc<VolumeChanges>,
    seen: u64,
}

#[derive(Debug)]
struct Entry {
    file: Rc<CachedFile>,
    unconfirmed_since: Cell<Option<Instant>>,
}

impl FileCache {
    /// A cache of at most `capacity` bytes, kept right by `changes`.
    pub(crate) fn new(capacity: u64, changes: Arc<VolumeChanges>) -> Self {
        let expected_entries = usize::try_from(capacity / (16 * 1024)).unwrap_or(usize::MAX);
        Self {
            entries: Cache::with_weighter(expected_entries, capacity, ByBytes),
            seen: changes.position(),
            changes,
        }
    }

    /// Inserts what was asked of the static-server when the position was `asked_at`, in the place of
    /// what was known. If something changed since, the response may be older than the change, and
    /// nothing is known.
    pub(crate) fn insert(&mut self, asked_at: u64, request: Request<'_>, file: Rc<CachedFile>) {
        self.catch_up();
        if asked_at == self.seen && self.changes.is_live() {
            let entry = Entry {
                file,
                unconfirmed_since: Cell::new(None),
            };
            self.entries.insert(Key::from(request), entry);
        } else {
            self.remove(request);
        }
    }

    /// The response for a request, if it is known.
    pub(crate) fn lookup(&mut self, request: Request<'_>) -> Option<Found> {
        self.catch_up();
        let entry = self.entries.get(&request)?;
        let file = Rc::clone(&entry.file);
        Some(match entry.unconfirmed_since.get() {
            None => Found::Current(file),
            Some(since) => Found::Unconfirmed(file, since),
        })
    }

    /// Notes that the static-server, asked when the position was `asked_at` if there was one, found
    /// `file` to be what it would send again.
    pub(crate) fn confirm(
        &mut self,
        asked_at: Option<u64>,
        request: Request<'_>,
        file: &Rc<CachedFile>,
    ) {
        self.catch_up();
        let entry = self.entries.get(&request);
        if let Some(entry) = entry.filter(|entry| Rc::ptr_eq(&entry.file, file)) {
            let is_announced = asked_at == Some(self.seen) && self.changes.is_live();
            let since = (!is_announced).then(Instant::now);
            entry.unconfirmed_since.set(since);
        }
    }

    /// Drops what the static-server no longer sends.
    pub(crate) fn remove(&mut self, request: Request<'_>) {
        self.entries.remove(&request);
    }

    /// The position to hand to [`Self::insert`]; taken before the static-server is asked. `None` while
    /// changes are not announced.
    pub(crate) fn position(&mut self) -> Option<u64> {
        self.catch_up();
        self.changes.is_live().then_some(self.seen)
    }

    fn catch_up(&mut self) {
        if self.changes.position() == self.seen {
            return;
        }
        let (position, changes) = self.changes.since(self.seen);
        self.seen = position;
        match changes {
            Changes::Everything => self.entries.clear(),
            Changes::Paths {
                paths,
                unannounced_since,
            } => self.entries.retain(|_, entry| {
                if unannounced_since.is_some() && entry.unconfirmed_since.get().is_none() {
                    entry.unconfirmed_since.set(unannounced_since);
                }
                !paths.iter().any(|path| path.touches(&entry.file.file))
            }),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    options: HeaderValue,
    path: Box<str>,
    accept_encoding: Box<[u8]>,
}

impl Key {
    fn as_request(&self) -> Request<'_> {
        Request {
            options: &self.options,
            path: &self.path,
            accept_encoding: &self.accept_encoding,
        }
    }
}

impl From<Request<'_>> for Key {
    fn from(request: Request<'_>) -> Self {
        Self {
            options: request.options.clone(),
            path: request.path.into(),
            accept_encoding: request.accept_encoding.into(),
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_request().hash(state);
    }
}

impl Hash for Request<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The options differ by route and hardly tell requests apart.
        self.path.hash(state);
        self.accept_encoding.hash(state);
    }
}

impl Equivalent<Key> for Request<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.path == &*key.path
            && self.accept_encoding == &*key.accept_encoding
            && is_same(self.options, &key.options)
    }
}

/// Compares options. Mostly they are the configuration's own, to be found at the same place.
fn is_same(one: &HeaderValue, other: &HeaderValue) -> bool {
    std::ptr::eq(one.as_bytes(), other.as_bytes()) || one == other
}

#[derive(Clone, Copy, Debug)]
struct ByBytes;

impl Weighter<Key, Entry> for ByBytes {
    fn weight(&self, _: &Key, entry: &Entry) -> u64 {
        entry.file.body.len() as u64 + ENTRY_OVERHEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static STATIC: HeaderValue = HeaderValue::from_static("root=\"/srv/static\"");
    static MEDIA: HeaderValue = HeaderValue::from_static("root=\"/srv/media\"");

    fn request(path: &str) -> Request<'_> {
        Request {
            options: &STATIC,
            path,
            accept_encoding: b"",
        }
    }

    fn file(file: &str) -> Rc<CachedFile> {
        Rc::new(CachedFile {
            headers: HeaderMap::new(),
            validators: Validators::default(),
            body: Bytes::from_static(b"body"),
            file: file.to_owned(),
        })
    }

    fn live_cache(capacity: u64) -> (FileCache, Arc<VolumeChanges>) {
        let changes = Arc::new(VolumeChanges::default());
        changes.set_live(true);
        (FileCache::new(capacity, Arc::clone(&changes)), changes)
    }

    fn put(cache: &mut FileCache, path: &str) {
        let asked_at = cache.position().unwrap();
        cache.insert(asked_at, request(path), file(&format!("/srv/static{path}")));
    }

    #[test]
    fn a_change_drops_the_entries_of_its_folder_only() {
        let (mut cache, changes) = live_cache(1 << 20);
        for path in ["/css/app.css", "/css/print.css", "/js/app.js"] {
            put(&mut cache, path);
        }
        changes.add("/srv/static", "css/app.css.br");
        assert!(cache.lookup(request("/css/app.css")).is_none());
        assert!(cache.lookup(request("/css/print.css")).is_none());
        assert!(cache.lookup(request("/js/app.js")).is_some());
    }

    #[test]
    fn a_changed_folder_drops_everything_below_it() {
        let (mut cache, changes) = live_cache(1 << 20);
        put(&mut cache, "/a/b/c.css");
        put(&mut cache, "/ab/c.css");
        changes.add("/srv/static", "a");
        assert!(cache.lookup(request("/a/b/c.css")).is_none());
        assert!(cache.lookup(request("/ab/c.css")).is_some());
    }

    #[test]
    fn an_answer_older_than_a_change_is_not_kept() {
        let (mut cache, changes) = live_cache(1 << 20);
        let asked_at = cache.position().unwrap();
        changes.add("/srv/static", "css/app.css");
        cache.insert(
            asked_at,
            request("/css/app.css"),
            file("/srv/static/css/app.css"),
        );
        assert!(cache.lookup(request("/css/app.css")).is_none());
    }

    #[test]
    fn what_is_kept_is_to_be_confirmed_once_announcements_stop() {
        let (mut cache, changes) = live_cache(1 << 20);
        let css = request("/css/app.css");
        put(&mut cache, css.path);
        let before = Instant::now();
        changes.set_live(false);
        let Some(Found::Unconfirmed(file, first)) = cache.lookup(css) else {
            panic!("it is not known to be current");
        };
        assert!(first >= before);
        assert!(cache.position().is_none());
        cache.confirm(None, css, &file);
        let Some(Found::Unconfirmed(_, second)) = cache.lookup(css) else {
            panic!("it was current once, for one request");
        };
        assert!(second > first);
        changes.set_live(true);
        assert!(matches!(cache.lookup(css), Some(Found::Unconfirmed(..))));
        let asked_at = cache.position();
        cache.confirm(asked_at, css, &file);
        assert!(matches!(cache.lookup(css), Some(Found::Current(_))));
        changes.add("/srv/static", css.path);
        assert!(cache.lookup(css).is_none());
    }

    #[test]
    fn only_the_very_entry_is_confirmed() {
        let (mut cache, changes) = live_cache(1 << 20);
        let css = request("/css/app.css");
        put(&mut cache, css.path);
        changes.set_live(false);
        cache.confirm(None, css, &file("/srv/static/css/app.css"));
        changes.set_live(true);
        let asked_at = cache.position();
        changes.add("/srv/static", "other");
        let Some(Found::Unconfirmed(kept, _)) = cache.lookup(css) else {
            panic!("another file was confirmed");
        };
        cache.confirm(asked_at, css, &kept);
        assert!(
            matches!(cache.lookup(css), Some(Found::Unconfirmed(..))),
            "the answer is older than a change"
        );
        cache.remove(css);
        assert!(cache.lookup(css).is_none());
    }

    #[test]
    fn a_slow_worker_that_missed_changes_drops_everything() {
        let (mut cache, changes) = live_cache(1 << 20);
        put(&mut cache, "/css/app.css");
        for number in 0..10_000 {
            changes.add("/srv/media", &format!("{number}/file"));
        }
        assert!(cache.lookup(request("/css/app.css")).is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let (mut cache, _changes) = live_cache(64 * 1024);
        for number in 0..1000 {
            put(&mut cache, &format!("/{number}.css"));
        }
        assert!(cache.entries.weight() <= 64 * 1024);
        assert!(cache.entries.len() > 10);
    }

    #[test]
    fn accept_encoding_and_options_tell_requests_apart() {
        let (mut cache, _changes) = live_cache(1 << 20);
        put(&mut cache, "/app.css");
        let gzip = Request {
            accept_encoding: b"gzip",
            ..request("/app.css")
        };
        let media = Request {
            options: &MEDIA,
            ..request("/app.css")
        };
        assert!(cache.lookup(gzip).is_none());
        assert!(cache.lookup(media).is_none());
        assert!(cache.lookup(request("/app.css")).is_some());
    }
}
