//! Listings as JSON, byte for byte as Caddy writes them.

use serde::Serialize;

use super::view::View;
use super::{Entry, timestamp};

/// An entry in Caddy's words.
#[derive(Serialize)]
struct Item<'a> {
    name: &'a str,
    size: u64,
    url: &'a str,
    mod_time: String,
    mode: u32,
    is_dir: bool,
    is_symlink: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    symlink_path: Option<&'a str>,
}

/// The entries that were asked for, as an array.
pub(super) fn write(view: &View) -> String {
    let items: Vec<Item<'_>> = view.entries().iter().map(Item::of).collect();
    let mut text = serde_json::to_string(&items)
        .unwrap_or_else(|_| unreachable!("strings and numbers are always JSON"));
    // Go: these are escaped, so that JSON may stand in a page. They occur in strings alone.
    for (character, escaped) in [
        ('&', "\\u0026"),
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
        // Go: what is not UTF-8.
        ('\u{fffd}', "\\ufffd"),
    ] {
        if text.contains(character) {
            text = text.replace(character, escaped);
        }
    }
    text.push('\n');
    text
}

impl<'a> Item<'a> {
    fn of(entry: &'a Entry) -> Self {
        Self {
            name: &entry.name,
            size: entry.size,
            url: &entry.url,
            mod_time: timestamp(entry.modified).to_string(),
            mode: entry.mode,
            is_dir: entry.is_directory,
            is_symlink: entry.is_link,
            symlink_path: entry.leads_to.as_deref(),
        }
    }
}
