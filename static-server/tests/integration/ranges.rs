//! Ranges over HTTP.

use crate::support::{Reply, Server, file_request};

#[tokio::test]
async fn a_single_range_is_partial_content() {
    let server = Server::start().await;
    server.write("a.txt", "0123456789");
    for (range, content_range, body) in [
        ("bytes=0-3", "bytes 0-3/10", "0123"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-2", "bytes 8-9/10", "89"),
        ("bytes=9-100", "bytes 9-9/10", "9"),
    ] {
        let reply = server.get_with("/srv/a.txt", &[("range", range)]).await;
        assert_eq!(reply.status, 206, "{range}");
        assert_eq!(reply.header("content-range"), content_range);
        assert_eq!(reply.header("content-length"), body.len().to_string());
        assert_eq!(reply.text(), body);
        assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
        assert!(!reply.header("etag").is_empty() && !reply.header("last-modified").is_empty());
    }
}

#[tokio::test]
async fn what_cannot_be_satisfied_is_416() {
    let server = Server::start().await;
    server.write("a.txt", "0123456789");
    for range in ["bytes=10-", "bytes=5-2", "bytes=-0", "bytes=x"] {
        let reply = server.get_with("/srv/a.txt", &[("range", range)]).await;
        assert_eq!(reply.status, 416, "{range}");
        assert_eq!(reply.header("content-range"), "bytes */10");
        assert!(reply.body.is_empty());
    }
}

#[tokio::test]
async fn other_ranges_give_the_whole() {
    let server = Server::start().await;
    server.write("a.txt", "0123456789");
    server.write("empty", "");
    for range in ["lines=1-2", "bytes=0-,0-", "bytes=0-5,3-9,1-8,2-7"] {
        let reply = server.get_with("/srv/a.txt", &[("range", range)]).await;
        assert_eq!(
            (reply.status.as_u16(), reply.text()),
            (200, "0123456789"),
            "{range}"
        );
    }
    let empty = server
        .get_with("/srv/empty", &[("range", "bytes=0-1")])
        .await;
    assert_eq!(empty.status, 200);
    let head = server
        .send("HEAD", "/srv/a.txt", &[("range", "bytes=0-1")])
        .await;
    assert_eq!(
        (head.status.as_u16(), head.header("content-length")),
        (200, "10")
    );
}

#[tokio::test]
async fn big_ranges_are_exact() {
    let server = Server::start().await;
    let content: Vec<u8> = (0..1_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    server.write("big", &content);
    for (first, last) in [
        (0, 999_999),
        (1, 131_073),
        (131_072, 400_000),
        (934_464, 999_999),
    ] {
        let range = format!("bytes={first}-{last}");
        let reply = server.get_with("/srv/big", &[("range", &range)]).await;
        assert_eq!(reply.status, 206);
        assert!(reply.body == content[first..=last], "{range}");
    }
}

#[tokio::test]
async fn if_range_decides_between_part_and_whole() {
    let server = Server::start().await;
    server.write("a.txt", "0123456789");
    let whole = server.get("/srv/a.txt").await;
    let (etag, date) = (whole.header("etag"), whole.header("last-modified"));
    let weak = format!("W/{etag}");
    for (if_range, expected) in [
        (etag, 206),
        (date, 206),
        (weak.as_str(), 200),
        ("\"other\"", 200),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 200),
    ] {
        let headers = [("range", "bytes=0-0"), ("if-range", if_range)];
        let reply = server.get_with("/srv/a.txt", &headers).await;
        assert_eq!(reply.status, expected, "{if_range}");
    }
    let headers = [("range", "bytes=99-"), ("if-range", "\"other\"")];
    assert_eq!(server.get_with("/srv/a.txt", &headers).await.status, 200);
}

/// The parts of a `multipart/byteranges` body: `Content-Range`, `Content-Type` and bytes of each.
fn parts(reply: &Reply) -> Vec<(String, String, Vec<u8>)> {
    let boundary = reply
        .header("content-type")
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    assert!(boundary.len() >= 16 && boundary.len() <= 70, "{boundary}");
    let body = [b"\r\n", reply.body.as_ref()].concat();
    let delimiter = format!("\r\n--{boundary}");
    let mut found = Vec::new();
    let mut rest = body.as_slice();
    let find = |text: &[u8], what: &[u8]| text.windows(what.len()).position(|at| at == what);
    loop {
        let start = find(rest, delimiter.as_bytes()).expect("a delimiter") + delimiter.len();
        rest = &rest[start..];
        if rest == b"--\r\n" {
            return found;
        }
        let head_end = find(rest, b"\r\n\r\n").unwrap();
        let end = find(rest, delimiter.as_bytes()).unwrap();
        let head = std::str::from_utf8(&rest[..head_end]).unwrap();
        let field = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().to_owned()
        };
        found.push((
            field("Content-Range: "),
            field("Content-Type: "),
            rest[head_end + 4..end].to_vec(),
        ));
        rest = &rest[end..];
    }
}

#[tokio::test]
async fn several_ranges_are_parts_in_the_order_asked_for() {
    let server = Server::start().await;
    let content: Vec<u8> = (0..1_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    server.write("big.txt", &content);
    server.write("none", &content[..5000]);
    // Small ones are sent from memory, big ones are read as they are sent.
    for (path, kind, ranges) in [
        (
            "big.txt",
            "text/plain; charset=utf-8",
            vec![(0, 9), (5000, 5009)],
        ),
        (
            "big.txt",
            "text/plain; charset=utf-8",
            vec![(900_000, 999_999), (0, 0), (400_000, 700_000)],
        ),
        ("none", "", vec![(4990, 4999), (0, 99)]),
    ] {
        let list: Vec<String> = ranges
            .iter()
            .map(|(first, last)| format!("{first}-{last}"))
            .collect();
        let range = format!("bytes={}", list.join(", "));
        let path = format!("/srv/{path}");
        let reply = server.get_with(&path, &[("range", &range)]).await;
        assert_eq!(reply.status, 206, "{range}");
        assert_eq!(reply.header("content-length"), reply.body.len().to_string());
        assert_eq!(reply.header("content-range"), "", "belongs to the parts");
        assert!(!reply.header("etag").is_empty() && !reply.header("last-modified").is_empty());
        let parts = parts(&reply);
        assert_eq!(parts.len(), ranges.len());
        let size = server.send("HEAD", &path, &[("range", &range)]).await;
        assert_eq!(size.status, 200, "ranges are for GET");
        let size = size.header("content-length");
        for ((content_range, content_type, bytes), (first, last)) in parts.iter().zip(ranges) {
            assert_eq!(*content_range, format!("bytes {first}-{last}/{size}"));
            assert_eq!(content_type, kind);
            assert!(*bytes == content[first..=last], "{range}");
        }
    }
}

#[tokio::test]
async fn several_ranges_that_become_one_are_no_multipart() {
    let server = Server::start().await;
    server.write("a.txt", vec![b'x'; 10_000]);
    for (range, content_range) in [
        ("bytes=0-9,10-19", "bytes 0-19/10000"),
        ("bytes=5000-5009,90000-", "bytes 5000-5009/10000"),
        ("bytes=40-49,0-9", "bytes 0-49/10000"),
    ] {
        let reply = server.get_with("/srv/a.txt", &[("range", range)]).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("content-range")),
            (206, content_range)
        );
        assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    }
}

#[tokio::test]
async fn preconditions_come_before_several_ranges() {
    let server = Server::start().await;
    server.write("a.txt", vec![b'x'; 10_000]);
    let etag = server.get("/srv/a.txt").await.header("etag").to_owned();
    for (name, value, expected) in [
        ("if-range", etag.as_str(), 206),
        ("if-range", "\"other\"", 200),
        ("if-match", "\"other\"", 412),
        ("if-none-match", etag.as_str(), 304),
    ] {
        let headers = [("range", "bytes=0-0,-1"), (name, value)];
        let reply = server.get_with("/srv/a.txt", &headers).await;
        assert_eq!(reply.status, expected, "{name}: {value}");
    }
}

#[tokio::test]
async fn a_field_never_costs_more_than_the_file() {
    let server = Server::start().await;
    server.write("a.bin", vec![7; 200_000]);
    let many: Vec<String> = (0..1000).map(|at| format!("{at}-{at}")).collect();
    let apart: Vec<String> = (0..900).map(|at| format!("{0}-{0}", at * 200)).collect();
    let from: Vec<String> = (0..60).map(|at| format!("{at}-")).collect();
    for ranges in [many, apart, from] {
        let range = format!("bytes={}", ranges.join(","));
        let reply = server.get_with("/srv/a.bin", &[("range", &range)]).await;
        assert_eq!(
            (reply.status.as_u16(), reply.body.len()),
            (200, 200_000),
            "{range}"
        );
    }
}

#[tokio::test]
async fn several_ranges_of_a_precompressed_file_give_the_whole() {
    use proto::file_request::{Coding, FileRequest};
    let server = Server::start().await;
    server.write("a.css", vec![b'x'; 10_000]);
    server.write("a.css.gz", vec![b'z'; 5_000]);
    let root = FileRequest {
        precompressed: vec![Coding::Gzip],
        ..file_request("/srv")
    };
    let headers = [("range", "bytes=0-0,-1"), ("accept-encoding", "gzip")];
    let reply = server.ask(&root, "/a.css", &headers).await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 5_000));
    assert_eq!(reply.header("content-encoding"), "gzip");
    assert_eq!(server.ask(&root, "/a.css", &headers[..1]).await.status, 206);
}
