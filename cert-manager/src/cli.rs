//! The command line.

pub mod doctor;
pub mod fetch;
pub mod operator;
pub mod status;
pub mod transfer;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use proto::sidecar::cli::{AdminAddress, CommonArgs};

use crate::issuer::{RevocationReason, preflight};
use crate::policy::LETS_ENCRYPT;

/// Obtains, stores, renews and delivers certificates
#[derive(Debug, Parser)]
#[command(name = "cert-manager", version, arg_required_else_help = true)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub common: CommonArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service
    Serve(Box<ServeArgs>),
    /// Show names, their certificates and what is wrong with them
    Status(StatusArgs),
    /// Say why a name has no certificate: DNS, ports, CAA, the authority; exit with 1 for a problem
    Doctor(DoctorArgs),
    /// Write certificates as files for another program, and keep them current with --watch
    Fetch(fetch::FetchArgs),
    /// Obtain a new certificate for a name now, whatever the present one's age
    Renew(OperatorArgs),
    /// Drop what is stored for a name; one that is still in a Caddyfile is obtained anew
    Forget(OperatorArgs),
    /// Write what is stored into a folder, in Caddy's layout and not sealed
    Export(ExportArgs),
    /// Take certificates, accounts and the local authority from a folder: Caddy's data, certbot's,
    /// or pairs of PEM files
    Import(ImportArgs),
    /// Have the authority revoke the certificate of a name; one that is still in a Caddyfile is
    /// obtained anew with a new key
    Revoke(RevokeArgs),
    /// Give accounts at ACME authorities a new key
    RolloverAccount(RolloverAccountArgs),
    /// Exit with 0 when the running service is ready: the container health check
    Health(AdminArgs),
}

/// Flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Folder of certificates, keys and accounts; must outlive the container
    #[arg(
        long,
        env = "PORTICO_DATA",
        default_value = "/data",
        value_name = "DIR"
    )]
    pub data: PathBuf,
    /// Where they are stored: sled, in the data folder
    #[arg(
        long,
        env = "PORTICO_STORE",
        default_value = "sled",
        value_name = "STORE"
    )]
    pub store: String,
    /// Address for proxies and operators: gRPC over mutual TLS
    #[arg(
        long,
        env = "PORTICO_LISTEN",
        default_value = "0.0.0.0:7070",
        value_name = "ADDR"
    )]
    pub listen: SocketAddr,
    /// Address for `status`: gRPC in plaintext, without private keys
    #[arg(
        long,
        env = "PORTICO_STATUS_LISTEN",
        default_value = "127.0.0.1:7071",
        value_name = "ADDR"
    )]
    pub status_listen: SocketAddr,
    /// ACME directory for names whose site names none
    #[arg(long, env = "PORTICO_ACME_CA", default_value = LETS_ENCRYPT, value_name = "URL")]
    pub acme_ca: String,
    /// PEM file of certificates to trust for ACME directories, beside the public ones
    #[arg(long, env = "PORTICO_ACME_ROOT", value_name = "FILE")]
    pub acme_root: Option<String>,
    /// Contact address of ACME accounts, for sites that name none
    #[arg(long, env = "PORTICO_EMAIL")]
    pub email: Option<String>,
    /// File of keys that private keys are sealed with at rest, one a line: base64 of 32 octets, or a
    /// passphrase. The first seals, all of them open
    #[arg(long, env = "PORTICO_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<String>,
    /// Program that writes and removes TXT records for `dns exec`: PROGRAM present|cleanup FQDN VALUE
    #[arg(long, env = "PORTICO_DNS_EXEC", value_name = "PROGRAM")]
    pub dns_exec: Option<String>,
    /// Another program that may fetch certificates, and the names it may have: ID=NAME,NAME
    /// (repeatable; in the variable separated by `;`)
    #[arg(
        long,
        env = "PORTICO_SUBSCRIBER",
        value_delimiter = ';',
        value_name = "ID=NAME,…"
    )]
    pub subscriber: Vec<String>,
    /// Events of certificates.
    #[command(flatten)]
    pub events: EventArgs,
    /// The look at a name before an order.
    #[command(flatten)]
    pub preflight: PreflightArgs,
    /// Where metrics and readiness are.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Flags of `serve` about events of certificates.
#[derive(Clone, Debug, Args)]
pub struct EventArgs {
    /// Program to run when a certificate is obtained, renewed, fails, expires, is revoked or forgotten
    /// (repeatable; in the variable separated by `;`)
    #[arg(
        long,
        env = "PORTICO_EVENT_EXEC",
        value_delimiter = ';',
        value_name = "PROGRAM"
    )]
    pub event_exec: Vec<String>,
    /// URL to post such events to (repeatable; in the variable separated by spaces). The variable
    /// PORTICO_EVENT_WEBHOOK_TOKEN holds a bearer token for all of them
    #[arg(
        long,
        env = "PORTICO_EVENT_WEBHOOK",
        value_delimiter = ' ',
        value_name = "URL",
        hide_env_values = true
    )]
    pub event_webhook: Vec<String>,
}

/// Flags of `serve` about the look at a name before an order at a public authority.
#[derive(Clone, Debug, Args)]
pub struct PreflightArgs {
    /// What to do when the DNS, CAA or port 80 speak against an order
    #[arg(
        long,
        env = "PORTICO_PREFLIGHT",
        value_enum,
        default_value_t,
        value_name = "MODE"
    )]
    pub preflight: preflight::Mode,
    /// Name server to ask, IP or IP:PORT, where this machine's sees another DNS than the internet
    /// does (repeatable; in the variable separated by commas)
    #[arg(
        long,
        env = "PORTICO_PREFLIGHT_RESOLVER",
        value_delimiter = ',',
        value_name = "ADDR"
    )]
    pub preflight_resolver: Vec<String>,
    /// Port that authorities ask for answers to HTTP-01
    #[arg(
        long,
        env = "PORTICO_PREFLIGHT_HTTP_PORT",
        default_value_t = 80,
        value_name = "PORT"
    )]
    pub preflight_http_port: u16,
    /// Port that browsers reach sites at
    #[arg(
        long,
        env = "PORTICO_PREFLIGHT_HTTPS_PORT",
        default_value_t = 443,
        value_name = "PORT"
    )]
    pub preflight_https_port: u16,
}

/// Where metrics and readiness are.
#[derive(Clone, Debug, Args)]
pub struct AdminArgs {
    /// Address of /metrics, /healthz and /readyz: HOST:PORT or unix:PATH
    #[arg(
        long,
        env = "PORTICO_ADMIN",
        default_value = "127.0.0.1:9070",
        value_name = "ADDR"
    )]
    pub admin: AdminAddress,
}

/// Flags of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Only this name
    pub name: Option<String>,
    /// Print JSON: a list of names; with --watch one object a line
    #[arg(long)]
    pub json: bool,
    /// Go on and print each change
    #[arg(long)]
    pub watch: bool,
    /// Address of the running service
    #[arg(
        long,
        env = "PORTICO_STATUS_LISTEN",
        default_value = "127.0.0.1:7071",
        value_name = "ADDR"
    )]
    pub status_listen: SocketAddr,
}

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The name, and how to reach the running service.
    #[command(flatten)]
    pub operator: OperatorArgs,
    /// Print JSON: an object with a list of checks
    #[arg(long)]
    pub json: bool,
}

/// Where operators reach the running service.
#[derive(Clone, Copy, Debug, Args)]
pub struct ServiceArgs {
    /// Address of the running service
    #[arg(
        long,
        env = "PORTICO_LISTEN",
        default_value = "0.0.0.0:7070",
        value_name = "ADDR"
    )]
    pub listen: SocketAddr,
}

/// Flags of an operator's commands.
#[derive(Debug, Args)]
pub struct OperatorArgs {
    /// The name, as in the Caddyfile
    pub name: String,
    /// The running service.
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// Flags of `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Folder to write to: a new or an empty one
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Only the certificate of this name; may be repeated
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,
    /// The running service.
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// Flags of `revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The name and the service.
    #[command(flatten)]
    pub operator: OperatorArgs,
    /// Why: unspecified, keyCompromise, affiliationChanged, superseded or cessationOfOperation.
    /// After keyCompromise proxies stop serving the certificate at once, else when a new one is
    /// there
    #[arg(long, default_value_t)]
    pub reason: RevocationReason,
}

/// Flags of `rollover-account`.
#[derive(Debug, Args)]
pub struct RolloverAccountArgs {
    /// Only the accounts at this ACME directory
    pub directory: Option<String>,
    /// Only the account with this contact address
    #[arg(long)]
    pub email: Option<String>,
    /// The running service.
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// Flags of `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Folder to read
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Sign by the imported local authority from now on, even if the present one has certificates
    /// in use
    #[arg(long)]
    pub replace_authority: bool,
    /// The running service.
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// The address to call for a service that listens on `listen`: an unspecified one means this
/// machine.
fn callable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        std::net::IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// What a failed call says, for an operator.
fn call_failed(address: SocketAddr, flag: &str, status: &tonic::Status) -> String {
    match status.code() {
        tonic::Code::Unavailable if status.message().contains("not active") => {
            status.message().to_owned()
        }
        tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled => {
            let mut text = format!("cannot reach cert-manager at {address} ({flag})");
            let mut source = std::error::Error::source(status);
            while let Some(error) = source {
                let more = error.to_string();
                if !text.contains(&more) {
                    text = format!("{text}: {more}");
                }
                source = error.source();
            }
            format!("{text}; is it running?")
        }
        _ => status.message().to_owned(),
    }
}
