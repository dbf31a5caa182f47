//! Nothing outside the root is ever served, and nothing but regular files.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use crate::support::{Server, Swapping, file_request};

const SECRET: &str = "the secret outside";

async fn server() -> Server {
    let server = Server::start().await;
    std::fs::write(server.folder.path().join("secret"), SECRET).unwrap();
    server.write("root/inside.txt", "inside");
    server.write("beside.txt", "beside");
    server
}

#[tokio::test]
async fn traversal_of_every_kind_stays_below_the_root() {
    let server = server().await;
    let up = [
        "..",
        "%2e%2e",
        ".%2e",
        "%2E.",
        "..;",
        "....",
        "..%00",
        "%252e%252e",
        "..%5c",
        "..\\",
        "%c0%ae%c0%ae",
        "%e0%80%ae%e0%80%ae",
        "..%c0%af",
        "..%ef%bc%8f",
    ];
    for up in up {
        for separator in ["/", "%2f", "%2F", "//", "\\", "%5c", "/./"] {
            for depth in [1, 2, 3, 8] {
                let climb = format!("{up}{separator}").repeat(depth);
                for path in [format!("/{climb}secret"), format!("/root/{climb}secret")] {
                    let reply = server.ask(&file_request("/srv/root"), &path, &[]).await;
                    assert!(
                        matches!(reply.status.as_u16(), 400 | 404),
                        "{path}: {}",
                        reply.status
                    );
                    let plain = server.get(&format!("/srv{path}")).await;
                    assert!(
                        matches!(plain.status.as_u16(), 400 | 404),
                        "{path}: {}",
                        plain.status
                    );
                }
            }
        }
    }
    let absolute = server.folder.path().join("secret");
    let path = format!("/{}", absolute.display());
    assert_eq!(
        server
            .ask(&file_request("/srv/root"), &path, &[])
            .await
            .status,
        404
    );
    assert_eq!(
        server
            .ask(&file_request("/srv/root"), "/../beside.txt", &[])
            .await
            .status,
        404
    );
    assert_eq!(server.raw_status(b"/srv/../secret").await, 404);
    assert_eq!(server.raw_status(b"/srv/root/..\xff/secret").await, 400);
    assert_eq!(server.raw_status(b"/srv/a%00b").await, 400);
    assert_eq!(server.raw_status(b"/srv/%zz").await, 400);
}

#[tokio::test]
async fn links_are_followed_inside_the_root_only() {
    let server = server().await;
    let outside = server.folder.path().join("secret");
    symlink("inside.txt", server.path("root/file-link")).unwrap();
    server.write("root/real/deep.txt", "deep");
    symlink("real", server.path("root/folder-link")).unwrap();
    symlink("../real/deep.txt", server.path("root/real/up-and-back")).unwrap();
    symlink(&outside, server.path("root/absolute")).unwrap();
    symlink("../../secret", server.path("root/relative")).unwrap();
    symlink("../beside.txt", server.path("root/beside")).unwrap();
    symlink("../..", server.path("root/folder-out")).unwrap();
    symlink("/proc/self/root", server.path("root/magic")).unwrap();
    symlink("loop", server.path("root/loop")).unwrap();
    symlink("none", server.path("root/dangling")).unwrap();
    let root = file_request("/srv/root");
    for (path, text) in [
        ("/file-link", "inside"),
        ("/folder-link/deep.txt", "deep"),
        ("/real/up-and-back", "deep"),
    ] {
        let reply = server.ask(&root, path, &[]).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, text), "{path}");
    }
    for path in [
        "/absolute",
        "/relative",
        "/beside",
        "/folder-out/secret",
        "/magic/etc/passwd",
        "/loop",
        "/dangling",
        "/loop/x",
    ] {
        assert_eq!(server.ask(&root, path, &[]).await.status, 404, "{path}");
    }
    // From the root above, the same link stays inside.
    assert_eq!(server.get("/srv/root/beside").await.text(), "beside");
}

#[tokio::test]
async fn the_root_itself_may_be_a_link_inside_the_volume() {
    let server = server().await;
    symlink("root", server.path("current")).unwrap();
    symlink("../..", server.path("root/out")).unwrap();
    symlink("..", server.path("parent")).unwrap();
    let root = file_request("/srv/current");
    assert_eq!(server.ask(&root, "/inside.txt", &[]).await.text(), "inside");
    assert_eq!(server.ask(&root, "/out/secret", &[]).await.status, 404);
    assert_eq!(
        server
            .ask(&file_request("/srv/parent"), "/secret", &[])
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn only_regular_files_are_served() {
    let server = server().await;
    let make = |name: &str, kind: rustix::fs::FileType| {
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            server.path(name),
            kind,
            mode,
            rustix::fs::makedev(1, 3),
        )
    };
    make("root/fifo", rustix::fs::FileType::Fifo).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(server.path("root/socket")).unwrap();
    let mut names = vec!["/fifo", "/socket"];
    // Making a device takes a privilege that not every run has.
    if make("root/null", rustix::fs::FileType::CharacterDevice).is_ok() {
        names.push("/null");
    }
    let root = file_request("/srv/root");
    for name in names {
        let reply =
            tokio::time::timeout(Duration::from_secs(5), server.ask(&root, name, &[])).await;
        assert_eq!(reply.expect("no open may hang").status, 404, "{name}");
        let probe = proto::file_request::FileRequest {
            probe: true,
            ..root.clone()
        };
        assert_eq!(server.ask(&probe, name, &[]).await.status, 404, "{name}");
    }
}

#[tokio::test]
async fn long_and_odd_names_are_answered() {
    let server = server().await;
    let root = file_request("/srv/root");
    let long_segment = format!("/{}", "a".repeat(300));
    let long_path = "/abcdefgh".repeat(600);
    assert_eq!(server.ask(&root, &long_segment, &[]).await.status, 400);
    assert_eq!(server.ask(&root, &long_path, &[]).await.status, 400);
    assert_eq!(server.ask(&root, "/inside.txt/x", &[]).await.status, 404);
    let longest = "b".repeat(255);
    server.write(&format!("root/{longest}"), "long");
    assert_eq!(
        server.ask(&root, &format!("/{longest}"), &[]).await.text(),
        "long"
    );
    let odd = "od d%#?&\u{fc}\n\"'<>";
    server.write(&format!("root/{odd}"), "odd");
    let encoded: String = odd.bytes().map(|octet| format!("%{octet:02x}")).collect();
    assert_eq!(
        server.ask(&root, &format!("/{encoded}"), &[]).await.text(),
        "odd"
    );
    use std::os::unix::ffi::OsStrExt as _;
    let name = std::ffi::OsStr::from_bytes(b"latin-\xfc");
    std::fs::write(server.path("root").join(name), "latin").unwrap();
    assert_eq!(server.ask(&root, "/latin-%fc", &[]).await.text(), "latin");
}

#[tokio::test]
async fn a_file_that_may_not_be_read_is_forbidden() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = server().await;
    let path = server.path("root/inside.txt");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    let expected = if std::fs::read(&path).is_ok() {
        200
    } else {
        403
    };
    let reply = server
        .ask(&file_request("/srv/root"), "/inside.txt", &[])
        .await;
    assert_eq!(reply.status, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swapping_folders_and_links_never_leads_out() {
    let mut server = server().await;
    server.asks_both_ways = false;
    server.write("root/a/file", "inside");
    std::fs::create_dir(server.folder.path().join("outside")).unwrap();
    std::fs::write(server.folder.path().join("outside/file"), SECRET).unwrap();
    symlink("../../outside", server.path("root/link")).unwrap();
    let swapping = Swapping::start(server.path("root/a"), server.path("root/link"));
    let (root, start) = (file_request("/srv/root"), Instant::now());
    let (mut found, mut refused) = (0, 0);
    while start.elapsed() < Duration::from_secs(4) {
        let reply = server.ask(&root, "/a/file", &[]).await;
        match reply.status.as_u16() {
            200 => {
                assert_eq!(reply.text(), "inside");
                found += 1;
            }
            404 => refused += 1,
            other => panic!("status {other}"),
        }
    }
    let swaps = swapping.stop();
    assert!(
        swaps > 100 && found + refused > 10,
        "{swaps} swaps, {found} found, {refused} refused"
    );
}
