//! A string that JSON may also give as a number or a boolean.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text that is written as a number or boolean where it reads as one (Caddy: `WeakString`).
///
/// Status codes have this type since they may be placeholders.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct WeakString(pub String);

impl WeakString {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as a decimal integer, if it is one.
    pub fn as_integer(&self) -> Option<i64> {
        let digits = self.0.strip_prefix('-').unwrap_or(&self.0);
        // A leading plus or zero would not survive the way back.
        let canonical =
            digits == "0" || (digits.starts_with(|first: char| ('1'..='9').contains(&first)));
        if canonical { self.0.parse().ok() } else { None }
    }
}

impl From<&str> for WeakString {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for WeakString {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Serialize for WeakString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.0.as_str(), self.as_integer()) {
            ("true", _) => serializer.serialize_bool(true),
            ("false", _) => serializer.serialize_bool(false),
            (_, Some(integer)) => serializer.serialize_i64(integer),
            (text, None) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for WeakString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WeakVisitor;

        impl Visitor<'_> for WeakVisitor {
            type Value = WeakString;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string, an integer or a boolean")
            }

            fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<WeakString, E> {
                Ok(WeakString(value.to_string()))
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<WeakString, E> {
                Ok(WeakString(value.to_string()))
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<WeakString, E> {
                Ok(WeakString(value.to_string()))
            }

            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<WeakString, E> {
                Ok(WeakString(value.to_owned()))
            }
        }

        deserializer.deserialize_any(WeakVisitor)
    }
}
