//! Request matchers.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{Written, is_default, object};

/// Matchers that must all match; an empty set matches everything.
///
/// A matcher is `Some` where the document has its key, even with an empty value.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct MatcherSet {
    /// Where the set was written.
    #[serde(skip)]
    pub written: Written,
    /// The client's address, behind trusted proxies.
    #[serde(skip_serializing_if = "is_default")]
    pub client_ip: Option<IpRanges>,
    /// A CEL expression.
    #[serde(skip_serializing_if = "is_default")]
    pub expression: Option<Expression>,
    /// A file that exists.
    #[serde(skip_serializing_if = "is_default")]
    pub file: Option<FileMatcher>,
    /// By field name, values of which one matches; `*` at an end is a wildcard. An empty list
    /// means that the field is absent is required, `null` that it is present in any form.
    #[serde(skip_serializing_if = "is_default")]
    pub header: Option<BTreeMap<String, Option<Vec<String>>>>,
    /// By field name, a regular expression.
    #[serde(skip_serializing_if = "is_default")]
    pub header_regexp: Option<BTreeMap<String, RegexpMatcher>>,
    /// Host names, which may have wildcards and placeholders; any of them.
    #[serde(skip_serializing_if = "is_default")]
    pub host: Option<Vec<String>>,
    /// Request methods, any of them.
    #[serde(skip_serializing_if = "is_default")]
    pub method: Option<Vec<String>>,
    /// Sets of which none may match.
    #[serde(skip_serializing_if = "is_default")]
    pub not: Option<Vec<Self>>,
    /// Path patterns, any of them: exact, or with `*`; compared without regard to case.
    #[serde(skip_serializing_if = "is_default")]
    pub path: Option<Vec<String>>,
    /// A regular expression on the path.
    #[serde(skip_serializing_if = "is_default")]
    pub path_regexp: Option<RegexpMatcher>,
    /// `http`, `https`, `grpc`, or `http/1.1`, `http/2`, `http/3`, also with a `+` behind.
    #[serde(skip_serializing_if = "is_default")]
    pub protocol: Option<String>,
    /// By key, values of which one matches; `*` is any value.
    #[serde(skip_serializing_if = "is_default")]
    pub query: Option<BTreeMap<String, Vec<String>>>,
    /// The address of the connection's other end.
    #[serde(skip_serializing_if = "is_default")]
    pub remote_ip: Option<IpRanges>,
    /// Facts about the TLS connection.
    #[serde(skip_serializing_if = "is_default")]
    pub tls: Option<TlsMatcher>,
    /// By variable or placeholder, values of which one matches.
    #[serde(skip_serializing_if = "is_default")]
    pub vars: Option<BTreeMap<String, Vec<String>>>,
    /// By variable or placeholder, a regular expression.
    #[serde(skip_serializing_if = "is_default")]
    pub vars_regexp: Option<BTreeMap<String, RegexpMatcher>>,
    /// Matchers that are not modelled here, as they were read.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

object! {
    /// Caddy: `path_regexp`, and each value of `header_regexp` and `vars_regexp`.
    pub struct RegexpMatcher {
        /// Name of the match, for `{re.NAME.GROUP}`; empty is allowed.
        pub name: String,
        /// Regular expression in Go's syntax, unanchored.
        pub pattern: String,
    }
}

object! {
    /// Caddy: `remote_ip` and `client_ip`.
    pub struct IpRanges {
        /// Addresses or CIDR ranges, any of them.
        pub ranges: Vec<String>,
    }
}

object! {
    /// Caddy: `file`.
    pub struct FileMatcher {
        /// File system module; empty is the default one.
        pub fs: String,
        /// Folder that paths are relative to; empty is `{http.vars.root}`.
        pub root: String,
        /// Paths in the order they are tried; empty is `{http.request.uri.path}`.
        pub try_files: Vec<String>,
        /// `first_exist` (default), `first_exist_fallback`, `smallest_size`, `largest_size` or
        /// `most_recently_modified`.
        pub try_policy: String,
        /// Extensions after which a path is split, for CGI.
        pub split_path: Vec<String>,
    }
}

object! {
    /// Caddy: `tls`.
    pub struct TlsMatcher {
        /// Whether the handshake is complete (no early data); absent is any.
        pub handshake_complete: Option<bool>,
    }
}

/// Caddy: `expression`, a string or an object with a name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expression {
    /// The CEL expression.
    pub expr: String,
    /// Name of the matcher, for regular expressions in the expression; may be empty.
    pub name: String,
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.name.is_empty() {
            return serializer.serialize_str(&self.expr);
        }
        NamedExpression {
            expr: self.expr.clone(),
            name: self.name.clone(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(expr) => Ok(Self {
                expr,
                name: String::new(),
            }),
            value => {
                let named: NamedExpression =
                    serde_json::from_value(value).map_err(D::Error::custom)?;
                Ok(Self {
                    expr: named.expr,
                    name: named.name,
                })
            }
        }
    }
}

object! {
    /// The form of an expression that has a name.
    pub struct NamedExpression {
        /// The CEL expression.
        pub expr: String,
        /// Name of the matcher.
        pub name: String,
    }
}
