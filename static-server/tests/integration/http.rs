//! Plain requests: volumes under their own paths.

use crate::support::{Server, set_modified};

#[tokio::test]
async fn a_file_is_served_with_its_metadata() {
    let server = Server::start().await;
    let path = server.write("static/app.css", "body{}");
    set_modified(&path, 784_111_777);
    let reply = server.get("/srv/static/app.css").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.text(), "body{}");
    assert_eq!(reply.header("content-type"), "text/css; charset=utf-8");
    assert_eq!(reply.header("content-length"), "6");
    assert_eq!(reply.header("accept-ranges"), "bytes");
    assert_eq!(reply.header("vary"), "Accept-Encoding");
    assert_eq!(
        reply.header("last-modified"),
        "Sun, 06 Nov 1994 08:49:37 GMT"
    );
    let etag = reply.header("etag");
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
}

#[tokio::test]
async fn head_has_the_fields_of_get_and_no_content() {
    let server = Server::start().await;
    server.write("a.txt", "hello");
    let (get, head) = (
        server.get("/srv/a.txt").await,
        server.send("HEAD", "/srv/a.txt", &[]).await,
    );
    assert_eq!(head.status, 200);
    assert!(head.body.is_empty());
    for name in [
        "content-length",
        "content-type",
        "etag",
        "last-modified",
        "accept-ranges",
        "vary",
    ] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
}

#[tokio::test]
async fn http2_with_prior_knowledge_works() {
    let server = Server::start().await;
    server.write("a.bin", vec![7; 300_000]);
    let reply = server.get_h2("/srv/a.bin").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-length"), "300000");
    assert!(reply.body.len() == 300_000 && reply.body.iter().all(|octet| *octet == 7));
}

#[tokio::test]
async fn other_methods_are_refused_where_there_is_a_file() {
    let server = Server::start().await;
    server.write("a.txt", "hello");
    for method in ["POST", "PUT", "DELETE", "PATCH", "BREW"] {
        let reply = server.send(method, "/srv/a.txt", &[]).await;
        assert_eq!(reply.status, 405, "{method}");
        assert_eq!(reply.header("allow"), "GET, HEAD, OPTIONS");
        assert_eq!(
            server.send(method, "/srv/none", &[]).await.status,
            404,
            "{method}"
        );
    }
    let options = server.send("OPTIONS", "/srv/a.txt", &[]).await;
    assert_eq!(
        (options.status.as_u16(), options.header("allow")),
        (204, "GET, HEAD, OPTIONS")
    );
    assert_eq!(server.send("OPTIONS", "*", &[]).await.status, 204);
}

#[tokio::test]
async fn directories_have_an_index_and_a_slash() {
    let server = Server::start().await;
    server.write("dir/index.html", "<h1>");
    server.write("sp ace/index.html", "x");
    std::fs::create_dir(server.path("empty")).unwrap();
    let index = server.get("/srv/dir/").await;
    assert_eq!((index.status.as_u16(), index.text()), (200, "<h1>"));
    assert_eq!(index.header("content-type"), "text/html; charset=utf-8");
    for (path, location) in [
        ("/srv/dir", "/srv/dir/"),
        ("/srv/dir?a=1%20b", "/srv/dir/?a=1%20b"),
        ("//srv/dir", "/srv/dir/"),
        ("/srv/sp%20ace", "/srv/sp%20ace/"),
        ("/srv/dir/index.html/", "/srv/dir/index.html"),
    ] {
        let reply = server.get(path).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("location")),
            (308, location),
            "{path}"
        );
    }
    for path in [
        "/srv/empty",
        "/srv/empty/",
        "/srv/dir/none",
        "/srv",
        "/srv/",
    ] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_volume_itself_has_an_index() {
    let server = Server::start().await;
    server.write("index.html", "top");
    assert_eq!(server.get("/srv/").await.text(), "top");
    assert_eq!(server.get("/srv").await.header("location"), "/srv/");
}

#[tokio::test]
async fn empty_files_and_big_files_are_exact() {
    let server = Server::start().await;
    server.write("empty.txt", "");
    let content: Vec<u8> = (0..3_000_017_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    for (name, size) in [
        ("a", 65_535),
        ("b", 65_536),
        ("c", 65_537),
        ("d", content.len()),
    ] {
        server.write(name, &content[..size]);
        let reply = server.get(&format!("/srv/{name}")).await;
        assert_eq!(reply.header("content-length"), size.to_string());
        assert!(reply.body == content[..size], "{size}");
    }
    let reply = server.get("/srv/empty.txt").await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("content-length")),
        (200, "0")
    );
}

#[tokio::test]
async fn several_requests_share_a_connection_also_after_an_unread_body() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = Server::start().await;
    server.write("a.txt", "hello");
    let mut stream = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    let post = "POST /srv/a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    let get = "GET /srv/a.txt HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "GET /srv/a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream
        .write_all(format!("{post}{get}{last}").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer.matches("HTTP/1.1 405").count(), 1, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
}

#[tokio::test]
async fn a_rewrite_within_a_second_changes_the_tag() {
    let server = Server::start().await;
    let mut tags = std::collections::HashSet::new();
    for round in 0..20 {
        server.write("a.txt", format!("{round:04}"));
        tags.insert(server.get("/srv/a.txt").await.header("etag").to_owned());
    }
    assert_eq!(tags.len(), 20);
}

#[tokio::test]
async fn a_rewrite_in_place_of_the_same_size_changes_the_strong_tag() {
    let server = Server::start().await;
    let path = server.write("a.txt", "0000");
    let file = std::fs::File::options().write(true).open(path).unwrap();
    let mut tags = std::collections::HashMap::new();
    for round in 0..50 {
        let text = format!("{round:04}");
        std::os::unix::fs::FileExt::write_all_at(&file, text.as_bytes(), 0).unwrap();
        let reply = server.get("/srv/a.txt").await;
        assert_eq!(reply.text(), text);
        let tag = reply.header("etag").to_owned();
        assert!(tag.starts_with('"'), "{tag}");
        assert_eq!(tags.insert(tag, text), None);
    }
}

#[tokio::test]
async fn a_file_that_is_cut_short_breaks_the_transfer() {
    for rewrite in [false, true] {
        let server = Server::start().await;
        let size = 16 * 1024 * 1024;
        let path = server.write("big", vec![1; size]);
        let mut stream = tokio::net::TcpStream::connect(server.address)
            .await
            .unwrap();
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        stream
            .write_all(b"GET /srv/big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut first = vec![0; 1000];
        stream.read_exact(&mut first).await.unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        if rewrite {
            std::os::unix::fs::FileExt::write_all_at(&file, &vec![2; size], 0).unwrap();
        } else {
            file.set_len(1_000_000).unwrap();
        }
        let mut rest = Vec::new();
        // The connection ends early, with or without a reset.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(
            first.len() + rest.len() < size,
            "rewrite: {rewrite}, {}",
            rest.len()
        );
        assert!(!rest.contains(&2));
    }
}

#[tokio::test]
async fn a_file_that_is_replaced_is_sent_to_its_end() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = Server::start().await;
    let size = 16 * 1024 * 1024;
    let path = server.write("big", vec![1; size]);
    let mut stream = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    stream
        .write_all(b"GET /srv/big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut first = vec![0; 1000];
    stream.read_exact(&mut first).await.unwrap();
    let new = server.write("new", vec![2; size]);
    std::fs::rename(new, path).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(
        rest.len() > size - 1000 && rest.iter().rev().take(size - 1000).all(|octet| *octet == 1)
    );
}
