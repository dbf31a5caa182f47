//! Files that the edge keeps in memory.

use anyhow::{Context as _, ensure};
use reqwest::{Method, StatusCode};
use tests::stack::Stack;
use tests::wait;

use super::{ask, serve};

const SIZE: usize = 10_000;

/// How many requests the static-server has answered, those for open files included.
async fn asked(stack: &Stack) -> anyhow::Result<u64> {
    let metrics = stack.metrics("static-server").await?;
    let lines = metrics.lines();
    let counts = lines.filter(|line| line.starts_with("static_server_requests_total"));
    let counts = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    Ok(counts.sum())
}

/// Asks for a file until another request for it does not reach the static-server.
async fn keep(stack: &Stack, path: &str) -> anyhow::Result<()> {
    wait::until(&format!("{path} is kept"), async || {
        ask(stack, &Method::GET, path, &[]).await?;
        let before = asked(stack).await?;
        // There may be more workers than one.
        for _ in 0..8 {
            ask(stack, &Method::GET, path, &[]).await?;
        }
        ensure!(asked(stack).await? == before, "it is asked for");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_from_memory_are_those_of_the_static_server() -> anyhow::Result<()> {
    let stack = serve().await?;
    let content: Vec<u8> = (0..SIZE).map(|number| (number % 251) as u8).collect();
    std::fs::write(stack.path("static/kept.bin"), &content)?;
    let probe = stack.client()?.head(stack.https("localhost", "/kept.bin"));
    let probe = probe.send().await?;
    let field = |name: &str| -> anyhow::Result<String> {
        let value = probe.headers().get(name).context("a field is missing")?;
        Ok(value.to_str()?.to_owned())
    };
    let (etag, modified) = (field("etag")?, field("last-modified")?);
    let weak = format!("W/{etag}");
    let old = "Mon, 01 Jan 2001 00:00:00 GMT";
    // None of these has the whole file as its answer, so that none puts it into the memory.
    let requests: [&[(&str, &str)]; 19] = [
        &[("if-none-match", &etag)],
        &[("if-none-match", &weak)],
        &[("if-none-match", "*")],
        &[("if-modified-since", &modified)],
        &[("if-match", "\"x\"")],
        &[("if-match", &weak)],
        &[("if-match", "\"x\""), ("if-none-match", &etag)],
        &[("if-match", &etag), ("if-none-match", &etag)],
        &[("if-unmodified-since", old)],
        &[("range", "bytes=100-199")],
        &[("range", "bytes=-1")],
        &[("range", "bytes=9000-")],
        &[("range", "bytes=9000-90000"), ("if-range", &etag)],
        &[("range", "bytes=0-"), ("if-range", &modified)],
        &[("range", "bytes=0-9"), ("if-match", &etag)],
        &[("range", "bytes=0-9"), ("if-unmodified-since", &modified)],
        &[("range", "bytes=10000-")],
        &[("range", "bytes=5-2")],
        &[("range", "bytes=9000-9009,0-9,400-409")],
    ];
    let mut fetched = Vec::new();
    for fields in requests {
        fetched.push(ask(&stack, &Method::GET, "/kept.bin", fields).await?);
    }
    keep(&stack, "/kept.bin").await?;
    let before = asked(&stack).await?;
    for (fields, fetched) in requests.iter().zip(fetched) {
        let kept = ask(&stack, &Method::GET, "/kept.bin", fields).await?;
        assert!(kept.0 != StatusCode::OK, "{fields:?}");
        assert_eq!((kept.0, kept.1), (fetched.0, fetched.1), "{fields:?}");
        assert!(kept.2 == fetched.2, "{fields:?}");
    }
    let range = [("range", "bytes=100-199")];
    let part = ask(&stack, &Method::GET, "/kept.bin", &range).await?;
    assert!(part.2 == content[100..200]);
    assert_eq!(asked(&stack).await?, before, "the static-server was asked");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_files_stand_in_while_the_static_server_restarts() -> anyhow::Result<()> {
    let mut stack = serve().await?;
    std::fs::write(stack.path("static/other.txt"), "other")?;
    std::fs::write(stack.path("static/gone.txt"), "gone")?;
    for path in ["/digits.txt", "/gone.txt"] {
        keep(&stack, path).await?;
    }
    let static_server = stack.static_server.as_mut().context("not started")?;
    static_server.kill().await?;
    // What nobody answers for is kept still; what never was kept is not there.
    for (path, status) in [
        ("/digits.txt", StatusCode::OK),
        ("/gone.txt", StatusCode::OK),
        ("/other.txt", StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let answer = ask(&stack, &Method::GET, path, &[]).await?;
        assert_eq!(answer.0, status, "{path}");
    }
    let part = [("range", "bytes=2-4")];
    let part = ask(&stack, &Method::GET, "/digits.txt", &part).await?;
    assert_eq!(
        (part.0, part.2),
        (StatusCode::PARTIAL_CONTENT, b"234".to_vec())
    );
    std::fs::write(stack.path("static/digits.txt"), "changed meanwhile")?;
    std::fs::remove_file(stack.path("static/gone.txt"))?;
    stack.start_static_server()?;
    stack.ready("static-server").await?;
    wait::until("the new static-server is asked", async || {
        let other = ask(&stack, &Method::GET, "/other.txt", &[]).await?;
        ensure!(other.0 == StatusCode::OK, "{}", other.0);
        Ok(())
    })
    .await?;
    let changed = ask(&stack, &Method::GET, "/digits.txt", &[]).await?;
    assert_eq!(changed.2, b"changed meanwhile");
    let gone = ask(&stack, &Method::GET, "/gone.txt", &[]).await?;
    assert_eq!(gone.0, StatusCode::NOT_FOUND);
    Ok(())
}
