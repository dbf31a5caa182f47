//! Files that anybody may have uploaded: `--untrusted /srv/uploads`.

use crate::support::{Server, file_request};

#[tokio::test]
async fn what_a_browser_would_run_is_saved() {
    let server = Server::start().await;
    for (name, kind, is_saved) in [
        ("a.svg", "image/svg+xml", true),
        ("a.html", "text/html; charset=utf-8", true),
        ("a", "", true),
        ("a.png", "image/png", false),
        ("a.pdf", "application/pdf", false),
        ("a.js", "text/plain; charset=utf-8", false),
    ] {
        server.write(&format!("uploads/deep/{name}"), vec![b'x'; 1000]);
        server.write(&format!("static/{name}"), "x");
        let path = format!("/deep/{name}");
        for range in ["", "bytes=0-9", "bytes=0-9,900-909"] {
            let headers = [("range", range)];
            let headers = if range.is_empty() {
                &[][..]
            } else {
                &headers[..]
            };
            let reply = server
                .ask(&file_request("/srv/uploads"), &path, headers)
                .await;
            assert!(reply.status.is_success(), "{name} {range}");
            assert_eq!(reply.header("x-content-type-options"), "nosniff", "{name}");
            let saved = if is_saved { "attachment" } else { "" };
            assert_eq!(reply.header("content-disposition"), saved, "{name} {range}");
            let sandbox = if is_saved {
                "default-src 'none'; sandbox"
            } else {
                ""
            };
            assert_eq!(
                reply.header("content-security-policy"),
                sandbox,
                "{name} {range}"
            );
            if !range.contains(',') {
                assert_eq!(reply.header("content-type"), kind);
            }
        }
        let trusted = server
            .ask(&file_request("/srv/static"), &format!("/{name}"), &[])
            .await;
        for field in [
            "x-content-type-options",
            "content-disposition",
            "content-security-policy",
        ] {
            assert_eq!(trusted.header(field), "", "{name}");
        }
    }
    let script = server.ask(&file_request("/srv/static"), "/a.js", &[]).await;
    assert_eq!(
        script.header("content-type"),
        "text/javascript; charset=utf-8"
    );
    // However the file is reached: by the volume's own path, or from a root above.
    for root in ["/srv", "/srv/uploads/deep"] {
        let path = if root == "/srv" {
            "/uploads/deep/a.svg"
        } else {
            "/a.svg"
        };
        let reply = server.ask(&file_request(root), path, &[]).await;
        assert_eq!(reply.header("content-disposition"), "attachment", "{root}");
    }
    let reply = server.get("/srv/uploads/deep/a.svg").await;
    assert_eq!(reply.header("content-disposition"), "attachment");
}

#[tokio::test]
async fn a_link_to_an_upload_is_no_way_around() {
    let server = Server::start().await;
    server.write("uploads/a.svg", "<svg/>");
    std::os::unix::fs::symlink("../static/a.svg", server.path("uploads/b.svg")).unwrap();
    server.write("static/a.svg", "<svg/>");
    let reply = server.get("/srv/uploads/b.svg").await;
    assert_eq!(reply.header("content-disposition"), "attachment");
}
