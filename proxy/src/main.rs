//! The edge of Portico.

use std::process::ExitCode;

use clap::Parser as _;
use proxy::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run().into()
}
