//! The checks of the fuzz targets, on what was saved and on changes of it.

#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(
    unreachable_pub,
    reason = "the checks are public where the fuzz targets use them"
)]

#[path = "../../fuzz/checks/language.rs"]
mod language;
#[path = "../../fuzz/checks/routing.rs"]
mod routing;

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;

/// The Caddyfiles with requests that are in the source tree.
fn saved() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut saved = Vec::new();
    for file in files(&folder.join("fuzz/seeds")) {
        saved.push(std::fs::read_to_string(file).unwrap());
    }
    for file in files(&folder.join("../tests/differential/cases")) {
        let cases = std::fs::read_to_string(file).unwrap();
        let cases = cases.split("\n=== ").map(|case| case.split_once('\n'));
        saved.extend(cases.flatten().map(|(_, case)| case.to_owned()));
    }
    assert!(saved.len() > 50, "the saved inputs are not found");
    saved
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// One of the saved inputs, some of whose words and lines stand elsewhere.
fn changed() -> impl Strategy<Value = String> {
    let change = (any::<Index>(), any::<Index>(), 0..4);
    (select(saved()), prop::collection::vec(change, 1..8)).prop_map(|(text, changes)| {
        let mut parts: Vec<&str> = text.split_inclusive([' ', '\n']).collect();
        for (from, to, kind) in changes {
            let (from, to) = (from.index(parts.len()), to.index(parts.len()));
            match kind {
                0 => parts.swap(from, to),
                1 => parts[to] = parts[from],
                2 => parts.insert(to, parts[from]),
                _ if parts.len() > 1 => drop(parts.remove(from)),
                _ => {}
            }
        }
        parts.concat()
    })
}

/// The same cases each time: what is new is for the fuzzer to find.
fn cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        cases: count,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

#[test]
fn saved_files_are_read() {
    saved()
        .iter()
        .for_each(|text| language::check_meaning(text));
}

#[test]
fn saved_requests_are_answered() {
    saved().iter().for_each(|input| routing::check(input));
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn changed_files_are_read(text in changed()) {
        language::check(&text);
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn changed_sites_answer_requests(input in changed()) {
        routing::check(&input);
    }
}
