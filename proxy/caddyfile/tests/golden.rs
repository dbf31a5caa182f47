//! Cases of our own: a Caddyfile, a line of ten dashes, and what becomes of it.
//!
//! `testdata/adapt` has documents, which are equal to Caddy's; `testdata/errors` has messages.
//! `UPDATE_GOLDEN=1 cargo test -p caddyfile --test golden` writes what comes out into the files.

#![expect(
    clippy::unwrap_used,
    reason = "a test says what it found, and fails by panicking"
)]

use std::path::Path;

use caddyfile::adapt;
use caddyfile::diagnostic::{Diagnostic, Severity, render};
use caddyfile::parser::NoFiles;

const SEPARATOR: &str = "----------\n";

#[test]
fn documents_are_as_written_down() {
    check("adapt", |text| {
        let adapted = adapt("Caddyfile", text, &NoFiles, &|_| None);
        let errors: Vec<Diagnostic> = adapted
            .diagnostics
            .into_iter()
            .filter(|diagnostic| diagnostic.severity == Severity::Error)
            .collect();
        assert!(errors.is_empty(), "{}", render(&errors, &adapted.sources));
        let document = serde_json::to_value(adapted.document).unwrap();
        serde_json::to_string_pretty(&document).unwrap() + "\n"
    });
}

#[test]
fn messages_are_as_written_down() {
    check("errors", |text| {
        let adapted = adapt("Caddyfile", text, &NoFiles, &|_| None);
        assert!(adapted.diagnostics.iter().any(Diagnostic::is_fatal));
        render(&adapted.diagnostics, &adapted.sources)
    });
}

fn check(folder: &str, run: impl Fn(&str) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(folder);
    let mut differing = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let case = std::fs::read_to_string(&path).unwrap();
        let (text, expected) = case.split_once(SEPARATOR).expect("a case has two parts");
        let ours = run(text);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, format!("{text}{SEPARATOR}{ours}")).unwrap();
        } else if ours != expected {
            differing.push(format!("{}:\n{ours}", path.display()));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
