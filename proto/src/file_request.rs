//! The `Portico-File` request header: which root and options apply to a file request, as the proxy
//! computed them from the Caddyfile; and `Portico-File-Match`, the answer to a probe.
//!
//! Both are dictionaries of RFC 8941 structured fields. Their strings hold ASCII only, so paths
//! travel percent-encoded.

use percent_encoding::{
    AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode, percent_decode_str, percent_encode,
    utf8_percent_encode,
};
use sfv::{BareItem, DictSerializer, Dictionary, KeyRef, ListEntry, Parser, StringRef, TokenRef};

mod browse;
#[cfg(test)]
mod tests;

use browse::parameter_flag;
pub use browse::{Browse, SortBy};

/// What of a path is percent-encoded in URLs, as by Go's `url.URL`.
pub const PATH_ESCAPES: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// The request header that carries a [`FileRequest`]. The proxy removes it from clients' requests.
pub const FILE_REQUEST: &str = "portico-file";
/// The response header that carries a [`FileMatch`].
pub const FILE_MATCH: &str = "portico-file-match";
/// The response header of a whole file that says which file was sent: see [`file_path_value`]. Who
/// keeps the response must drop it once `files.v1.Events` announces a change there.
pub const FILE_PATH: &str = "portico-file-path";

/// Octets that a structured-field string cannot hold as they are, and the escape sign itself.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// What the static-server is to do with a request, beside its method, path and header fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileRequest {
    /// The site root, an absolute path at or below a volume, such as `/srv/static`.
    pub root: String,
    /// Names tried in a directory, in order. Empty: directories have no index.
    pub index: Vec<String>,
    /// Content codings whose siblings (`.br`, `.zst`, `.gz`) may be sent, best first.
    pub precompressed: Vec<Coding>,
    /// Files that are treated as absent, in Caddy's `hide` syntax: a pattern without `/` matches any
    /// path segment, one with `/` matches a path from the start.
    pub hide: Vec<String>,
    /// Paths below the root that are tried in order in place of the request's own path. Empty: the
    /// request's path. A last entry `=404` answers with that status.
    pub try_files: Vec<String>,
    /// How a directory without an index is listed; `None`: not at all.
    pub browse: Option<Browse>,
    /// The client's own path, when it may be redirected to the canonical one (`/dir` to `/dir/`,
    /// `/file/` to `/file`).
    pub canonical_path: Option<String>,
    /// Whether only listings are redirected to their canonical path, without which their links
    /// would lead astray.
    pub redirects_listings_only: bool,
    /// Only find the file: the answer is 204 with a [`FileMatch`], or 404.
    pub probe: bool,
}

/// A content coding with a file name extension of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Brotli, `.br`.
    Br,
    /// gzip, `.gz`.
    Gzip,
    /// Zstandard, `.zst`.
    Zstd,
}

/// The file that a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMatch {
    /// Which candidate it was, as given in [`FileRequest::try_files`].
    pub path: String,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Its size in bytes.
    pub size: u64,
    /// Last modification in milliseconds since 1970; 0 from a static-server that does not say.
    pub modified: u64,
}

/// Why a header cannot be understood, or values cannot be put into one.
#[derive(Debug, thiserror::Error)]
pub enum FileHeaderError {
    /// The value is no structured field.
    #[error("the value is no structured-field dictionary")]
    Syntax(#[from] sfv::Error),
    /// A member has the wrong type or value.
    #[error("the member `{0}` is missing or not of the expected kind")]
    Member(&'static str),
}

impl Coding {
    /// Every coding.
    pub const ALL: [Self; 3] = [Self::Br, Self::Gzip, Self::Zstd];

    /// The name in `Content-Encoding` and in the Caddyfile.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Br => "br",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The file name extension of a precompressed sibling, with its dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Br => ".br",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }

    /// The coding of a name, if it is one of these.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|coding| coding.as_str() == name)
    }
}

impl FileRequest {
    /// The header value.
    ///
    /// # Errors
    /// Never for values without characters that percent-encoding leaves outside ASCII.
    pub fn to_header(&self) -> Result<String, FileHeaderError> {
        let mut fields = DictSerializer::new();
        text(&mut fields, "root", &self.root)?;
        texts(&mut fields, "index", &self.index)?;
        if !self.precompressed.is_empty() {
            let mut list = fields.inner_list(KeyRef::from_str("precompressed")?);
            for coding in &self.precompressed {
                list.bare_item(TokenRef::from_str(coding.as_str())?);
            }
        }
        texts(&mut fields, "hide", &self.hide)?;
        texts(&mut fields, "try", &self.try_files)?;
        if let Some(path) = &self.canonical_path {
            let path = encode(path);
            let field =
                fields.bare_item(KeyRef::from_str("canonical")?, StringRef::from_str(&path)?);
            if self.redirects_listings_only {
                field.parameter(KeyRef::from_str("listings")?, true);
            }
        }
        if let Some(browse) = &self.browse {
            browse.write(&mut fields)?;
        }
        if self.probe {
            fields.bare_item(KeyRef::from_str("probe")?, true);
        }
        Ok(fields.finish().unwrap_or_default())
    }

    /// Reads a header value. Members that are not known are ignored.
    ///
    /// # Errors
    /// When the value is no dictionary, `root` is missing, or a known member has another type.
    pub fn from_header(value: &[u8]) -> Result<Self, FileHeaderError> {
        let fields: Dictionary = Parser::new(value).parse()?;
        let mut precompressed = Vec::new();
        for item in list(&fields, "precompressed")? {
            let coding = match item {
                BareItem::Token(name) => Coding::parse(name.as_str()),
                _ => None,
            };
            precompressed.push(coding.ok_or(FileHeaderError::Member("precompressed"))?);
        }
        Ok(Self {
            root: read_text(&fields, "root")?.ok_or(FileHeaderError::Member("root"))?,
            index: read_texts(&fields, "index")?,
            precompressed,
            hide: read_texts(&fields, "hide")?,
            try_files: read_texts(&fields, "try")?,
            browse: match fields.get("browse") {
                Some(ListEntry::Item(item)) if read_flag(&fields, "browse")? => {
                    Some(Browse::read(&item.params)?)
                }
                _ => None,
            },
            canonical_path: read_text(&fields, "canonical")?,
            redirects_listings_only: match fields.get("canonical") {
                Some(ListEntry::Item(item)) => {
                    parameter_flag(&item.params, "listings", "canonical")?
                }
                _ => false,
            },
            probe: read_flag(&fields, "probe")?,
        })
    }
}

impl FileMatch {
    /// The header value.
    ///
    /// # Errors
    /// When the size exceeds what a structured-field integer holds (15 digits).
    pub fn to_header(&self) -> Result<String, FileHeaderError> {
        let mut fields = DictSerializer::new();
        text(&mut fields, "path", &self.path)?;
        if self.is_directory {
            fields.bare_item(KeyRef::from_str("directory")?, true);
        }
        let size =
            sfv::Integer::try_from(self.size).map_err(|_| FileHeaderError::Member("size"))?;
        fields.bare_item(KeyRef::from_str("size")?, size);
        let modified = sfv::Integer::try_from(self.modified)
            .map_err(|_| FileHeaderError::Member("modified"))?;
        fields.bare_item(KeyRef::from_str("modified")?, modified);
        Ok(fields.finish().unwrap_or_default())
    }

    /// Reads a header value.
    ///
    /// # Errors
    /// When the value is no dictionary or a member is missing.
    pub fn from_header(value: &[u8]) -> Result<Self, FileHeaderError> {
        let fields: Dictionary = Parser::new(value).parse()?;
        Ok(Self {
            path: read_text(&fields, "path")?.ok_or(FileHeaderError::Member("path"))?,
            is_directory: read_flag(&fields, "directory")?,
            size: read_number(&fields, "size").ok_or(FileHeaderError::Member("size"))?,
            modified: read_number(&fields, "modified").unwrap_or_default(),
        })
    }
}

fn read_number(fields: &Dictionary, name: &str) -> Option<u64> {
    match fields.get(name)? {
        ListEntry::Item(item) => match item.bare_item {
            BareItem::Integer(number) => u64::try_from(i64::from(number)).ok(),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    }
}

/// The value of [`FILE_PATH`]: the path of the file as requests name it, such as
/// `/srv/static/css/app.css`, percent-encoded where it is not ASCII.
pub fn file_path_value(path: &[u8]) -> String {
    percent_encode(path, ESCAPED).to_string()
}

/// Reads the value of [`FILE_PATH`]. `None` when it is not UTF-8.
pub fn parse_file_path(value: &[u8]) -> Option<String> {
    percent_decode(value).decode_utf8().ok().map(Into::into)
}

fn encode(value: &str) -> String {
    utf8_percent_encode(value, ESCAPED).to_string()
}

fn decode(value: &str, key: &'static str) -> Result<String, FileHeaderError> {
    let decoded = percent_decode_str(value).decode_utf8();
    decoded
        .map(Into::into)
        .map_err(|_| FileHeaderError::Member(key))
}

fn text(
    fields: &mut DictSerializer<String>,
    key: &str,
    value: &str,
) -> Result<(), FileHeaderError> {
    fields.bare_item(KeyRef::from_str(key)?, StringRef::from_str(&encode(value))?);
    Ok(())
}

fn texts(
    fields: &mut DictSerializer<String>,
    key: &str,
    values: &[String],
) -> Result<(), FileHeaderError> {
    if values.is_empty() {
        return Ok(());
    }
    let mut list = fields.inner_list(KeyRef::from_str(key)?);
    for value in values {
        list.bare_item(StringRef::from_str(&encode(value))?);
    }
    Ok(())
}

fn read_text(fields: &Dictionary, key: &'static str) -> Result<Option<String>, FileHeaderError> {
    match fields.get(key) {
        None => Ok(None),
        Some(ListEntry::Item(item)) => match &item.bare_item {
            BareItem::String(value) => decode(value.as_str(), key).map(Some),
            _ => Err(FileHeaderError::Member(key)),
        },
        Some(ListEntry::InnerList(_)) => Err(FileHeaderError::Member(key)),
    }
}

fn read_texts(fields: &Dictionary, key: &'static str) -> Result<Vec<String>, FileHeaderError> {
    let items = list(fields, key)?;
    items
        .map(|item| match item {
            BareItem::String(value) => decode(value.as_str(), key),
            _ => Err(FileHeaderError::Member(key)),
        })
        .collect()
}

fn list<'a>(
    fields: &'a Dictionary,
    key: &'static str,
) -> Result<impl Iterator<Item = &'a BareItem>, FileHeaderError> {
    let items = match fields.get(key) {
        None => &[],
        Some(ListEntry::InnerList(list)) => list.items.as_slice(),
        Some(ListEntry::Item(_)) => return Err(FileHeaderError::Member(key)),
    };
    Ok(items.iter().map(|item| &item.bare_item))
}

fn read_flag(fields: &Dictionary, key: &'static str) -> Result<bool, FileHeaderError> {
    match fields.get(key) {
        None => Ok(false),
        Some(ListEntry::Item(item)) => match item.bare_item {
            BareItem::Boolean(value) => Ok(value),
            _ => Err(FileHeaderError::Member(key)),
        },
        Some(ListEntry::InnerList(_)) => Err(FileHeaderError::Member(key)),
    }
}
