//! Files that the kernel does not have in memory.

use http::{Request, Response};
use http_body_util::BodyExt as _;
use static_server::metrics::Metrics;
use static_server::serve::body::Body;
use static_server::serve::service::FileService;
use static_server::volume::{Support, Volumes};

use crate::support::Server;

fn content(size: u32) -> Vec<u8> {
    (0..size).map(|number| (number % 251) as u8).collect()
}

/// Writes a file, and asks the kernel to forget it.
fn write_cold(server: &Server, name: &str, content: &[u8]) {
    let file = std::fs::File::open(server.write(name, content)).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

#[tokio::test]
async fn they_are_exact() {
    let server = Server::start().await;
    for size in [1, 4_097, 65_536, 65_537, 1_000_000, 10_000_001] {
        let content = content(size);
        write_cold(&server, "cold", &content);
        let reply = server.get("/srv/cold").await;
        assert!(reply.body == content, "{size}");
        write_cold(&server, "cold", &content);
        let part = server
            .get_with("/srv/cold", &[("range", "bytes=-5000")])
            .await;
        let first = content.len().saturating_sub(5000);
        assert!(part.body == content[first..], "{size}");
    }
}

/// Linux before 5.12 cannot say whether an open would wait for the disk.
#[tokio::test]
async fn without_cached_lookups_every_request_takes_the_long_way() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("small"), content(100)).unwrap();
    std::fs::write(folder.path().join("big"), content(700_000)).unwrap();
    let volumes = Volumes::open(
        &[format!("/srv={}", folder.path().display()).parse().unwrap()],
        1,
    );
    let metrics = Metrics::register(&mut Default::default());
    let support = Support {
        has_cached_lookup: false,
    };
    let service = FileService::new(volumes, support, metrics.clone());
    let ask = async |path: &str| -> Response<Body> {
        service.handle(Request::get(path).body(()).unwrap()).await
    };
    for (name, size) in [("small", 100), ("big", 700_000)] {
        let reply = ask(&format!("/srv/{name}")).await;
        assert_eq!(reply.status(), 200);
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        assert!(body == content(size));
    }
    assert_eq!(ask("/srv/none").await.status(), 404);
    assert_eq!(
        (metrics.disk_lookups.get(), metrics.sent_bytes.get()),
        (3, 700_100)
    );
}
