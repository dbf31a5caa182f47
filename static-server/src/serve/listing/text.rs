//! Listings as plain text, for terminals: columns that are aligned by tabs, as Caddy's.

use super::view::View;
use super::{human_size, timestamp};

/// Columns that a tab leads to.
const TAB: usize = 8;

/// The entries that were asked for, a line each.
pub(super) fn write(view: &View) -> String {
    let mut rows = vec![
        ["Name", "Size", "Modified"].map(str::to_owned),
        ["----", "----", "--------"].map(str::to_owned),
    ];
    rows.extend(view.entries().iter().map(|entry| {
        let modified = timestamp(entry.modified).strftime("%B %-d, %Y at %H:%M:%S");
        [
            printable(&entry.name),
            human_size(entry.size),
            modified.to_string(),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths = [0, 1].map(|column| (width(column).unwrap_or(0) + 1).next_multiple_of(TAB));
    let mut text = String::new();
    for [name, size, modified] in &rows {
        for (cell, width) in [name, size].into_iter().zip(widths) {
            text.push_str(cell);
            let tabs = (width - cell.chars().count()).div_ceil(TAB);
            text.extend(std::iter::repeat_n('\t', tabs));
        }
        text.push_str(modified);
        text.push('\n');
    }
    text
}

/// A name that cannot command a terminal or make up a line.
fn printable(name: &str) -> String {
    let visible = |character: char| match character.is_control() {
        true => char::REPLACEMENT_CHARACTER,
        false => character,
    };
    name.chars().map(visible).collect()
}
