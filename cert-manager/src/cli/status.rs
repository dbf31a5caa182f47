//! `status`: what a running service knows, as a table or JSON.

mod json;
mod table;

use std::io::Write;

use jiff::Timestamp;
use proto::certs::v1::status_client::StatusClient;
use proto::certs::v1::watch_response::Event;
use proto::certs::v1::{GetRequest, ListRequest, NameStatus, WatchRequest};
use proto::sidecar::cli::AdminAddress;
use proto::sidecar::error_chain::Chain;
use proto::sidecar::grpc::admin_channel;
use tonic::transport::Channel;

use super::{StatusArgs, call_failed, callable};

/// Prints the status of all names, or of one; with `--watch` goes on until interrupted.
///
/// # Errors
/// Why there is none, in words for an operator.
pub async fn run(args: &StatusArgs, out: &mut impl Write) -> Result<(), String> {
    let address = callable(args.status_listen);
    let channel =
        admin_channel(&AdminAddress::Tcp(address)).map_err(|error| Chain(&error).to_string())?;
    let mut client = StatusClient::new(channel);
    let result = if args.watch {
        watch(&mut client, args, out).await
    } else {
        show(&mut client, args, out).await
    };
    result.map_err(|error| match error {
        Error::Call(status) => call_failed(args.status_listen, "--status-listen", &status),
        Error::Print(error) => format!("cannot print: {error}"),
    })
}

enum Error {
    Call(Box<tonic::Status>),
    Print(std::io::Error),
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        Self::Call(Box::new(status))
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Print(error)
    }
}

async fn show(
    client: &mut StatusClient<Channel>,
    args: &StatusArgs,
    out: &mut impl Write,
) -> Result<(), Error> {
    let names = match &args.name {
        None => client.list(ListRequest {}).await?.into_inner().names,
        Some(name) => {
            let request = GetRequest { name: name.clone() };
            let answer = client.get(request).await?.into_inner();
            answer.status.into_iter().collect()
        }
    };
    print(&names, args, out)
}

fn print(names: &[NameStatus], args: &StatusArgs, out: &mut impl Write) -> Result<(), Error> {
    if args.json {
        let values: Vec<_> = names.iter().map(json::name).collect();
        writeln!(out, "{:#}", serde_json::Value::from(values))?;
    } else if names.is_empty() {
        writeln!(out, "No names yet: no proxy has declared any.")?;
    } else {
        let now = Timestamp::now();
        let width = std::env::var("COLUMNS").ok();
        let width = width.and_then(|columns| columns.parse().ok());
        writeln!(out, "{}", table::render(names, now, width))?;
        if let ([only], true) = (names, args.name.is_some()) {
            write!(out, "{}", table::details(only, now))?;
        }
    }
    Ok(())
}

async fn watch(
    client: &mut StatusClient<Channel>,
    args: &StatusArgs,
    out: &mut impl Write,
) -> Result<(), Error> {
    let request = WatchRequest {
        name: args.name.clone().unwrap_or_default(),
    };
    let mut events = client.watch(request).await?.into_inner();
    while let Some(event) = events.message().await? {
        match event.event {
            Some(Event::Status(status)) if args.json => writeln!(out, "{}", json::name(&status))?,
            Some(Event::Forgotten(name)) if args.json => {
                writeln!(out, "{}", json::forgotten(&name))?;
            }
            Some(Event::Status(status)) => {
                writeln!(out, "{}", table::line(&status, Timestamp::now()))?;
            }
            Some(Event::Forgotten(name)) => writeln!(out, "{name}  forgotten")?,
            None => {}
        }
        out.flush()?;
    }
    Ok(())
}
