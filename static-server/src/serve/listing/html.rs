//! Listings as a page: one that is read on a phone as well, without scripts, and whose every name
//! comes from whoever may write into the folder.

use std::fmt::Write as _;

use http::HeaderValue;
use proto::file_request::SortBy;

use super::view::View;
use super::{Entry, human_size, timestamp};

/// Lines of a page, where the client names no limit.
const PAGE: usize = 1000;

const STYLE: &str = include_str!("listing.css");

/// What the page may load: nothing but its own style, which is named by its hash.
pub(super) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'sha256-v4t6Iw0vPee8J/pLqhdFQVc8lOGMOG5wtSpM4W9cBSA='; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
);

/// The page.
pub(super) fn write(view: &View) -> String {
    let limit = view.limit.unwrap_or(PAGE);
    let rest = &view.all[view.offset..];
    let shown = &rest[..limit.min(rest.len())];
    let mut page = String::with_capacity(4096 + 400 * shown.len());
    let path = format!("/{}", view.segments.join("/"));
    page.push_str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.push_str("<meta name=\"color-scheme\" content=\"light dark\">\n");
    let _ = writeln!(page, "<title>{}</title>", escaped(&path));
    let _ = writeln!(page, "<style>{STYLE}</style>\n</head>\n<body>");
    head(view, &mut page);
    page.push_str("<main>\n");
    if view.all.is_empty() {
        page.push_str("<p>This folder is empty.</p>\n");
    } else {
        table(view, shown, &mut page);
    }
    page.push_str("</main>\n");
    pages(view, shown.len(), limit, &mut page);
    page.push_str("</body>\n</html>\n");
    page
}

/// The path, each segment of it a link, and what is in the folder.
fn head(view: &View, page: &mut String) {
    page.push_str("<header>\n<h1>");
    let depth = view.segments.len();
    let carried = carried(view);
    let names = std::iter::once("").chain(view.segments.iter().map(String::as_str));
    for (at, name) in names.enumerate() {
        let name = escaped(name);
        match depth - at {
            0 => {
                let _ = write!(page, "<bdi>{name}</bdi>/");
            }
            above => {
                let up = "../".repeat(above);
                let _ = write!(page, "<a href=\"{up}{carried}\"><bdi>{name}</bdi>/</a>");
            }
        }
    }
    page.push_str("</h1>\n");
    let folders = view.all.iter().filter(|entry| entry.is_directory).count();
    let files = view.all.len() - folders;
    let sizes = view.all.iter().filter(|entry| !entry.is_directory);
    let size = sizes.fold(0_u64, |sum, entry| sum.saturating_add(entry.size));
    let _ = writeln!(
        page,
        "<p>{folders} folder{}, {files} file{}, {}</p>",
        plural(folders),
        plural(files),
        human_size(size)
    );
    if let Some(limit) = view.cut_at {
        let _ = writeln!(
            page,
            "<p class=\"note\">The folder holds more: only {limit} of its entries were read.</p>"
        );
    }
    page.push_str("</header>\n");
}

fn table(view: &View, shown: &[Entry], page: &mut String) {
    page.push_str("<table>\n<thead><tr>");
    let by_name = match view.sort {
        SortBy::Name => SortBy::Name,
        _ => SortBy::NameDirFirst,
    };
    for (sort, title) in [
        (by_name, "Name"),
        (SortBy::Size, "Size"),
        (SortBy::Time, "Changed"),
    ] {
        let is_own = view.sort == sort;
        let (aria, sign) = match (is_own, view.is_descending) {
            (false, _) => ("", ""),
            (true, false) => (" aria-sort=\"ascending\"", " \u{25b4}"),
            (true, true) => (" aria-sort=\"descending\"", " \u{25be}"),
        };
        let query = query(sort, is_own && !view.is_descending, None);
        let _ = write!(page, "<th{aria}><a href=\"{query}\">{title}</a>{sign}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    let carried = carried(view);
    for entry in shown {
        row(entry, &carried, page);
    }
    page.push_str("</tbody>\n</table>\n");
}

fn row(entry: &Entry, carried: &str, page: &mut String) {
    let (class, query, size) = match entry.is_directory {
        true => (" class=\"folder\"", carried, "\u{2013}".to_owned()),
        false => ("", "", human_size(entry.size)),
    };
    let _ = write!(
        page,
        "<tr><td><a{class} href=\"{}{query}\"><bdi>{}</bdi></a>",
        escaped(&entry.url),
        escaped(&entry.name)
    );
    if let Some(target) = &entry.leads_to {
        let _ = write!(page, " \u{2192} <bdi>{}</bdi>", escaped(target));
    }
    let modified = timestamp(entry.modified);
    let _ = writeln!(
        page,
        "</td><td>{size}</td><td><time datetime=\"{}\">{}</time></td></tr>",
        modified.strftime("%Y-%m-%dT%H:%M:%SZ"),
        modified.strftime("%Y-%m-%d %H:%M")
    );
}

/// Links to the pages before and after, where the listing has several.
fn pages(view: &View, shown: usize, limit: usize, page: &mut String) {
    let end = view.offset + shown;
    if view.offset == 0 && end >= view.all.len() {
        return;
    }
    page.push_str("<footer>");
    let link = |offset, text: &str| {
        let query = query(view.sort, view.is_descending, Some((offset, limit)));
        format!("<a href=\"{query}\">{text}</a> ")
    };
    if view.offset > 0 {
        page.push_str(&link(view.offset.saturating_sub(limit), "Previous"));
    }
    let first = (view.offset + 1).min(end);
    let _ = write!(page, "{first} to {end} of {} ", view.all.len());
    if end < view.all.len() {
        page.push_str(&link(end, "Next"));
    }
    page.push_str("</footer>\n");
}

/// What goes along to other folders: the order that the client chose.
fn carried(view: &View) -> String {
    match view.is_chosen {
        true => query(view.sort, view.is_descending, None),
        false => String::new(),
    }
}

fn query(sort: SortBy, is_descending: bool, page: Option<(usize, usize)>) -> String {
    let order = if is_descending { "desc" } else { "asc" };
    let mut query = format!("?sort={}&amp;order={order}", sort.as_str());
    if let Some((offset, limit)) = page {
        let _ = write!(query, "&amp;limit={limit}&amp;offset={offset}");
    }
    query
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Text that is nothing but text, between tags and in quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // No page may hold them.
            other if other.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use proptest::prelude::*;
    use sha2::Digest as _;

    use super::{POLICY, STYLE, escaped};

    #[test]
    fn the_policy_allows_the_style() {
        let hash = base64::prelude::BASE64_STANDARD.encode(sha2::Sha256::digest(STYLE));
        let allowed = format!("style-src 'sha256-{hash}'");
        assert!(POLICY.to_str().unwrap().contains(&allowed), "{allowed}");
        assert!(!STYLE.contains('<'), "ends where the element ends");
    }

    proptest! {
        #[test]
        fn names_are_never_markup(name in ".*") {
            let text = escaped(&name);
            prop_assert!(!text.contains(['<', '>', '"', '\'']));
            prop_assert!(!text.chars().any(char::is_control));
        }
    }
}
