//! kill -9 of each program, and its return.

use anyhow::{Context as _, ensure};
use proto::certs::v1::State;
use reqwest::StatusCode;
use tests::stack::Stack;
use tests::wait;

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_returns_with_the_same_certificate() -> anyhow::Result<()> {
    let (mut stack, _upstream) = Stack::start_demo().await?;
    let serial = stack.served_serial("localhost").await?;
    for _ in 0..3 {
        stack.running_proxy()?.kill().await?;
        stack.start_proxy(&[])?;
        answers(&stack, "/static/site.css").await?;
        answers(&stack, "/status/200").await?;
        assert_eq!(stack.served_serial("localhost").await?, serial);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cert_manager_returns_with_everything_it_announced() -> anyhow::Result<()> {
    let (mut stack, _upstream) = Stack::start_demo().await?;
    for round in 0..5 {
        let serial = stack.stored_serial("localhost").await?;
        // A renewal that has been announced must be there after the kill.
        let renewed = stack.run("cert-manager", &["renew", "localhost"]).await?;
        assert!(renewed.status.success(), "{renewed:?}");
        let announced = wait::until("a renewal is announced", async || {
            let now = stack.stored_serial("localhost").await?;
            ensure!(now != serial, "it is the old one");
            Ok(now)
        })
        .await?;
        stack
            .cert_manager
            .as_mut()
            .context("not started")?
            .kill()
            .await?;
        answers(&stack, "/status/200").await?;
        stack.start_cert_manager(&[])?;
        stack.ready("cert-manager").await?;
        let status = stack.reached("localhost", State::Valid).await?;
        let stored = status.certificate.context("no certificate")?.serial;
        assert_eq!(stored, announced, "round {round}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_static_server_returns() -> anyhow::Result<()> {
    let (mut stack, _upstream) = Stack::start_demo().await?;
    for _ in 0..3 {
        answers(&stack, "/static/site.css").await?;
        stack
            .static_server
            .as_mut()
            .context("not started")?
            .kill()
            .await?;
        answers(&stack, "/status/200").await?;
        stack.start_static_server()?;
        answers(&stack, "/static/app.js").await?;
    }
    // What changed while it was away is noticed.
    stack
        .static_server
        .as_mut()
        .context("not started")?
        .kill()
        .await?;
    std::fs::write(stack.path("static/app.js"), "changed")?;
    stack.start_static_server()?;
    let client = stack.client()?;
    wait::until("the changed file is served", async || {
        let text = client
            .get(stack.https("localhost", "/static/app.js"))
            .send()
            .await?
            .text()
            .await?;
        ensure!(text == "changed", "{text}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_start_in_any_order() -> anyhow::Result<()> {
    let mut stack = Stack::new()?;
    let upstream = tests::upstream::Upstream::start(stack.folder()).await?;
    stack.write_caddyfile(&tests::stack::demo_site("localhost", &upstream))?;
    stack.start_proxy(&[])?;
    stack.running_proxy()?.logged(&["identity"]).await?;
    stack.start_static_server()?;
    stack.start_cert_manager(&[])?;
    for program in ["cert-manager", "static-server", "proxy"] {
        stack.ready(program).await?;
    }
    stack.certified("localhost").await?;
    answers(&stack, "/static/site.css").await
}

async fn answers(stack: &Stack, path: &str) -> anyhow::Result<()> {
    wait::until(&format!("{path} is served"), async || {
        let response = stack
            .client()?
            .get(stack.https("localhost", path))
            .send()
            .await?;
        ensure!(response.status() == StatusCode::OK, "{}", response.status());
        Ok(())
    })
    .await
}
