//! What is tried in place of a path.

use crate::compile::Scope;
use crate::exchange::Exchange;
use crate::placeholder::{Template, Unknown};

/// A path that is tried, or the status (`=404`) where all others are not there.
#[derive(Debug)]
pub(crate) struct Candidate {
    path: Template,
    /// Whether it is for folders: only what is written says so, not a placeholder's value.
    is_folder: bool,
}

impl Candidate {
    pub(crate) fn compile(name: &str, scope: &mut Scope) -> Self {
        Self {
            path: scope.template(name, Unknown::Empty),
            is_folder: name.ends_with('/'),
        }
    }

    /// The path from the root, cleaned as Caddy cleans what is to be tried.
    pub(crate) fn expand(&self, exchange: &Exchange) -> String {
        let name = self.path.expand(exchange);
        if name.starts_with('=') {
            return name.into_owned();
        }
        let mut path = crate::uri::path::clean(&format!("/{name}"), true).into_owned();
        if !self.is_folder {
            path.truncate(path.trim_end_matches('/').len().max(1));
        }
        path
    }

    /// Whether nothing can be there: the root is a folder, and a file is asked for.
    pub(crate) fn is_vain(&self, path: &str) -> bool {
        path == "/" && !self.is_folder
    }
}
