//! `static-server status`: what a running server holds, asked over gRPC.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table, presets};
use proto::files::v1::events_client::EventsClient;
use proto::files::v1::{GetStatusRequest, GetStatusResponse, Volume};
use proto::sidecar::dns::Resolver;
use proto::sidecar::error_chain::Chain;
use proto::sidecar::grpc;
use proto::sidecar::identity::{IDENTITY_FILE, Identity, LiveIdentity, Role};
use serde_json::json;

/// Prints the status of the server at `events_listen`, as `serve` got it.
///
/// # Errors
/// In words for the person who asked, with what to do.
pub async fn show(control: &Path, events_listen: SocketAddr, as_json: bool) -> Result<(), String> {
    let status = ask(control, dialled(events_listen)).await?;
    if as_json {
        print(&format!("{:#}", to_json(&status)));
    } else {
        print(&to_table(&status).to_string());
    }
    Ok(())
}

async fn ask(control: &Path, address: SocketAddr) -> Result<GetStatusResponse, String> {
    let live = LiveIdentity::default();
    live.set(identity(control)?);
    let resolver = Resolver::from_system().map_err(|error| error.to_string())?;
    let channel = grpc::channel(
        &format!("https://{address}"),
        Role::StaticServer,
        live,
        resolver,
    )
    .map_err(|error| Chain(&error).to_string())?;
    let answer = EventsClient::new(channel)
        .get_status(GetStatusRequest {})
        .await;
    answer.map(tonic::Response::into_inner).map_err(|status| {
        format!(
            "no status from {address} (--events-listen): {}; is static-server running there?",
            Chain(&status)
        )
    })
}

/// The identity in the folder itself, or in one of its roles' folders, as in cert-manager's volume.
fn identity(control: &Path) -> Result<Identity, String> {
    let folders: [PathBuf; 3] = [
        control.to_owned(),
        control.join(Role::Operator.as_str()),
        control.join(Role::StaticServer.as_str()),
    ];
    let Some(folder) = folders
        .iter()
        .find(|folder| folder.join(IDENTITY_FILE).exists())
    else {
        return Err(format!(
            "there is no mutual TLS identity in {} (--control); cert-manager writes one for each \
             role: name the folder of static-server or operator, and check that cert-manager runs",
            control.display()
        ));
    };
    Identity::load(folder).map_err(|error| Chain(&error).to_string())
}

/// An address that reaches a server which listens on `listen`.
fn dialled(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn to_table(status: &GetStatusResponse) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "PATH",
        "FOLDER",
        "FILES",
        "BYTES",
        "WATCHED BY",
        "WATCHERS",
        "STATE",
    ]);
    for volume in &status.volumes {
        table.add_row([
            volume.path.clone(),
            volume.directory.clone(),
            volume.files.to_string(),
            volume.bytes.to_string(),
            volume.watched_by.clone(),
            volume.watchers.to_string(),
            state(volume),
        ]);
    }
    for column in [2, 3, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn state(volume: &Volume) -> String {
    if volume.is_available {
        "available".to_owned()
    } else {
        format!("missing: {}", volume.problem)
    }
}

fn to_json(status: &GetStatusResponse) -> serde_json::Value {
    let volume = |volume: &Volume| {
        json!({
            "path": volume.path,
            "directory": volume.directory,
            "is_available": volume.is_available,
            "problem": volume.problem,
            "files": volume.files,
            "bytes": volume.bytes,
            "watched_by": volume.watched_by,
            "watchers": volume.watchers,
        })
    };
    json!({ "volumes": status.volumes.iter().map(volume).collect::<Vec<_>>() })
}

#[expect(clippy::print_stdout, reason = "what the command was asked for")]
fn print(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use proto::files::v1::{GetStatusResponse, Volume};

    use super::{dialled, identity, to_json, to_table};

    fn status() -> GetStatusResponse {
        GetStatusResponse {
            volumes: vec![
                Volume {
                    path: "/srv/static".to_owned(),
                    directory: "/data/static".to_owned(),
                    is_available: true,
                    problem: String::new(),
                    files: 12,
                    bytes: 3456,
                    watched_by: "inotify".to_owned(),
                    watchers: 1,
                },
                Volume {
                    path: "/srv/media".to_owned(),
                    directory: "/data/media".to_owned(),
                    problem: "No such file or directory".to_owned(),
                    watched_by: "none".to_owned(),
                    ..Volume::default()
                },
            ],
        }
    }

    #[test]
    fn table_shows_every_volume() {
        let table = to_table(&status()).to_string();
        let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].contains("/srv/static") && lines[1].ends_with("available"));
        assert!(
            lines[2].contains("none") && lines[2].ends_with("missing: No such file or directory")
        );
    }

    #[test]
    fn json_has_the_same_facts() {
        let json = to_json(&status());
        assert_eq!(json["volumes"][0]["files"], 12);
        assert_eq!(json["volumes"][1]["is_available"], false);
    }

    #[test]
    fn a_server_on_every_address_is_reached_on_loopback() {
        assert_eq!(
            dialled("0.0.0.0:7101".parse().unwrap()).to_string(),
            "127.0.0.1:7101"
        );
        assert_eq!(
            dialled("[::]:7101".parse().unwrap()).to_string(),
            "[::1]:7101"
        );
        assert_eq!(
            dialled("10.0.0.1:1".parse().unwrap()).to_string(),
            "10.0.0.1:1"
        );
    }

    #[test]
    fn a_missing_identity_says_what_to_do() {
        let problem = identity(std::path::Path::new("/nonexistent")).unwrap_err();
        assert!(
            problem.contains("--control") && problem.contains("cert-manager"),
            "{problem}"
        );
    }
}
