//! Validators, conditions, ranges, types, encodings.

use anyhow::Context as _;
use reqwest::{Method, Response, StatusCode};
use tests::stack::Stack;

use super::{TEXT, serve};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_with_type_length_and_validators() -> anyhow::Result<()> {
    let stack = serve().await?;
    let response = get(&stack, "/digits.txt", &[]).await?;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        field(&response, "content-type")?,
        "text/plain; charset=utf-8"
    );
    assert_eq!(field(&response, "content-length")?, "10");
    assert_eq!(field(&response, "accept-ranges")?, "bytes");
    assert!(field(&response, "etag")?.starts_with('"'));
    assert!(field(&response, "last-modified")?.ends_with(" GMT"));
    assert_eq!(response.text().await?, TEXT);

    let head = stack
        .client()?
        .head(stack.https("localhost", "/digits.txt"))
        .send()
        .await?;
    assert_eq!(field(&head, "content-length")?, "10");
    assert_eq!(head.text().await?, "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_kept() -> anyhow::Result<()> {
    let stack = serve().await?;
    let first = get(&stack, "/digits.txt", &[]).await?;
    let (etag, modified) = (field(&first, "etag")?, field(&first, "last-modified")?);
    let old = "Mon, 01 Jan 2001 00:00:00 GMT";
    let cases: [(&[(&str, &str)], StatusCode); 9] = [
        (&[("if-none-match", &etag)], StatusCode::NOT_MODIFIED),
        (
            &[("if-none-match", &format!("\"x\", W/{etag}"))],
            StatusCode::NOT_MODIFIED,
        ),
        (&[("if-none-match", "*")], StatusCode::NOT_MODIFIED),
        (&[("if-none-match", "\"x\"")], StatusCode::OK),
        (
            &[("if-modified-since", &modified)],
            StatusCode::NOT_MODIFIED,
        ),
        (&[("if-modified-since", old)], StatusCode::OK),
        (&[("if-match", "\"x\"")], StatusCode::PRECONDITION_FAILED),
        (
            &[("if-unmodified-since", old)],
            StatusCode::PRECONDITION_FAILED,
        ),
        // The entity tag decides where both are sent.
        (
            &[("if-none-match", "\"x\""), ("if-modified-since", &modified)],
            StatusCode::OK,
        ),
    ];
    for (fields, status) in cases {
        let response = get(&stack, "/digits.txt", fields).await?;
        assert_eq!(response.status(), status, "{fields:?}");
        if status == StatusCode::NOT_MODIFIED {
            assert_eq!(field(&response, "etag")?, etag);
            assert_eq!(response.bytes().await?.len(), 0);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_kept() -> anyhow::Result<()> {
    let stack = serve().await?;
    let etag = field(&get(&stack, "/digits.txt", &[]).await?, "etag")?;
    let parts = [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=8-100", "89", "bytes 8-9/10"),
    ];
    for (range, text, position) in parts {
        let response = get(
            &stack,
            "/digits.txt",
            &[("range", range), ("if-range", &etag)],
        )
        .await?;
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(field(&response, "content-range")?, position);
        assert_eq!(response.text().await?, text);
    }
    let response = get(&stack, "/digits.txt", &[("range", "bytes=10-")]).await?;
    assert_eq!(response.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(field(&response, "content-range")?, "bytes */10");
    for fields in [
        [("range", "bytes=2-4"), ("if-range", "\"x\"")],
        [("range", "lines=2-4"), ("x", "y")],
    ] {
        let response = get(&stack, "/digits.txt", &fields).await?;
        assert_eq!(response.status(), StatusCode::OK, "{fields:?}");
        assert_eq!(response.text().await?, TEXT);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ranges_come_in_parts_from_small_and_big_files() -> anyhow::Result<()> {
    let stack = serve().await?;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 255 % 251) as u8).collect();
    std::fs::write(stack.path("static/big.bin"), &bytes)?;
    std::fs::write(stack.path("static/small.bin"), &bytes[..10_000])?;
    for (path, ranges) in [
        ("/small.bin", [(9000, 9999), (0, 0)]),
        ("/big.bin", [(0, 99), (1_000_000, 2_999_999)]),
    ] {
        // Once from the static-server, once where the proxy keeps the small one.
        for _ in 0..2 {
            let list: Vec<String> = ranges
                .iter()
                .map(|(first, last)| format!("{first}-{last}"))
                .collect();
            let range = format!("bytes={}", list.join(","));
            let response = get(&stack, path, &[("range", &range)]).await?;
            assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
            let kind = field(&response, "content-type")?;
            let boundary = kind
                .strip_prefix("multipart/byteranges; boundary=")
                .with_context(|| kind.clone())?;
            let length: usize = field(&response, "content-length")?.parse()?;
            let body = response.bytes().await?;
            assert_eq!(body.len(), length);
            let mut expected = Vec::new();
            let size = if path == "/big.bin" {
                3_000_000
            } else {
                10_000
            };
            for (at, (first, last)) in ranges.into_iter().enumerate() {
                let before = if at == 0 { "" } else { "\r\n" };
                let head = format!(
                    "{before}--{boundary}\r\nContent-Range: bytes {first}-{last}/{size}\r\n\
                     Content-Type: application/octet-stream\r\n\r\n"
                );
                expected.extend_from_slice(head.as_bytes());
                expected.extend_from_slice(&bytes[first..=last]);
            }
            expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
            assert!(body == expected, "{path} {range}");
            assert_eq!(get(&stack, path, &[]).await?.status(), StatusCode::OK);
        }
    }
    let etag = field(&get(&stack, "/small.bin", &[]).await?, "etag")?;
    for (if_range, status) in [(etag.as_str(), 206), ("\"x\"", 200)] {
        let fields = [("range", "bytes=0-0,-1"), ("if-range", if_range)];
        assert_eq!(get(&stack, "/small.bin", &fields).await?.status(), status);
    }
    let head = stack.client()?.head(stack.https("localhost", "/small.bin"));
    let head = head.header("range", "bytes=0-0,-1").send().await?;
    assert_eq!(
        (
            head.status().as_u16(),
            field(&head, "content-length")?.as_str()
        ),
        (200, "10000")
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_big_file_and_any_part_of_it_arrive_whole() -> anyhow::Result<()> {
    let stack = serve().await?;
    let bytes: Vec<u8> = (0..32 * 1024 * 1024_u32)
        .map(|n| (n / 255 % 251) as u8)
        .collect();
    std::fs::write(stack.path("static/big.bin"), &bytes)?;
    let whole = get(&stack, "/big.bin", &[]).await?;
    assert_eq!(field(&whole, "content-type")?, "application/octet-stream");
    assert!(whole.bytes().await? == bytes, "the whole file differs");
    let part = get(&stack, "/big.bin", &[("range", "bytes=20000000-29999999")]).await?;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert!(
        part.bytes().await? == bytes[20_000_000..30_000_000],
        "the part differs"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_reading_methods_are_allowed() -> anyhow::Result<()> {
    let stack = serve().await?;
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let url = stack.https("localhost", "/digits.txt");
        let response = stack.client()?.request(method.clone(), url).send().await?;
        assert_eq!(
            response.status(),
            StatusCode::METHOD_NOT_ALLOWED,
            "{method}"
        );
        assert!(field(&response, "allow")?.contains("GET"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_show_their_index() -> anyhow::Result<()> {
    let stack = serve().await?;
    std::fs::create_dir(stack.path("static/docs"))?;
    std::fs::write(stack.path("static/docs/index.html"), "<h1>index</h1>")?;
    let response = get(&stack, "/docs/", &[]).await?;
    assert_eq!(
        field(&response, "content-type")?,
        "text/html; charset=utf-8"
    );
    assert_eq!(response.text().await?, "<h1>index</h1>");
    let response = get(&stack, "/docs", &[]).await?;
    assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
    assert!(field(&response, "location")?.ends_with("docs/"));
    assert_eq!(
        get(&stack, "/nothing", &[]).await?.status(),
        StatusCode::NOT_FOUND
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_sibling_goes_to_who_accepts_it() -> anyhow::Result<()> {
    let stack = serve().await?;
    std::fs::write(stack.path("static/app.js"), "plain")?;
    std::fs::write(stack.path("static/app.js.gz"), "not really gzip")?;
    let response = get(&stack, "/app.js", &[("accept-encoding", "gzip")]).await?;
    assert_eq!(field(&response, "content-encoding")?, "gzip");
    assert_eq!(field(&response, "vary")?.to_lowercase(), "accept-encoding");
    assert_eq!(
        field(&response, "content-type")?,
        "text/javascript; charset=utf-8"
    );
    assert_eq!(response.text().await?, "not really gzip");
    for accepted in ["identity", "br", "gzip;q=0"] {
        let response = get(&stack, "/app.js", &[("accept-encoding", accepted)]).await?;
        assert!(
            response.headers().get("content-encoding").is_none(),
            "{accepted}"
        );
        assert_eq!(response.text().await?, "plain");
    }
    Ok(())
}

async fn get(stack: &Stack, path: &str, fields: &[(&str, &str)]) -> anyhow::Result<Response> {
    let mut request = stack.client()?.get(stack.https("localhost", path));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request
        .send()
        .await
        .with_context(|| format!("asking for {path}"))
}

fn field(response: &Response, name: &str) -> anyhow::Result<String> {
    let value = response
        .headers()
        .get(name)
        .with_context(|| format!("no {name}: {response:?}"))?;
    Ok(value.to_str()?.to_owned())
}
