//! Compares with what Caddy makes of real Caddyfiles and of its own test cases.
//!
//! The corpus lies beside the checkout and is no part of it; where it is absent the tests say so
//! and pass.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what it found, and fails by panicking"
)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use caddyfile::adapt;
use caddyfile::diagnostic::{Diagnostic, Severity, render};
use caddyfile::document::Document;
use caddyfile::parser::NoFiles;
use serde_json::Value;

/// Share of the real files, in percent, that must come out as from Caddy.
const REAL_FILES_FLOOR: usize = 100;

/// Words of modules that the proxy has and the Caddy that made the expectations had not.
const BEYOND_CADDY: [&str; 3] = ["dns cloudflare", "rate_limit", "single_field"];

/// Share of Caddy's own cases, in percent, that must come out as from Caddy.
const ADAPT_CASES_FLOOR: usize = 98;

#[test]
fn real_files_adapt_as_in_caddy() {
    let mut report = Report::default();
    for (name, text) in corpus_files("files", ".caddyfile") {
        let stem = corpus_folder()
            .join("files")
            .join(name.trim_end_matches(".caddyfile"));
        let environment = environment(&stem.with_extension("env"));
        let expected = std::fs::read_to_string(stem.with_extension("adapted.json"))
            .ok()
            .map(|text| serde_json::from_str(&text).unwrap());
        report.add(
            &name,
            outcome("Caddyfile", &text, &environment, expected.as_ref()),
        );
    }
    report.finish("real files", REAL_FILES_FLOOR);
}

#[test]
fn cases_of_caddy_adapt_as_in_caddy() {
    let mut report = Report::default();
    let environment = HashMap::new();
    for (name, text) in corpus_files("adapt", ".caddyfiletest") {
        let text = text.replace("\r\n", "\n");
        let (input, expected) = text
            .split_once("----------\n")
            .expect("a case has two parts");
        let expected = serde_json::from_str(expected).ok();
        report.add(
            &name,
            outcome("Caddyfile", input, &environment, expected.as_ref()),
        );
    }
    report.finish("cases of Caddy", ADAPT_CASES_FLOOR);
}

#[test]
fn a_real_file_with_cloudflares_module_loads() {
    let is_loaded = |(_, text): &(String, String)| {
        let adapted = adapt("Caddyfile", text, &NoFiles, &|_| None);
        !adapted.diagnostics.iter().any(Diagnostic::is_fatal)
    };
    let files = corpus_files("files", ".caddyfile");
    if files.is_empty() {
        return;
    }
    let loaded = files
        .iter()
        .filter(|(_, text)| text.contains("dns cloudflare {env."))
        .filter(|file| is_loaded(file))
        .count();
    assert!(loaded > 0, "every file with `dns cloudflare` is refused");
}

/// What came out of many files.
#[derive(Default)]
struct Report {
    total: usize,
    differing: Vec<String>,
}

impl Report {
    fn add(&mut self, name: &str, outcome: Result<(), String>) {
        self.total += 1;
        if let Err(difference) = outcome {
            self.differing.push(format!("{name}: {difference}"));
        }
    }

    fn finish(self, what: &str, floor: usize) {
        if self.total == 0 {
            return;
        }
        for line in &self.differing {
            println!("{line}");
        }
        let equal = self.total - self.differing.len();
        let share = equal * 100 / self.total;
        println!(
            "{equal} of {} {what} come out as from Caddy: {share} %",
            self.total
        );
        assert!(
            share >= floor,
            "{share} % of {what}, expected at least {floor} %"
        );
    }
}

/// Whether `text` comes out as `expected`, or is refused where nothing is expected.
fn outcome(
    name: &str,
    text: &str,
    environment: &HashMap<String, String>,
    expected: Option<&Value>,
) -> Result<(), String> {
    let adapted = adapt(name, text, &NoFiles, &|name| environment.get(name).cloned());
    let is_error = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error;
    let errors: Vec<Diagnostic> = adapted
        .diagnostics
        .iter()
        .filter(|diagnostic| is_error(diagnostic))
        .cloned()
        .collect();
    let Some(expected) = expected else {
        let is_refused = adapted.diagnostics.iter().any(Diagnostic::is_fatal);
        let is_more_than_caddy = BEYOND_CADDY.iter().any(|words| text.contains(words));
        return if is_refused || is_more_than_caddy {
            Ok(())
        } else {
            Err("not refused".to_owned())
        };
    };
    if !errors.is_empty() {
        return Err(format!("refused: {}", render(&errors, &adapted.sources)));
    }
    let ours = serde_json::to_value(&adapted.document).unwrap();
    first_difference("", &ours, expected).map_or(Ok(()), Err)
}

fn environment(path: &Path) -> HashMap<String, String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn documents_survive_a_round_trip() {
    let mut documents = 0;
    for (name, text) in corpus_files("files", ".adapted.json") {
        let expected: Value = serde_json::from_str(&text).unwrap();
        let document: Document =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let ours = serde_json::to_value(&document).unwrap();
        assert_eq!(first_difference("", &ours, &expected), None, "{name}");
        documents += 1;
    }
    for (name, text) in corpus_files("adapt", ".caddyfiletest") {
        let Some((_, expected)) = text.split_once("\n----------\n") else {
            continue;
        };
        let Ok(expected) = serde_json::from_str::<Value>(expected) else {
            continue;
        };
        let document: Document = serde_json::from_value(expected.clone())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let ours = serde_json::to_value(&document).unwrap();
        assert_eq!(first_difference("", &ours, &expected), None, "{name}");
        documents += 1;
    }
    println!("{documents} documents read and written");
}

/// The path of the first value that differs, with both values.
fn first_difference(path: &str, ours: &Value, expected: &Value) -> Option<String> {
    match (ours, expected) {
        (Value::Object(ours), Value::Object(expected)) => {
            for (key, value) in expected {
                let path = format!("{path}/{key}");
                match ours.get(key) {
                    Some(our_value) => {
                        if let Some(difference) = first_difference(&path, our_value, value) {
                            return Some(difference);
                        }
                    }
                    None => return Some(format!("{path}: missing, expected {value}")),
                }
            }
            ours.iter()
                .find(|(key, _)| !expected.contains_key(*key))
                .map(|(key, value)| format!("{path}/{key}: not expected: {value}"))
        }
        (Value::Array(ours), Value::Array(expected)) => {
            for (index, (our_value, value)) in ours.iter().zip(expected).enumerate() {
                let difference = first_difference(&format!("{path}/{index}"), our_value, value);
                if difference.is_some() {
                    return difference;
                }
            }
            (ours.len() != expected.len())
                .then(|| format!("{path}: {} items, expected {}", ours.len(), expected.len()))
        }
        _ => (ours != expected).then(|| format!("{path}: {ours}, expected {expected}")),
    }
}

/// Names and texts of the corpus files that end with `suffix`, by name.
fn corpus_files(folder: &str, suffix: &str) -> Vec<(String, String)> {
    let folder = corpus_folder().join(folder);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("no corpus at {}: left out", folder.display());
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
        .into_iter()
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            let text = std::fs::read_to_string(&path).ok()?;
            name.ends_with(suffix).then_some((name, text))
        })
        .collect()
}

fn corpus_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus")
}
