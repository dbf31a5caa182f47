//! Lexer, parser, adapter and formatter.

#![no_main]

#[path = "../checks/language.rs"]
mod language;

libfuzzer_sys::fuzz_target!(|text: &str| language::check(text));
