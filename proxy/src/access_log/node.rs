//! Log entries as trees of named values, in the order they are written.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

/// A value of an entry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Bool(bool),
    Float(f64),
    Integer(i64),
    List(Vec<Self>),
    Object(Vec<(Cow<'static, str>, Self)>),
    Raw(serde_json::Value),
    Text(Cow<'static, str>),
}

impl Node {
    pub(crate) fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Text(text.into())
    }

    /// The fields of an object; nothing for other values.
    pub(crate) fn fields(&self) -> &[(Cow<'static, str>, Self)] {
        match self {
            Self::Object(fields) => fields,
            _ => &[],
        }
    }

    /// The fields of an object, to be changed.
    pub(crate) fn fields_mut(&mut self) -> Option<&mut Vec<(Cow<'static, str>, Self)>> {
        match self {
            Self::Object(fields) => Some(fields),
            _ => None,
        }
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::List(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    list.serialize_element(value)?;
                }
                list.end()
            }
            Self::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
            Self::Raw(value) => value.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}
