//! How directories are listed: the member `browse`.

use sfv::{BareItem, DictSerializer, Integer, KeyRef, Parameters, TokenRef};

use super::FileHeaderError;

/// How directories are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Browse {
    /// Whether it is said where links lead.
    pub reveals_links: bool,
    /// The order where the client asks for none.
    pub sort: SortBy,
    /// Whether that order is reversed.
    pub is_descending: bool,
    /// How many entries of a directory are read; `None` leaves it to the static-server.
    pub limit: Option<u32>,
}

/// What a listing is sorted by, in Caddy's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortBy {
    /// The name, without regard to case.
    Name,
    /// The name, directories before files.
    #[default]
    NameDirFirst,
    /// The size, directories first.
    Size,
    /// The last modification, oldest first.
    Time,
}

impl SortBy {
    /// Every order.
    pub const ALL: [Self; 4] = [Self::Name, Self::NameDirFirst, Self::Size, Self::Time];

    /// The name in queries and in the Caddyfile.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::NameDirFirst => "namedirfirst",
            Self::Size => "size",
            Self::Time => "time",
        }
    }

    /// The order of a name, if it is one of these.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| sort.as_str() == name)
    }
}

impl Browse {
    pub(super) fn write(&self, fields: &mut DictSerializer<String>) -> Result<(), FileHeaderError> {
        let mut field = fields.bare_item(KeyRef::from_str("browse")?, true);
        if self.reveals_links {
            field = field.parameter(KeyRef::from_str("links")?, true);
        }
        if self.sort != SortBy::default() {
            let sort = TokenRef::from_str(self.sort.as_str())?;
            field = field.parameter(KeyRef::from_str("sort")?, sort);
        }
        if self.is_descending {
            field = field.parameter(KeyRef::from_str("desc")?, true);
        }
        if let Some(limit) = self.limit {
            field.parameter(KeyRef::from_str("limit")?, Integer::from(limit));
        }
        Ok(())
    }

    pub(super) fn read(parameters: &Parameters) -> Result<Self, FileHeaderError> {
        let wrong = || FileHeaderError::Member("browse");
        Ok(Self {
            reveals_links: parameter_flag(parameters, "links", "browse")?,
            sort: match parameters.get("sort") {
                None => SortBy::default(),
                Some(BareItem::Token(name)) => SortBy::parse(name.as_str()).ok_or_else(wrong)?,
                Some(_) => return Err(wrong()),
            },
            is_descending: parameter_flag(parameters, "desc", "browse")?,
            limit: match parameters.get("limit") {
                None => None,
                Some(BareItem::Integer(limit)) => {
                    Some(u32::try_from(i64::from(*limit)).map_err(|_| wrong())?)
                }
                Some(_) => return Err(wrong()),
            },
        })
    }
}

/// A flag among the parameters of the member `key`.
pub(super) fn parameter_flag(
    parameters: &Parameters,
    name: &str,
    key: &'static str,
) -> Result<bool, FileHeaderError> {
    match parameters.get(name) {
        None => Ok(false),
        Some(BareItem::Boolean(value)) => Ok(*value),
        Some(_) => Err(FileHeaderError::Member(key)),
    }
}
