//! Changes over gRPC with mutual TLS.

use std::time::Duration;

use proto::files::v1::events_client::EventsClient;
use proto::files::v1::watch_response::Change;
use proto::files::v1::{GetStatusRequest, WatchRequest, WatchResponse};
use proto::sidecar::dns::Resolver;
use proto::sidecar::grpc;
use proto::sidecar::identity::Role;
use tonic::Code;
use tonic::transport::Channel;

use crate::authority::Authority;
use crate::support::{PATIENCE, Server, eventually};

fn client(authority: &Authority, server: &Server, role: Role) -> EventsClient<Channel> {
    let url = format!("https://{}", server.events_address);
    let resolver = Resolver::from_system().unwrap();
    let identity = authority.identity(role);
    EventsClient::new(grpc::channel(&url, Role::StaticServer, identity, resolver).unwrap())
}

async fn start(volumes: &[&str]) -> (Authority, Server) {
    let authority = Authority::new();
    let server = Server::start_with(volumes, authority.identity(Role::StaticServer)).await;
    (authority, server)
}

async fn watch(authority: &Authority, server: &Server) -> tonic::Streaming<WatchResponse> {
    let mut client = client(authority, server, Role::Proxy);
    client
        .watch(WatchRequest {
            volumes: Vec::new(),
        })
        .await
        .unwrap()
        .into_inner()
}

async fn next(stream: &mut tonic::Streaming<WatchResponse>) -> WatchResponse {
    let message = tokio::time::timeout(PATIENCE, stream.message()).await;
    message
        .expect("a response in time")
        .unwrap()
        .expect("the stream goes on")
}

/// Reads until a change satisfies `is_it`.
async fn wait_for(
    stream: &mut tonic::Streaming<WatchResponse>,
    what: &str,
    is_it: impl Fn(&WatchResponse) -> bool,
) {
    let found = async {
        loop {
            let response = stream.message().await.unwrap().expect("the stream goes on");
            if is_it(&response) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("no event: {what}"));
}

async fn is_watched(authority: &Authority, server: &Server) {
    let client = client(authority, server, Role::Operator);
    eventually("watching", || {
        let mut client = client.clone();
        async move {
            let status = client
                .get_status(GetStatusRequest {})
                .await
                .unwrap()
                .into_inner();
            status
                .volumes
                .iter()
                .all(|volume| volume.watched_by == "inotify")
        }
    })
    .await;
}

fn is_path(response: &WatchResponse, path: &str) -> bool {
    response.change == Some(Change::Path(path.to_owned()))
}

#[tokio::test]
async fn writes_moves_and_removals_are_told() {
    let (authority, server) = start(&["/srv=volume"]).await;
    server.write("static/app.css", "1");
    is_watched(&authority, &server).await;
    let mut stream = watch(&authority, &server).await;
    let first = next(&mut stream).await;
    assert_eq!((first.volume.as_str(), first.change), ("/srv", None));

    server.write("static/app.css", "2");
    wait_for(&mut stream, "write", |event| {
        is_path(event, "static/app.css")
    })
    .await;
    std::fs::rename(server.path("static/app.css"), server.path("static/new.css")).unwrap();
    wait_for(&mut stream, "move", |event| {
        is_path(event, "static/new.css")
    })
    .await;
    std::fs::remove_file(server.path("static/new.css")).unwrap();
    wait_for(&mut stream, "removal", |event| {
        is_path(event, "static/new.css")
    })
    .await;

    // Folders that appear, also whole trees that are moved in, are watched at once.
    server.write("media/2026/11/a.jpg", "1");
    wait_for(&mut stream, "new folder", |event| is_path(event, "media")).await;
    server.write("media/2026/11/a.jpg", "22");
    wait_for(&mut stream, "below", |event| {
        is_path(event, "media/2026/11/a.jpg")
    })
    .await;
    std::fs::rename(server.path("media"), server.path("moved")).unwrap();
    wait_for(&mut stream, "moved folder", |event| is_path(event, "moved")).await;
    server.write("moved/2026/11/a.jpg", "333");
    wait_for(&mut stream, "below moved", |event| {
        is_path(event, "moved/2026/11/a.jpg")
    })
    .await;
}

#[tokio::test]
async fn sequences_have_no_gap_within_an_epoch() {
    let (authority, server) = start(&["/srv=volume"]).await;
    is_watched(&authority, &server).await;
    let mut stream = watch(&authority, &server).await;
    let first = next(&mut stream).await;
    for round in 0..50 {
        server.write(&format!("{round}.txt"), "x");
    }
    let mut sequence = first.sequence;
    loop {
        let response = next(&mut stream).await;
        assert_eq!(
            (response.epoch, response.sequence),
            (first.epoch, sequence + 1)
        );
        sequence = response.sequence;
        if is_path(&response, "49.txt") {
            break;
        }
    }
}

#[tokio::test]
async fn reading_files_is_no_change() {
    let (authority, server) = start(&["/srv=volume"]).await;
    server.write("a.txt", "x");
    is_watched(&authority, &server).await;
    let mut stream = watch(&authority, &server).await;
    // What was written before the watch began may be told still.
    let quiet = Duration::from_millis(300);
    while let Ok(told) = tokio::time::timeout(quiet, stream.message()).await {
        told.unwrap().expect("the stream goes on");
    }
    for _ in 0..20 {
        assert_eq!(server.get("/srv/a.txt").await.status, 200);
    }
    let told = tokio::time::timeout(quiet, stream.message()).await;
    assert!(told.is_err(), "{told:?}");
}

#[tokio::test]
async fn a_volume_with_links_tells_everything() {
    let (authority, server) = start(&["/srv=volume"]).await;
    server.write("real/a.txt", "x");
    is_watched(&authority, &server).await;
    let mut stream = watch(&authority, &server).await;
    std::os::unix::fs::symlink("real", server.path("link")).unwrap();
    wait_for(&mut stream, "link", |event| {
        event.change == Some(Change::Everything(true))
    })
    .await;
    server.write("real/a.txt", "y");
    wait_for(&mut stream, "behind it", |event| {
        event.change == Some(Change::Everything(true))
    })
    .await;
}

#[tokio::test]
async fn a_volume_that_appears_later_is_served_and_watched() {
    let (authority, mut server) = start(&["/srv=volume", "/late=late"]).await;
    // The two ways are asked one after the other, with a change between them now and then.
    server.asks_both_ways = false;
    assert_eq!(server.get("/late/a.txt").await.status, 404);
    let mut client = client(&authority, &server, Role::StaticServer);
    let status = client
        .get_status(GetStatusRequest {})
        .await
        .unwrap()
        .into_inner();
    let late = &status.volumes[1];
    assert!(!late.is_available && !late.problem.is_empty(), "{late:?}");
    assert_eq!(
        (late.path.as_str(), late.watched_by.as_str()),
        ("/late", "none")
    );

    let mut stream = watch(&authority, &server).await;
    let folder = server.folder.path().join("late");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a.txt"), "late").unwrap();
    wait_for(&mut stream, "appearing", |event| {
        event.volume == "/late" && event.change == Some(Change::Everything(true))
    })
    .await;
    eventually("serving", || async {
        server.get("/late/a.txt").await.status == 200
    })
    .await;
    is_watched(&authority, &server).await;

    // Another folder takes its place, as a mount does.
    let other = server.folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("a.txt"), "other").unwrap();
    std::fs::rename(&folder, server.folder.path().join("away")).unwrap();
    std::fs::rename(&other, &folder).unwrap();
    eventually("replacing", || async {
        server.get("/late/a.txt").await.text() == "other"
    })
    .await;
    wait_for(&mut stream, "replacing", |event| {
        event.volume == "/late" && event.change == Some(Change::Everything(true))
    })
    .await;
}

#[tokio::test]
async fn status_counts_files_and_watchers() {
    let (authority, server) = start(&["/srv=volume"]).await;
    server.write("a/b.txt", "12345");
    server.write("c.txt", "1");
    let mut stream = watch(&authority, &server).await;
    next(&mut stream).await;
    let mut client = client(&authority, &server, Role::Operator);
    let status = client
        .get_status(GetStatusRequest {})
        .await
        .unwrap()
        .into_inner();
    let volume = &status.volumes[0];
    assert_eq!((volume.files, volume.bytes, volume.watchers), (2, 6, 1));
    drop(stream);
    eventually("leaving", || {
        let mut client = client.clone();
        async move {
            let status = client
                .get_status(GetStatusRequest {})
                .await
                .unwrap()
                .into_inner();
            status.volumes[0].watchers == 0
        }
    })
    .await;
}

#[tokio::test]
async fn roles_and_volumes_are_checked() {
    let (authority, server) = start(&["/srv=volume"]).await;
    let all = || WatchRequest {
        volumes: Vec::new(),
    };
    for role in [Role::StaticServer, Role::CertManager] {
        let refused = client(&authority, &server, role)
            .watch(all())
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{role}");
    }
    assert!(
        client(&authority, &server, Role::Operator)
            .watch(all())
            .await
            .is_ok()
    );
    let refused = client(&authority, &server, Role::CertManager)
        .get_status(GetStatusRequest {})
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let unknown = WatchRequest {
        volumes: vec!["/none".to_owned()],
    };
    let refused = client(&authority, &server, Role::Proxy)
        .watch(unknown)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let stranger = Authority::new();
    assert!(
        client(&stranger, &server, Role::Proxy)
            .watch(all())
            .await
            .is_err()
    );
}
