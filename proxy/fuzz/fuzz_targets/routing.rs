//! Adapt, compile and route.

#![no_main]

#[path = "../checks/routing.rs"]
mod routing;

libfuzzer_sys::fuzz_target!(|input: &str| routing::check(input));
