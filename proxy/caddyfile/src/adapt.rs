//! The whole way from text to document.

use crate::diagnostic::Diagnostic;
use crate::document::Document;
use crate::lower::lower;
use crate::parser::{self, Loader};
use crate::token::Sources;

/// Reads the Caddyfile `text`, named `name` in messages, as Caddy's JSON document.
///
/// Files to import come through `loader`; `environment` gives the value of a variable, or `None`
/// where it is not set.
pub fn adapt(
    name: &str,
    text: &str,
    loader: &dyn Loader,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Adapted {
    let parsed = parser::parse(name, text, loader, environment);
    let (document, diagnostics, sources) = lower(parsed);
    Adapted {
        document,
        diagnostics,
        sources,
    }
}

/// What became of a Caddyfile.
#[derive(Debug)]
pub struct Adapted {
    /// The document. It must not be run if a diagnostic is fatal; `None` if there is none at all.
    pub document: Option<Document>,
    /// Everything that was found, in the order it was found.
    pub diagnostics: Vec<Diagnostic>,
    /// All texts that were read, which the diagnostics refer to.
    pub sources: Sources,
}
