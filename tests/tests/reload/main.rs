//! A new Caddyfile in a running proxy: taken when it is good, refused when it is bad, and open
//! connections go on either way.

use anyhow::{Context as _, ensure};
use reqwest::StatusCode;
use rustix::process::Signal;
use tests::stack::{Stack, demo_site};
use tests::upstream::Upstream;
use tests::wait;
use tests::websocket::Socket;
use tokio::sync::watch;

const BAD: &str = "localhost {\n\treverse_porxy web:8000\n}";

fn site(text: &str) -> String {
    format!("localhost {{\n\trespond {text}\n}}")
}

async fn says(stack: &Stack, text: &str) -> anyhow::Result<()> {
    let client = stack.client()?;
    wait::until(&format!("the site says {text:?}"), async || {
        let said = client
            .get(stack.https("localhost", "/"))
            .send()
            .await?
            .text()
            .await?;
        ensure!(said == text, "it says {said:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_command_takes_a_good_file() -> anyhow::Result<()> {
    let stack = Stack::start(&site("one")).await?;
    says(&stack, "one").await?;
    stack.write_caddyfile(&site("two"))?;
    let reload = stack.run("proxy", &["reload"]).await?;
    assert!(reload.status.success(), "{reload:?}");
    // The command ends when the new file is in force, so there is nothing to wait for.
    let said = stack
        .client()?
        .get(stack.https("localhost", "/"))
        .send()
        .await?
        .text()
        .await?;
    assert_eq!(said, "two");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_command_refuses_a_bad_file_and_says_where() -> anyhow::Result<()> {
    let stack = Stack::start(&site("one")).await?;
    stack.write_caddyfile(BAD)?;
    let reload = stack.run("proxy", &["reload"]).await?;
    assert!(!reload.status.success(), "{reload:?}");
    let text = String::from_utf8_lossy(&reload.stderr) + String::from_utf8_lossy(&reload.stdout);
    for part in ["Caddyfile:6:2", "reverse_porxy", "reverse_proxy"] {
        assert!(text.contains(part), "no {part} in:\n{text}");
    }
    says(&stack, "one").await
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reloads() -> anyhow::Result<()> {
    let mut stack = Stack::start(&site("one")).await?;
    stack.write_caddyfile(&site("two"))?;
    stack.running_proxy()?.signal(Signal::HUP)?;
    says(&stack, "two").await?;
    stack.write_caddyfile(BAD)?;
    let proxy = stack.running_proxy()?;
    proxy.signal(Signal::HUP)?;
    proxy.logged(&["reverse_porxy", "6:2"]).await?;
    says(&stack, "two").await
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_takes_effect_by_a_reload() -> anyhow::Result<()> {
    let mut stack = Stack::start(&site("one")).await?;
    stack.add_options("debug");
    stack.write_caddyfile(&site("two"))?;
    let reload = stack.run("proxy", &["reload"]).await?;
    assert!(reload.status.success(), "{reload:?}");
    let url = stack.https("localhost", "/%zz");
    let refused = stack.client()?.get(url).send().await?;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    stack
        .running_proxy()?
        .logged(&["bad request"])
        .await
        .map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_sees_files_written_and_replaced() -> anyhow::Result<()> {
    let mut stack = Stack::new()?;
    stack.write_caddyfile(&site("one"))?;
    stack.start_cert_manager(&[])?;
    stack.start_static_server()?;
    stack.start_proxy(&["--watch"])?;
    stack.ready("proxy").await?;
    stack.certified("localhost").await?;
    says(&stack, "one").await?;

    stack.write_caddyfile(&site("two"))?;
    says(&stack, "two").await?;

    // As editors do: the old file is moved away and a new one put in its place.
    for text in ["three", "four"] {
        let written = stack.path("Caddyfile.new");
        std::fs::rename(stack.caddyfile(), stack.path("Caddyfile~"))?;
        stack.write_caddyfile(&site(text))?;
        std::fs::rename(stack.caddyfile(), &written)?;
        std::fs::rename(&written, stack.caddyfile())?;
        says(&stack, text).await?;
    }

    stack.write_caddyfile(BAD)?;
    stack.running_proxy()?.logged(&["reverse_porxy"]).await?;
    says(&stack, "four").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_site_gets_its_certificate() -> anyhow::Result<()> {
    let stack = Stack::start(&site("one")).await?;
    stack.write_caddyfile("localhost, new.localhost {\n\trespond two\n}")?;
    let reload = stack.run("proxy", &["reload"]).await?;
    assert!(reload.status.success(), "{reload:?}");
    stack.certified("new.localhost").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_outlives_a_reload() -> anyhow::Result<()> {
    let (stack, upstream) = Stack::start_demo().await?;
    let mut socket = Socket::open(stack.connect().await?, "wss://localhost/ws").await?;
    assert_eq!(socket.exchange("before").await?, "before");
    let changed = demo_site("localhost", &upstream).replacen('{', "{\n\theader x-version 2\n", 1);
    stack.write_caddyfile(&changed)?;
    let reload = stack.run("proxy", &["reload"]).await?;
    assert!(reload.status.success(), "{reload:?}");
    let response = stack
        .client()?
        .get(stack.https("localhost", "/status/200"))
        .send()
        .await?;
    assert_eq!(response.headers()["x-version"], "2");
    assert_eq!(socket.exchange("after").await?, "after");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_during_reloads() -> anyhow::Result<()> {
    let mut stack = Stack::new()?;
    let upstream = Upstream::start(stack.folder()).await?;
    stack.write_caddyfile(&demo_site("localhost", &upstream))?;
    stack.start_all().await?;
    let client = stack.client()?;
    let url = stack.https("localhost", "/slow?ms=5");
    let (stop, mut stopped) = watch::channel(false);
    let (count, mut answered) = watch::channel(0);
    let requests = tokio::spawn(async move {
        while !*stopped.borrow_and_update() {
            let response = client.get(&url).send().await.context("a request failed")?;
            ensure!(response.status() == StatusCode::OK, "{}", response.status());
            count.send_modify(|count| *count += 1);
        }
        anyhow::Ok(())
    });
    for version in 0..10 {
        let site = demo_site("localhost", &upstream);
        stack.write_caddyfile(&site.replacen(
            '{',
            &format!("{{\n\theader x-version {version}\n"),
            1,
        ))?;
        let before = *answered.borrow();
        let reload = stack.run("proxy", &["reload"]).await?;
        assert!(reload.status.success(), "{reload:?}");
        // Fails when the requests ended early, whose own error then says why.
        if answered.wait_for(|count| *count > before).await.is_err() {
            break;
        }
    }
    stop.send_replace(true);
    requests.await?
}
