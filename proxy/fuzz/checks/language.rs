//! Whatever a Caddyfile says: reading it, showing what is wrong and formatting it come to an end
//! and agree with each other.

use std::io;

use caddyfile::diagnostic::{Diagnostic, render};
use caddyfile::document::Document;
use caddyfile::format::format;
use caddyfile::parser::Loader;
use caddyfile::{Adapted, adapt};
use serde_json::Value;

/// Reads and formats `text`.
pub fn check(text: &str) {
    read_and_format(text);
}

/// Reads and formats a `text` whose braces stand where people write them. Elsewhere the formatter moves
/// them to lines of their own, as Caddy's does, which may give them another meaning.
#[allow(dead_code, reason = "the fuzz target's texts are of any kind")]
pub fn check_meaning(text: &str) {
    let Some((document, formatted)) = read_and_format(text) else {
        return;
    };
    let formatted = good(read(&formatted));
    assert_eq!(formatted, Some(document), "formatting changes the meaning");
}

/// The document of a `text` that is good, and its form.
fn read_and_format(text: &str) -> Option<(Value, String)> {
    let adapted = read(text);
    let _ = render(&adapted.diagnostics, &adapted.sources);
    let formatted = format(text);
    assert_eq!(format(&formatted), formatted, "formatting is not final");
    let document = good(adapted)?;
    let again: Document = serde_json::from_value(document.clone()).expect("it is a document");
    assert_eq!(
        json(&again),
        document,
        "the document changes when it is read"
    );
    Some((document, formatted))
}

/// What a Caddyfile becomes, where every file that it imports is itself.
fn read(text: &str) -> Adapted {
    adapt("Caddyfile", text, &Itself(text), &|name| {
        (!name.is_empty()).then(|| format!("{name} value"))
    })
}

fn good(adapted: Adapted) -> Option<Value> {
    let is_fatal = adapted.diagnostics.iter().any(Diagnostic::is_fatal);
    let document = adapted.document.filter(|_| !is_fatal)?;
    Some(json(&document))
}

fn json(document: &Document) -> Value {
    serde_json::to_value(document).expect("a document is JSON")
}

struct Itself<'t>(&'t str);

impl Loader for Itself<'_> {
    fn glob(&self, _importer: &str, pattern: &str) -> io::Result<Vec<String>> {
        Ok(vec![pattern.to_owned()])
    }

    fn read(&self, _name: &str) -> io::Result<String> {
        Ok(self.0.to_owned())
    }
}
