//! The program `static-server`; see the library of the same name.

use std::process::ExitCode;

fn main() -> ExitCode {
    static_server::cli::run()
}
