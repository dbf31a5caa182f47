//! Drives the real manager and its store with very many names, and prints what that costs.
//!
//! ```text
//! simulation invented [--names 100000] [--days 90] [--lifetime-days 90] [--data DIR]
//! simulation start --data DIR
//! simulation pebble [--names 2000] [--data DIR]
//! ```
//!
//! `invented` needs no network: an authority of its own signs, and the clock is set forward as fast as
//! the work is done. `start` measures the start on a folder that `invented` has left; `invented` runs
//! it in a process of its own, so that its memory can be told. `pebble` obtains certificates from a
//! Pebble that it starts.

#![expect(clippy::print_stdout, reason = "the report is what this is for")]

mod authority;
mod invented;
mod pebble;
mod usage;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measures the cert-manager with very many names.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Obtains and renews certificates on invented time.
    Invented(invented::Options),
    /// Starts on a folder that is there, has one proxy take everything, and ends.
    Start {
        /// The data folder.
        #[arg(long)]
        data: PathBuf,
    },
    /// Obtains certificates from a real authority.
    Pebble(pebble::Options),
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match Arguments::parse().command {
        Command::Invented(options) => runtime.block_on(invented::run(options)),
        Command::Start { data } => runtime.block_on(invented::start(&data)),
        Command::Pebble(options) => runtime.block_on(pebble::run(options)),
    }
}

/// The folder to work in: the one that is named, or a temporary one that lives as long as this.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Folder {
    fn new(named: Option<PathBuf>) -> std::io::Result<Self> {
        Ok(match named {
            Some(path) => {
                std::fs::create_dir_all(&path)?;
                Self {
                    path,
                    _temporary: None,
                }
            }
            None => {
                let temporary = tempfile::tempdir()?;
                Self {
                    path: temporary.path().to_owned(),
                    _temporary: Some(temporary),
                }
            }
        })
    }
}
