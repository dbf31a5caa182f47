//! Open files that the static-server hands to the proxy.

use anyhow::Context as _;
use reqwest::{Method, StatusCode};
use tests::client;
use tests::stack::Stack;

use super::{ask, serve};

const SIZE: usize = 3_000_000;

/// Bytes that tell their place.
fn content() -> Vec<u8> {
    (0..SIZE).map(|number| (number % 251) as u8).collect()
}

/// How many open files the static-server has handed over.
async fn handed_over(stack: &Stack) -> anyhow::Result<u64> {
    let metrics = stack.metrics("static-server").await?;
    let name = "static_server_handed_over_total ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.context("the metric is missing")?.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_http() -> anyhow::Result<()> {
    let mut stack = serve().await?;
    std::fs::write(stack.path("static/big.bin"), content())?;
    let requests: [(Method, &[(&str, &str)]); 9] = [
        (Method::GET, &[]),
        (Method::HEAD, &[]),
        (Method::GET, &[("range", "bytes=1000000-2000000")]),
        (Method::GET, &[("range", "bytes=-100")]),
        (Method::GET, &[("range", "bytes=0-9,2000000-2000009")]),
        (Method::GET, &[("range", "bytes=9000000-")]),
        (
            Method::GET,
            &[("range", "bytes=0-9"), ("if-range", "\"x\"")],
        ),
        (Method::GET, &[("if-none-match", "*")]),
        (Method::GET, &[("if-match", "\"x\"")]),
    ];
    let mut handed = Vec::new();
    for (method, fields) in &requests {
        handed.push(ask(&stack, method, "/big.bin", fields).await?);
    }
    assert!(handed[0].2 == content());
    assert!(handed[2].2 == content()[1_000_000..=2_000_000]);
    let count = handed_over(&stack).await?;
    assert!(count >= 3, "{count} files were handed over");

    let none = stack.path("none").display().to_string();
    stack
        .environment
        .push(("PORTICO_STATIC_HANDOFF".into(), none));
    stack.running_proxy()?.stop().await?;
    stack.start_proxy(&[])?;
    stack.ready("proxy").await?;
    stack.certified("localhost").await?;
    for ((method, fields), handed) in requests.iter().zip(handed) {
        let sent = ask(&stack, method, "/big.bin", fields).await?;
        assert_eq!(
            (sent.0, sent.1),
            (handed.0, handed.1),
            "{method} {fields:?}"
        );
        assert!(sent.2 == handed.2, "{method} {fields:?}");
    }
    assert_eq!(handed_over(&stack).await?, count);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_outlives_its_static_server() -> anyhow::Result<()> {
    let mut stack = serve().await?;
    // More than sockets and buffers hold.
    let content = content().repeat(20);
    std::fs::write(stack.path("static/big.bin"), &content)?;
    let url = stack.https("localhost", "/big.bin");
    let mut response = stack.client()?.get(&url).send().await?;
    let mut body = response.chunk().await?.context("no body")?.to_vec();
    assert!(body.len() < content.len() / 2);
    let static_server = stack.static_server.as_mut().context("not started")?;
    static_server.kill().await?;
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    assert!(body == content);
    let gone = stack.client()?.get(&url).send().await?;
    assert_eq!(gone.status(), StatusCode::SERVICE_UNAVAILABLE);

    // Its socket is still there, and the next one takes its place.
    stack.start_static_server()?;
    stack.ready("static-server").await?;
    tests::wait::until("the new one hands over", async || {
        let response = stack.client()?.get(&url).send().await?;
        anyhow::ensure!(response.bytes().await?.len() == content.len(), "no file");
        anyhow::ensure!(handed_over(&stack).await? > 0, "over HTTP");
        Ok(())
    })
    .await?;
    assert_eq!(std::fs::read_dir(stack.path("handoff"))?.count(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_cost_little_memory() -> anyhow::Result<()> {
    const CLIENTS: usize = 64;
    let mut stack = serve().await?;
    std::fs::File::create(stack.path("static/big.bin"))?.set_len(1 << 30)?;
    let url = stack.https("localhost", "/big.bin");
    let mut held = Vec::new();
    let mut first = 0;
    for number in 0..=CLIENTS {
        // Half of them over HTTP/1.1; each with a connection of its own.
        let client = if number % 2 == 0 {
            stack.client()?
        } else {
            client::http1(&stack.roots()?)?
        };
        let mut response = client.get(&url).send().await?;
        assert!(response.chunk().await?.is_some());
        held.push((client, response));
        if number == 0 {
            first = stack.running_proxy()?.peak_memory()?;
        }
    }
    let grown = stack.running_proxy()?.peak_memory()? - first;
    let each = grown / CLIENTS as u64;
    println!("{each} bytes for each client");
    assert!(each < 512 << 10, "{each} bytes for each client");
    assert_eq!(handed_over(&stack).await?, CLIENTS as u64 + 1);
    Ok(())
}
