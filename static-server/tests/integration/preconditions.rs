//! Preconditions over HTTP.

use crate::support::{Server, set_modified};

const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

#[tokio::test]
async fn the_matrix_of_preconditions_holds() {
    let server = Server::start().await;
    let path = server.write("a.txt", "hello");
    set_modified(&path, 784_111_777);
    let etag = server.get("/srv/a.txt").await.header("etag").to_owned();
    let weak = format!("W/{etag}");
    let list = format!("\"x\", {etag}");
    let cases: &[(&[(&str, &str)], u16)] = &[
        (&[("if-match", &etag)], 200),
        (&[("if-match", &list)], 200),
        (&[("if-match", "*")], 200),
        (&[("if-match", &weak)], 412),
        (&[("if-match", "\"x\"")], 412),
        (&[("if-unmodified-since", SAME)], 200),
        (&[("if-unmodified-since", BEFORE)], 412),
        (&[("if-match", &etag), ("if-unmodified-since", BEFORE)], 200),
        (&[("if-none-match", &etag)], 304),
        (&[("if-none-match", &weak)], 304),
        (&[("if-none-match", &list)], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"x\"")], 200),
        (
            &[("if-none-match", "\"x\""), ("if-modified-since", SAME)],
            200,
        ),
        (&[("if-modified-since", SAME)], 304),
        (&[("if-modified-since", BEFORE)], 200),
        (&[("if-modified-since", "nonsense")], 200),
        (&[("if-match", "\"x\""), ("if-none-match", &etag)], 412),
        (&[("if-none-match", &etag), ("range", "bytes=0-0")], 304),
        (&[("if-match", "\"x\""), ("range", "bytes=0-0")], 412),
        (&[("if-match", &etag), ("range", "bytes=0-0")], 206),
        (&[("if-match", &etag), ("range", "bytes=99-")], 416),
    ];
    for (headers, expected) in cases {
        for method in ["GET", "HEAD"] {
            let reply = server.send(method, "/srv/a.txt", headers).await;
            let is_range = headers.iter().any(|(name, _)| *name == "range");
            let expected = match (method, expected) {
                ("HEAD", 206 | 416) if is_range => &200,
                _ => expected,
            };
            assert_eq!(reply.status.as_u16(), *expected, "{method} {headers:?}");
        }
    }
}

#[tokio::test]
async fn not_modified_has_only_what_a_cache_needs() {
    let server = Server::start().await;
    server.write("a.txt", "hello");
    let whole = server.get("/srv/a.txt").await;
    let etag = whole.header("etag");
    let reply = server
        .get_with("/srv/a.txt", &[("if-none-match", etag)])
        .await;
    assert_eq!(reply.status, 304);
    assert_eq!(reply.header("etag"), etag);
    assert_eq!(reply.header("vary"), "Accept-Encoding");
    for name in [
        "content-type",
        "content-length",
        "last-modified",
        "content-encoding",
    ] {
        assert!(!reply.headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn files_of_1970_have_no_validators() {
    let server = Server::start().await;
    set_modified(&server.write("a.txt", "hello"), 0);
    let reply = server
        .get_with("/srv/a.txt", &[("if-modified-since", SAME)])
        .await;
    assert_eq!(reply.status, 200);
    assert!(!reply.headers.contains_key("etag") && !reply.headers.contains_key("last-modified"));
}
