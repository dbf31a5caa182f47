//! The command line.

mod config;
mod explain;
mod remote;
mod serve;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand};
use proto::edge::v1::PurgeRequest;
use proto::sidecar::cli::{AdminAddress, CommonArgs, Exit};

/// The edge of Portico: reads the Caddyfile, terminates TLS, routes and forwards.
#[derive(Debug, Parser)]
#[command(name = "proxy", version, about, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    common: CommonArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve
    Serve(ServeArgs),
    /// Check a configuration
    Validate(FileArgs),
    /// Show the JSON document that a Caddyfile becomes
    Adapt {
        #[command(flatten)]
        file: FileArgs,
        /// Indent the JSON
        #[arg(long)]
        pretty: bool,
    },
    /// Format a Caddyfile
    Fmt {
        #[command(flatten)]
        file: FileArgs,
        /// Write the result to the file instead of standard output
        #[arg(long)]
        overwrite: bool,
    },
    /// Show which routes and handlers a request would take, and why
    Explain(ExplainArgs),
    /// Make a running proxy read its configuration again
    Reload(AdminArgs),
    /// Remove responses from a running proxy's cache
    Purge(PurgeArgs),
    /// Show how a running proxy fares
    Status {
        #[command(flatten)]
        admin: AdminArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Exit with 0 if a running proxy is ready
    Health(AdminArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// The Caddyfile, or Caddy's JSON document if the name ends in .json
    #[arg(
        long,
        env = "PORTICO_CONFIG",
        default_value = "/etc/caddy/Caddyfile",
        value_name = "FILE"
    )]
    config: PathBuf,
    /// Folder in which certificates are kept over restarts
    #[arg(
        long,
        env = "PORTICO_DATA",
        default_value = "/data",
        value_name = "DIR"
    )]
    data: PathBuf,
    /// Where cert-manager serves gRPC
    #[arg(
        long,
        env = "PORTICO_CERT_MANAGER",
        default_value = "https://cert-manager:7070",
        value_name = "URL"
    )]
    cert_manager: String,
    /// Where static-server serves HTTP
    #[arg(
        long,
        env = "PORTICO_STATIC_SERVER",
        default_value = "http://static-server:7100",
        value_name = "URL"
    )]
    static_server: String,
    /// Where static-server announces changed files over gRPC
    #[arg(
        long,
        env = "PORTICO_STATIC_EVENTS",
        default_value = "https://static-server:7101",
        value_name = "URL"
    )]
    static_events: String,
    /// Folder of sockets over which static-servers on this host hand over open files
    #[arg(
        long,
        env = "PORTICO_STATIC_HANDOFF",
        default_value = "/run/portico/files",
        value_name = "DIR"
    )]
    static_handoff: PathBuf,
    /// Number of worker threads [default: one per core]
    #[arg(long, env = "PORTICO_WORKERS", value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// Reload when the configuration file, or one that it imports, changes
    #[arg(long, env = "PORTICO_WATCH", value_parser = FalseyValueParser::new())]
    watch: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
struct FileArgs {
    /// The file; `-` is standard input [default: that of --config]
    file: Option<PathBuf>,
    /// The Caddyfile, or Caddy's JSON document if the name ends in .json
    #[arg(
        long,
        env = "PORTICO_CONFIG",
        default_value = "/etc/caddy/Caddyfile",
        value_name = "FILE"
    )]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// The URL that is asked for; without a scheme it is https:
    url: String,
    /// Method of the request
    #[arg(long, default_value = "GET", value_name = "METHOD")]
    method: String,
    /// A field of the request, `NAME: VALUE`; may be given several times
    #[arg(long, value_name = "FIELD")]
    header: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Where static-server serves HTTP, for `file` matchers
    #[arg(
        long,
        env = "PORTICO_STATIC_SERVER",
        default_value = "http://static-server:7100",
        value_name = "URL"
    )]
    static_server: String,
    /// The Caddyfile, or Caddy's JSON document if the name ends in .json
    #[arg(
        long,
        env = "PORTICO_CONFIG",
        default_value = "/etc/caddy/Caddyfile",
        value_name = "FILE"
    )]
    config: PathBuf,
}

#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = false, args = ["url", "all"])]
struct PurgeArgs {
    /// The URL; without a query those with any, with `*` at its end all that begin like it
    url: Option<String>,
    /// All responses of all sites
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Clone, Debug, Args)]
struct AdminArgs {
    /// Where the administration listener is: HOST:PORT or unix:PATH
    #[arg(
        long,
        env = "PORTICO_ADMIN",
        default_value = "127.0.0.1:9080",
        value_name = "ADDR"
    )]
    admin: AdminAddress,
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> Exit {
        match self.command {
            Command::Serve(args) => serve::serve(self.common, args),
            Command::Validate(file) => config::validate(&file),
            Command::Adapt { file, pretty } => config::adapt(&file, pretty),
            Command::Fmt { file, overwrite } => config::format(&file, overwrite),
            Command::Explain(args) => explain::explain(&args),
            Command::Reload(admin) => remote::block_on(remote::reload(admin.admin)),
            Command::Purge(args) => args.purge(),
            Command::Status { admin, json } => remote::block_on(remote::status(admin.admin, json)),
            Command::Health(admin) => remote::block_on(remote::health(admin.admin)),
        }
    }
}

impl PurgeArgs {
    fn purge(self) -> Exit {
        let request = match self.url {
            Some(url) => remote::purge_of(&url),
            None => Ok(PurgeRequest {
                everything: true,
                ..PurgeRequest::default()
            }),
        };
        match request {
            Ok(request) => remote::block_on(remote::purge(self.admin.admin, request)),
            Err(message) => {
                complain(&format!("error: {message}\n"));
                Exit::Usage
            }
        }
    }
}

/// Prints what a command is asked for.
#[expect(clippy::print_stdout, reason = "the output of a command")]
fn print(text: &str) {
    print!("{text}");
}

/// Prints what is to be said beside it.
#[expect(clippy::print_stderr, reason = "diagnostics of a command")]
fn complain(text: &str) {
    eprint!("{text}");
}
