//! Requests with the `Portico-File` field, as the proxy makes them.

use proto::file_request::{Coding, FILE_MATCH, FileMatch, FileRequest};

use crate::support::{Server, file_request};

#[tokio::test]
async fn the_root_is_a_folder_of_a_volume() {
    let server = Server::start().await;
    server.write("static/app.css", "body{}");
    server.write("media/a.txt", "media");
    let root = file_request("/srv/static");
    assert_eq!(server.ask(&root, "/app.css", &[]).await.text(), "body{}");
    assert_eq!(server.ask(&root, "/../media/a.txt", &[]).await.status, 404);
    assert_eq!(
        server.ask(&root, "/srv/static/app.css", &[]).await.status,
        404
    );
    for root in ["/etc", "/", "srv", "/srv/none", "/srv/static/app.css/x"] {
        assert_eq!(
            server.ask(&file_request(root), "/passwd", &[]).await.status,
            404,
            "{root}"
        );
    }
}

#[tokio::test]
async fn a_field_that_cannot_be_understood_is_refused() {
    let server = Server::start().await;
    server.write("a.txt", "x");
    for value in ["", "root=1", "index=(\"a\")", "root=\"/srv\", try=1", "{"] {
        let reply = server.get_with("/a.txt", &[("portico-file", value)]).await;
        assert_eq!(reply.status, 400, "{value}");
    }
}

#[tokio::test]
async fn redirects_use_the_clients_own_path() {
    let server = Server::start().await;
    server.write("static/dir/index.txt", "index");
    server.write("static/a.txt", "x");
    server.write("static/index.html", "top");
    let ask = async |canonical: Option<&str>, path: &str| {
        let root = FileRequest {
            canonical_path: canonical.map(str::to_owned),
            ..file_request("/srv/static")
        };
        let reply = server.ask(&root, path, &[]).await;
        (reply.status.as_u16(), reply.header("location").to_owned())
    };
    let redirect = |location: &str| (308, location.to_owned());
    let none = (200, String::new());
    assert_eq!(
        ask(Some("/static/dir"), "/dir?x=1").await,
        redirect("/static/dir/?x=1")
    );
    assert_eq!(ask(Some("/static/dir/"), "/dir/").await, none);
    assert_eq!(
        ask(Some("/static/a.txt/"), "/a.txt/").await,
        redirect("/static/a.txt")
    );
    assert_eq!(ask(None, "/dir").await, none);
    assert_eq!(ask(None, "/a.txt/").await, none);
    // The last segment was rewritten.
    assert_eq!(ask(Some("/other"), "/dir").await, none);
    assert_eq!(ask(Some("/static"), "/").await, none);
    assert_eq!(ask(Some("/"), "/").await, none);
    assert_eq!(
        ask(Some("//evil.example/dir"), "/dir").await,
        redirect("/evil.example/dir/")
    );
}

#[tokio::test]
async fn precompressed_siblings_are_negotiated() {
    let server = Server::start().await;
    server.write("app.css", "plain");
    server.write("app.css.br", "br");
    server.write("app.css.gz", "gzip");
    server.write("only.css.br", "br");
    server.write("other.css", "plain");
    std::fs::create_dir(server.path("other.css.br")).unwrap();
    let root = FileRequest {
        precompressed: vec![Coding::Br, Coding::Zstd, Coding::Gzip],
        ..file_request("/srv")
    };
    let plain = server.ask(&root, "/app.css", &[]).await;
    assert_eq!(
        (plain.text(), plain.header("content-encoding")),
        ("plain", "")
    );
    let mut etags = vec![plain.header("etag").to_owned()];
    for (accepted, coding) in [
        ("gzip, br", "br"),
        ("gzip;q=1, br;q=0.5", "gzip"),
        ("zstd, gzip;q=0.5", "gzip"),
        ("br;q=0, *", "gzip"),
    ] {
        let reply = server
            .ask(&root, "/app.css", &[("accept-encoding", accepted)])
            .await;
        assert_eq!(reply.header("content-encoding"), coding, "{accepted}");
        assert_eq!(reply.text(), coding);
        assert_eq!(reply.header("content-type"), "text/css; charset=utf-8");
        assert_eq!(reply.header("vary"), "Accept-Encoding");
        assert_eq!(reply.header("content-length"), coding.len().to_string());
        assert_eq!(reply.header("last-modified"), plain.header("last-modified"));
        let etag = reply.header("etag").to_owned();
        let again = [
            ("accept-encoding", accepted),
            ("if-none-match", etag.as_str()),
        ];
        assert_eq!(server.ask(&root, "/app.css", &again).await.status, 304);
        etags.push(etag);
    }
    etags.sort();
    etags.dedup();
    assert_eq!(etags.len(), 3, "each variant has a tag of its own");
    let range = [("accept-encoding", "br"), ("range", "bytes=0-0")];
    let part = server.ask(&root, "/app.css", &range).await;
    assert_eq!(
        (part.text(), part.header("content-range")),
        ("b", "bytes 0-0/2")
    );
    let accepted = [("accept-encoding", "br")];
    assert_eq!(server.ask(&root, "/only.css", &accepted).await.status, 404);
    assert_eq!(
        server.ask(&root, "/other.css", &accepted).await.text(),
        "plain"
    );
    let off = file_request("/srv");
    assert_eq!(
        server.ask(&off, "/app.css", &accepted).await.text(),
        "plain"
    );
}

#[tokio::test]
async fn hidden_files_are_absent() {
    let server = Server::start().await;
    server.write("index.html", "hidden index");
    server.write("index.txt", "index");
    server.write(".git/config", "secret");
    server.write("private/a", "secret");
    server.write("open/a", "open");
    let root = FileRequest {
        hide: vec![
            ".git".to_owned(),
            "/srv/private".to_owned(),
            "*.html".to_owned(),
        ],
        ..file_request("/srv")
    };
    for path in [
        "/.git/config",
        "/.git/",
        "/private/a",
        "/index.html",
        "/open/../private/a",
    ] {
        assert_eq!(server.ask(&root, path, &[]).await.status, 404, "{path}");
    }
    assert_eq!(server.ask(&root, "/open/a", &[]).await.text(), "open");
    assert_eq!(server.ask(&root, "/", &[]).await.text(), "index");
}

#[tokio::test]
async fn files_to_try_are_tried_in_order() {
    let server = Server::start().await;
    server.write("app.html", "app");
    server.write("a.txt", "a");
    server.write("dir/index.html", "dir");
    let ask = async |try_files: &[&str], path: &str| {
        let root = FileRequest {
            try_files: try_files.iter().map(|name| (*name).to_owned()).collect(),
            canonical_path: Some(path.to_owned()),
            ..file_request("/srv")
        };
        let reply = server.ask(&root, path, &[]).await;
        (reply.status.as_u16(), reply.text().to_owned())
    };
    let text = |text: &str| (200, text.to_owned());
    assert_eq!(ask(&["/a.txt", "/app.html"], "/a.txt").await, text("a"));
    assert_eq!(ask(&["/none", "/app.html"], "/none").await, text("app"));
    assert_eq!(
        ask(&["/dir", "/app.html"], "/dir").await,
        text("app"),
        "a directory is no file"
    );
    assert_eq!(
        ask(&["/dir", "/dir/", "/app.html"], "/dir/").await,
        text("dir")
    );
    assert_eq!(ask(&["/dir", "/dir/"], "/dir").await.0, 308);
    assert_eq!(
        ask(&["/a.txt/", "/app.html"], "/x").await,
        text("app"),
        "a file is no directory"
    );
    assert_eq!(ask(&["/none", "=404"], "/a.txt").await.0, 404);
    assert_eq!(ask(&["/none", "=410"], "/a.txt").await.0, 410);
    assert_eq!(
        ask(&["/none"], "/a.txt").await,
        text("a"),
        "the path stays as it is"
    );
    assert_eq!(ask(&["/../../etc/passwd", "=404"], "/x").await.0, 404);
}

#[tokio::test]
async fn a_probe_says_which_candidate_is_there() {
    let server = Server::start().await;
    server.write("a b.txt", "12345");
    std::fs::create_dir(server.path("dir")).unwrap();
    let probe = async |try_files: &[&str], path: &str| {
        let root = FileRequest {
            try_files: try_files.iter().map(|name| (*name).to_owned()).collect(),
            probe: true,
            ..FileRequest {
                root: "/srv".to_owned(),
                ..FileRequest::default()
            }
        };
        let reply = server.ask(&root, path, &[]).await;
        assert!(reply.body.is_empty());
        let found = reply.headers.get(FILE_MATCH).map(|value| {
            let found = FileMatch::from_header(value.as_bytes()).unwrap();
            (found.path, found.is_directory, found.size)
        });
        (reply.status.as_u16(), found)
    };
    let file = |path: &str| (204, Some((path.to_owned(), false, 5)));
    assert_eq!(probe(&["/none", "/a b.txt"], "/x").await, file("/a b.txt"));
    assert_eq!(probe(&[], "/a%20b.txt").await, file("/a b.txt"));
    let (status, found) = probe(&["/dir/"], "/x").await;
    assert_eq!(
        (status, found.map(|found| (found.0, found.1))),
        (204, Some(("/dir/".to_owned(), true)))
    );
    assert_eq!(probe(&["/dir", "/none"], "/x").await, (404, None));
    assert_eq!(probe(&[], "/none").await, (404, None));
    assert_eq!(probe(&["/none", "=403"], "/x").await, (403, None));
}
