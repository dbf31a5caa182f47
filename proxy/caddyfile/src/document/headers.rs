//! Changes of header fields, and handling by response.

use std::collections::BTreeMap;

use super::{Route, WeakString, object};

object! {
    /// Caddy: `http.handlers.headers`.
    pub struct Headers {
        /// On the request.
        pub request: Option<HeaderOps>,
        /// On the response.
        pub response: Option<ResponseHeaderOps>,
    }
}

object! {
    /// Changes of fields; applied as add, set, delete, replace.
    pub struct HeaderOps {
        /// Adds values.
        pub add: BTreeMap<String, Vec<String>>,
        /// Replaces all values.
        pub set: BTreeMap<String, Vec<String>>,
        /// Removes fields; `*` at an end is a wildcard.
        pub delete: Vec<String>,
        /// Replaces within values; the key `*` is all fields.
        pub replace: BTreeMap<String, Vec<Replacement>>,
    }
}

object! {
    /// A replacement within a value.
    pub struct Replacement {
        /// Text to find.
        pub search: String,
        /// Regular expression to find, where `search` is empty.
        pub search_regexp: String,
        /// What replaces it.
        pub replace: String,
    }
}

object! {
    /// Changes of response fields.
    pub struct ResponseHeaderOps {
        /// Adds values.
        pub add: BTreeMap<String, Vec<String>>,
        /// Replaces all values.
        pub set: BTreeMap<String, Vec<String>>,
        /// Removes fields; `*` at an end is a wildcard.
        pub delete: Vec<String>,
        /// Replaces within values; the key `*` is all fields.
        pub replace: BTreeMap<String, Vec<Replacement>>,
        /// Responses that are changed; absent is all.
        pub require: Option<ResponseMatcher>,
        /// Waits until the response's head is written.
        pub deferred: bool,
    }
}

object! {
    /// Responses.
    pub struct ResponseMatcher {
        /// Statuses, any of them; one digit is a class.
        pub status_code: Vec<i64>,
        /// As the `header` matcher of requests.
        pub headers: BTreeMap<String, Option<Vec<String>>>,
    }
}

object! {
    /// What happens to certain responses.
    pub struct ResponseHandler {
        /// Responses; absent is all.
        #[serde(rename = "match")]
        pub r#match: Option<ResponseMatcher>,
        /// Replaces the status.
        pub status_code: WeakString,
        /// Routes that answer instead; empty passes the response on.
        pub routes: Vec<Route>,
    }
}
