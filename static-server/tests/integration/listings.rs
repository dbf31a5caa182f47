//! Listings of folders.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use proto::file_request::{Browse, FileRequest, SortBy};
use serde_json::{Value, json};

use crate::support::{Reply, Server, file_request, set_modified};

const JSON: (&str, &str) = ("accept", "application/json");

fn browsing(root: &str) -> FileRequest {
    FileRequest {
        browse: Some(Browse::default()),
        ..file_request(root)
    }
}

fn items(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(
        reply.header("content-type"),
        "application/json; charset=utf-8"
    );
    serde_json::from_slice(&reply.body).unwrap()
}

fn names(reply: &Reply) -> Vec<String> {
    let name = |item: Value| item["name"].as_str().unwrap().to_owned();
    items(reply).into_iter().map(name).collect()
}

async fn names_of(server: &Server, root: &FileRequest, path: &str) -> Vec<String> {
    names(&server.ask(root, path, &[JSON]).await)
}

#[tokio::test]
async fn json_says_what_caddy_says() {
    let server = Server::start().await;
    let path = server.write("dir/a b&<.txt", "12345");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    set_modified(&path, 1_700_000_000);
    server.write("dir/sub/x", "");
    let sub = server.path("dir/sub");
    std::fs::set_permissions(&sub, std::fs::Permissions::from_mode(0o755)).unwrap();
    symlink("a b&<.txt", server.path("dir/link")).unwrap();
    let reply = server.ask(&browsing("/srv"), "/dir/", &[JSON]).await;
    assert!(
        reply.text().contains(r#""name":"a b\u0026\u003c.txt""#),
        "{}",
        reply.text()
    );
    let items = items(&reply);
    assert_eq!(
        items[1],
        json!({
            "name": "a b&<.txt", "size": 5, "url": "./a%20b&%3C.txt", "mod_time": "2023-11-14T22:13:20Z",
            "mode": 0o640, "is_dir": false, "is_symlink": false,
        })
    );
    assert_eq!(items[0]["name"], "sub/");
    assert_eq!(items[0]["url"], "./sub/");
    assert_eq!(items[0]["mode"], 0x8000_0000_u32 + 0o755);
    assert_eq!(items[0]["is_dir"], true);
    assert_eq!(
        (&items[2]["is_symlink"], &items[2]["size"]),
        (&json!(true), &json!(5))
    );
    assert_eq!(items[2]["mode"], 0x0800_0000 + 0o777);
    assert!(items[2].get("symlink_path").is_none());
    let root = FileRequest {
        browse: Some(Browse {
            reveals_links: true,
            ..Browse::default()
        }),
        ..file_request("/srv")
    };
    let reply = server.ask(&root, "/dir/", &[JSON]).await;
    assert_eq!(self::items(&reply)[2]["symlink_path"], "a b&<.txt");
    assert_eq!(
        server.ask(&root, "/dir/sub/none/", &[JSON]).await.status,
        404
    );
    std::fs::remove_file(server.path("dir/sub/x")).unwrap();
    assert_eq!(server.ask(&root, "/dir/sub/", &[JSON]).await.text(), "[]\n");
}

#[tokio::test]
async fn queries_and_options_give_order_and_part() {
    let server = Server::start().await;
    for (name, size, time) in [("b", 30, 3), ("A", 10, 2), ("c", 20, 1)] {
        set_modified(
            &server.write(&format!("dir/{name}"), vec![0; size]),
            1_000_000 + time,
        );
    }
    server.write("dir/d/x", "");
    let root = browsing("/srv");
    for (query, expected) in [
        ("", "d/ A b c"),
        ("?sort=name", "A b c d/"),
        ("?sort=name&order=desc", "d/ c b A"),
        ("?sort=namedirfirst&order=desc", "c b A d/"),
        ("?sort=size", "d/ A c b"),
        ("?sort=size&order=desc", "b c A d/"),
        ("?sort=time", "c A b d/"),
        ("?order=desc", "c b A d/"),
        ("?sort=nonsense&order=up", "d/ A b c"),
        ("?limit=2", "d/ A"),
        ("?limit=2&offset=1", "A b"),
        ("?offset=4", ""),
        ("?offset=5", "d/ A b c"),
        ("?limit=99", "d/ A b c"),
        ("?limit=-1&offset=x", "d/ A b c"),
    ] {
        let names = names_of(&server, &root, &format!("/dir/{query}")).await;
        assert_eq!(names.join(" "), expected, "{query}");
    }
    let sorted = FileRequest {
        browse: Some(Browse {
            sort: SortBy::Time,
            is_descending: true,
            ..Browse::default()
        }),
        ..file_request("/srv")
    };
    assert_eq!(
        names_of(&server, &sorted, "/dir/").await.join(" "),
        "d/ b A c"
    );
    assert_eq!(
        names_of(&server, &sorted, "/dir/?sort=name&order=asc")
            .await
            .join(" "),
        "A b c d/"
    );
}

#[tokio::test]
async fn only_what_can_be_asked_for_is_listed() {
    let server = Server::start().await;
    std::fs::write(server.folder.path().join("secret"), "secret").unwrap();
    server.write("beside.txt", "x");
    server.write("site/dir/file", "x");
    server.write("site/dir/.hidden", "x");
    server.write("site/dir/private/x", "x");
    server.write("site/dir/open/x", "x");
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    let fifo = rustix::fs::FileType::Fifo;
    let path = server.path("site/dir/fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(server.path("site/dir/socket")).unwrap();
    for (link, target) in [
        ("absolute", "/etc/passwd"),
        ("out", "../../../secret"),
        ("beside", "../../beside.txt"),
        ("folder-out", "../../.."),
        ("dangling", "none"),
        ("loop", "loop"),
        ("to-fifo", "fifo"),
        ("to-file", "file"),
        ("to-folder", "open"),
    ] {
        symlink(target, server.path("site/dir").join(link)).unwrap();
    }
    let root = FileRequest {
        hide: vec![".*".to_owned(), "/srv/site/dir/private".to_owned()],
        browse: Some(Browse {
            reveals_links: true,
            ..Browse::default()
        }),
        ..file_request("/srv/site")
    };
    let listed = names_of(&server, &root, "/dir/").await;
    assert_eq!(listed, ["open/", "to-folder/", "file", "to-file"]);
    for path in [
        "/dir/private/",
        "/dir/.hidden/",
        "/dir/folder-out/",
        "/../",
        "/dir/../../",
    ] {
        let reply = server.ask(&root, path, &[JSON]).await;
        assert!(
            reply.status == 404 || names(&reply) == ["dir/"],
            "{path}: {}",
            reply.text()
        );
    }
    let without = file_request("/srv/site");
    assert_eq!(server.ask(&without, "/dir/", &[JSON]).await.status, 404);
    assert_eq!(server.get("/srv/site/dir/").await.status, 404);
}

#[tokio::test]
async fn an_index_comes_first_and_a_slash_is_added() {
    let server = Server::start().await;
    server.write("with/index.html", "index");
    server.write("without/a", "x");
    let ask = async |canonical: &str, listings: bool, path: &str| {
        let root = FileRequest {
            canonical_path: Some(canonical.to_owned()),
            redirects_listings_only: listings,
            ..browsing("/srv")
        };
        let reply = server.ask(&root, path, &[JSON]).await;
        (reply.status.as_u16(), reply.header("location").to_owned())
    };
    let redirect = |location: &str| (308, location.to_owned());
    let page = (200, String::new());
    assert_eq!(
        server.ask(&browsing("/srv"), "/with/", &[]).await.text(),
        "index"
    );
    assert_eq!(
        ask("/m/without", false, "/without?sort=size").await,
        redirect("/m/without/?sort=size")
    );
    assert_eq!(
        ask("/m/without", true, "/without").await,
        redirect("/m/without/")
    );
    assert_eq!(ask("/m/without/", true, "/without/").await, page);
    assert_eq!(ask("/m/with", true, "/with").await, page);
    assert_eq!(ask("/m", false, "/").await, redirect("/m/"));
    assert_eq!(
        ask("/other", false, "/without").await,
        page,
        "the last segment was rewritten"
    );
}

#[tokio::test]
async fn odd_names_are_text_and_their_links_lead_to_them() {
    let server = Server::start().await;
    let odd: &[&[u8]] = &[
        b"<script>alert(1)<!--",
        b"\"onmouseover=alert(1) x=\"",
        b"'&amp;%41#?;",
        b"javascript:alert(1)",
        b"..%2f..",
        b"back\\slash",
        b"new\nline\x1b[31m",
        "\u{202e}txt.exe \u{fc}".as_bytes(),
        b"latin-\xfc",
    ];
    std::fs::create_dir(server.path("dir")).unwrap();
    for name in odd {
        let path = server.path("dir").join(std::ffi::OsStr::from_bytes(name));
        std::fs::write(path, name).unwrap();
    }
    let root = browsing("/srv");
    let page = server.ask(&root, "/dir/", &[]).await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let text = page.text();
    assert!(!text.contains("<script") && !text.contains("\"onmouse") && !text.contains('\x1b'));
    assert!(text.contains("&lt;script&gt;alert(1)&lt;!--"), "{text}");
    let links: Vec<&str> = text
        .split(" href=\"./")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(links.len(), odd.len(), "{text}");
    let mut found = Vec::new();
    for link in links {
        let path = format!("/dir/{}", link.replace("&amp;", "&"));
        found.push(server.ask(&root, &path, &[]).await.body.to_vec());
    }
    found.sort();
    let mut expected: Vec<Vec<u8>> = odd.iter().map(|name| name.to_vec()).collect();
    expected.sort();
    assert_eq!(found, expected);
    for item in items(&server.ask(&root, "/dir/", &[JSON]).await) {
        let path = format!("/dir/{}", item["url"].as_str().unwrap());
        assert_eq!(server.ask(&root, &path, &[]).await.status, 200, "{path}");
    }
    let plain = server
        .ask(&root, "/dir/", &[("accept", "text/plain")])
        .await;
    assert_eq!(plain.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(
        plain.text().lines().count(),
        odd.len() + 2,
        "{}",
        plain.text()
    );
    assert!(!plain.text().contains('\x1b'));
}

#[tokio::test]
async fn a_page_runs_nothing_and_names_the_path() {
    let server = Server::start().await;
    server.write("a/<b>/c/file.bin", vec![0; 3000]);
    let page = server
        .ask(&browsing("/srv"), "/a/%3Cb%3E/?sort=time&order=desc", &[])
        .await;
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("vary"), "Accept, Accept-Encoding");
    let text = page.text();
    assert!(text.contains("<title>/a/&lt;b&gt;</title>"), "{text}");
    assert!(text.contains("width=device-width"));
    // The order goes along, up and down.
    for link in [
        "\"../../?sort=time&amp;order=desc\"",
        "\"../?sort=time&amp;order=desc\"",
        "\"./c/?sort=time&amp;order=desc\"",
        "\"?sort=time&amp;order=asc\"",
    ] {
        assert!(text.contains(link), "{link} in {text}");
    }
    let page = server.ask(&browsing("/srv"), "/a/%3Cb%3E/c/", &[]).await;
    assert!(page.text().contains("2.9 KiB") && page.text().contains("0 folders, 1 file"));
    let text = server
        .ask(
            &browsing("/srv"),
            "/a/%3Cb%3E/c/",
            &[("accept", "text/plain")],
        )
        .await;
    assert!(
        text.text()
            .starts_with("Name\t\tSize\tModified\n----\t\t----\t--------\nfile.bin\t2.9 KiB\t")
    );
}

#[tokio::test]
async fn many_files_are_read_up_to_a_limit_and_shown_in_pages() {
    let server = Server::start().await;
    std::fs::create_dir(server.path("many")).unwrap();
    for number in 0..2_300 {
        std::fs::write(server.path(&format!("many/{number:05}")), "").unwrap();
    }
    let root = browsing("/srv");
    let mut seen = Vec::new();
    let mut next = "/many/".to_owned();
    loop {
        let page = server.ask(&root, &next, &[]).await;
        let rows = page.text().split(" href=\"./").skip(1);
        seen.extend(rows.map(|rest| rest.split('"').next().unwrap().to_owned()));
        assert!(!page.text().contains("class=\"note\""));
        match page.text().rsplit_once("\">Next</a>") {
            Some((before, _)) => {
                let query = before.rsplit_once("href=\"").unwrap().1;
                next = format!("/many/{}", query.replace("&amp;", "&"));
            }
            None => break,
        }
    }
    let expected: Vec<String> = (0..2_300).map(|number| format!("{number:05}")).collect();
    assert_eq!(seen, expected);
    let limited = FileRequest {
        browse: Some(Browse {
            limit: Some(500),
            ..Browse::default()
        }),
        ..file_request("/srv")
    };
    assert_eq!(names_of(&server, &limited, "/many/").await.len(), 500);
    let page = server.ask(&limited, "/many/", &[]).await;
    assert!(page.text().contains("only 500 of its entries were read"));
}

#[tokio::test]
async fn listings_have_validators_and_methods() {
    let server = Server::start().await;
    let path = server.write("dir/a", "x");
    let root = browsing("/srv");
    let first = server.ask(&root, "/dir/", &[]).await;
    let etag = first.header("etag").to_owned();
    assert!(etag.starts_with("W/\""), "{etag}");
    let again = server
        .ask(&root, "/dir/", &[("if-none-match", &etag)])
        .await;
    assert_eq!(
        (again.status.as_u16(), again.header("etag")),
        (304, etag.as_str())
    );
    assert_eq!(again.header("vary"), "Accept, Accept-Encoding");
    assert_eq!(
        server
            .ask(&root, "/dir/", &[("if-match", "\"x\"")])
            .await
            .status,
        412
    );
    assert_eq!(
        server
            .ask(&root, "/dir/", &[("range", "bytes=0-1")])
            .await
            .status,
        200
    );
    server.write("dir/b", "x");
    let changed = server
        .ask(&root, "/dir/", &[("if-none-match", &etag)])
        .await;
    assert_eq!(changed.status, 200);
    // What changed just now may change again within the second.
    assert_eq!(changed.header("last-modified"), "");
    std::fs::remove_file(server.path("dir/b")).unwrap();
    set_modified(&path, 1_700_000_000);
    let folder = std::fs::File::open(server.path("dir")).unwrap();
    folder
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000))
        .unwrap();
    let old = server.ask(&root, "/dir/", &[]).await;
    assert_eq!(old.header("last-modified"), "Tue, 14 Nov 2023 22:13:20 GMT");
    let since = [("if-modified-since", "Tue, 14 Nov 2023 22:13:20 GMT")];
    assert_eq!(server.ask(&root, "/dir/", &since).await.status, 304);
    let value = root.to_header().unwrap();
    let field = [("portico-file", value.as_str())];
    let head = server.send("HEAD", "/dir/", &field).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), old.header("content-length"));
    let post = server.send("POST", "/dir/", &field).await;
    assert_eq!(
        (post.status.as_u16(), post.header("allow")),
        (405, "GET, HEAD, OPTIONS")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listing_while_folders_and_links_are_swapped_never_leads_out() {
    let mut server = Server::start().await;
    // What is there changes in between.
    server.asks_both_ways = false;
    server.write("site/a/inside", "x");
    let outside = server.folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "x").unwrap();
    symlink("../../outside", server.path("site/link")).unwrap();
    let swapping = crate::support::Swapping::start(server.path("site/a"), server.path("site/link"));
    let (mut listed, mut refused) = (0, 0);
    while listed + refused < 400 {
        let reply = server.ask(&browsing("/srv/site"), "/a/", &[JSON]).await;
        match reply.status.as_u16() {
            200 => {
                assert_eq!(names(&reply), ["inside"]);
                listed += 1;
            }
            404 => refused += 1,
            other => panic!("status {other}"),
        }
        let above = names_of(&server, &browsing("/srv/site"), "/").await;
        assert!(
            above
                .iter()
                .all(|name| matches!(name.as_str(), "a/" | "link/")),
            "{above:?}"
        );
    }
    assert!(swapping.stop() > 100);
}
