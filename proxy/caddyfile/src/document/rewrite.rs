//! Changes of the request's method and URI.

use super::object;

object! {
    /// Caddy: `http.handlers.rewrite`; applied in the order of the fields.
    pub struct Rewrite {
        /// New method, with placeholders.
        pub method: String,
        /// New URI, with placeholders; a part that is not given (path, query) stays.
        pub uri: String,
        /// Removes this from the path's start.
        pub strip_path_prefix: String,
        /// Removes this from the path's end.
        pub strip_path_suffix: String,
        /// Replaces texts in the URI.
        pub uri_substring: Vec<SubstringReplacement>,
        /// Replaces by regular expressions in the path.
        pub path_regexp: Vec<RegexReplacement>,
        /// Changes the query.
        pub query: Option<QueryOps>,
    }
}

object! {
    /// A text and what replaces it.
    pub struct SubstringReplacement {
        /// Text to find.
        pub find: String,
        /// What replaces it.
        pub replace: String,
        /// Replacements at most; 0 is without limit.
        pub limit: i64,
    }
}

object! {
    /// A regular expression and what replaces its matches.
    pub struct RegexReplacement {
        /// Regular expression.
        pub find: String,
        /// What replaces it; `$1` is a group.
        pub replace: String,
    }
}

object! {
    /// Changes of a query; applied in the order of the fields.
    pub struct QueryOps {
        /// New names for keys.
        pub rename: Vec<QueryRename>,
        /// Replaces all values of keys.
        pub set: Vec<QueryRename>,
        /// Adds values to keys.
        pub add: Vec<QueryRename>,
        /// Replaces within values.
        pub replace: Vec<QueryReplacement>,
        /// Removes keys.
        pub delete: Vec<String>,
    }
}

object! {
    /// A key and a value.
    pub struct QueryRename {
        /// Key.
        pub key: String,
        /// Value, or the new name.
        pub val: String,
    }
}

object! {
    /// A replacement within values of a query.
    pub struct QueryReplacement {
        /// Key; `*` is all keys.
        pub key: String,
        /// Text to find.
        pub search: String,
        /// Regular expression to find, where `search` is empty.
        pub search_regexp: String,
        /// What replaces it.
        pub replace: String,
    }
}
