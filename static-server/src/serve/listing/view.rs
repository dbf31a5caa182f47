//! What a client sees of a listing: `?sort=…&order=…&limit=…&offset=…`, as in Caddy.

use proto::file_request::SortBy;

use super::{Entry, Listing};

/// A listing in order, and the part of it that was asked for.
#[derive(Debug)]
pub(super) struct View {
    pub(super) segments: Vec<String>,
    /// Every entry, in order.
    pub(super) all: Vec<Entry>,
    /// How many entries come before those that were asked for.
    pub(super) offset: usize,
    /// How many entries were asked for, where the client said so.
    pub(super) limit: Option<usize>,
    pub(super) sort: SortBy,
    pub(super) is_descending: bool,
    /// Whether the order is one that the client asked for, and will want in the next folder.
    pub(super) is_chosen: bool,
    pub(super) cut_at: Option<u32>,
    pub(super) modified: (i64, u32),
}

impl View {
    /// The part of `listing` that `query` asks for.
    pub(super) fn new(listing: Listing, query: Option<&str>) -> Self {
        let value = |name| parameter(query, name).unwrap_or_default();
        let sort = SortBy::parse(value("sort"));
        let is_descending = match value("order") {
            "asc" => Some(false),
            "desc" => Some(true),
            _ => None,
        };
        let mut all = listing.entries;
        let is_chosen = sort.is_some() || is_descending.is_some();
        let sort = sort.unwrap_or(listing.browse.sort);
        let is_descending = is_descending.unwrap_or(listing.browse.is_descending);
        order(&mut all, sort, is_descending);
        let number = |name| {
            value(name)
                .parse::<usize>()
                .ok()
                .filter(|number| *number > 0)
        };
        let offset = number("offset").filter(|offset| *offset <= all.len());
        let offset = offset.unwrap_or(0);
        Self {
            segments: listing.segments,
            limit: number("limit").filter(|limit| *limit <= all.len() - offset),
            all,
            offset,
            sort,
            is_descending,
            is_chosen,
            cut_at: listing.cut_at,
            modified: listing.modified,
        }
    }

    /// The entries that were asked for.
    pub(super) fn entries(&self) -> &[Entry] {
        let rest = &self.all[self.offset..];
        &rest[..self.limit.unwrap_or(rest.len())]
    }
}

/// The first value of a parameter. None of those that count has a character that is encoded.
fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then_some(value)
    })
}

fn order(entries: &mut [Entry], sort: SortBy, is_descending: bool) {
    match sort {
        SortBy::Name => entries.sort_by_cached_key(by_name),
        SortBy::NameDirFirst => {
            entries.sort_by_cached_key(|entry| (!entry.is_directory, by_name(entry)));
        }
        // Caddy: what folders take depends on the file system, so they come first, by name.
        SortBy::Size => entries.sort_by_cached_key(|entry| {
            let size = if entry.is_directory { 0 } else { entry.size };
            (!entry.is_directory, size, by_name(entry))
        }),
        SortBy::Time => entries.sort_by_cached_key(|entry| (entry.modified, by_name(entry))),
    }
    if is_descending {
        entries.reverse();
    }
}

/// Names that differ in case alone have an order of their own, so that it is always the same.
fn by_name(entry: &Entry) -> (String, String) {
    (entry.name.to_lowercase(), entry.name.clone())
}
