//! What an operator sees and does.

use anyhow::{Context as _, ensure};
use proto::certs::v1::State;
use tests::stack::Stack;
use tests::wait;

use super::SITES;

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_every_name() -> anyhow::Result<()> {
    let stack = Stack::start(SITES).await?;
    stack.certified("app.localhost").await?;
    stack.reached("localhost", State::Valid).await?;
    let table = stack.run("cert-manager", &["status"]).await?;
    assert!(table.status.success(), "{table:?}");
    let table = String::from_utf8(table.stdout)?;
    for word in ["localhost", "app.localhost", "internal", "valid"] {
        assert!(table.to_lowercase().contains(word), "no {word} in\n{table}");
    }
    let json = stack
        .run("cert-manager", &["status", "localhost", "--json"])
        .await?;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout)?;
    let serial = stack.stored_serial("localhost").await?;
    assert!(json.to_string().contains(&serial), "no {serial} in {json}");

    let unknown = stack
        .run("cert-manager", &["status", "nobody.localhost"])
        .await?;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("nobody.localhost"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn renew_replaces_a_certificate_while_requests_go_on() -> anyhow::Result<()> {
    let stack = Stack::start(SITES).await?;
    stack.certified("localhost").await?;
    let old = stack.served_serial("localhost").await?;
    let renewed = stack.run("cert-manager", &["renew", "localhost"]).await?;
    assert!(renewed.status.success(), "{renewed:?}");
    let new = wait::until("a new certificate is served", async || {
        let serial = stack.served_serial("localhost").await?;
        ensure!(serial != old, "it is the old one");
        Ok(serial)
    })
    .await?;
    assert_eq!(stack.stored_serial("localhost").await?, new);
    let unknown = stack
        .run("cert-manager", &["renew", "nobody.localhost"])
        .await?;
    assert_eq!(unknown.status.code(), Some(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn forget_drops_what_is_stored() -> anyhow::Result<()> {
    let stack = Stack::start(SITES).await?;
    stack.certified("localhost").await?;
    let old = stack.stored_serial("localhost").await?;
    let forgotten = stack.run("cert-manager", &["forget", "localhost"]).await?;
    assert!(forgotten.status.success(), "{forgotten:?}");
    // It is still declared, so it is obtained anew.
    wait::until("another certificate is stored", async || {
        let serial = stack.stored_serial("localhost").await?;
        ensure!(serial != old, "it is the old one");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_proxy_declares_any_more_is_unused() -> anyhow::Result<()> {
    let mut stack = Stack::start(SITES).await?;
    stack.certified("app.localhost").await?;
    stack.write_caddyfile("localhost {\n\trespond ok\n}")?;
    let reloaded = stack.run("proxy", &["reload"]).await?;
    assert!(reloaded.status.success(), "{reloaded:?}");
    let status = stack.reached("app.localhost", State::Unused).await?;
    assert_eq!(status.declared_by, 0);
    stack.running_proxy().context("the proxy")?.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_without_a_running_manager_say_so() -> anyhow::Result<()> {
    let stack = Stack::new()?;
    for command in [&["status"][..], &["health"], &["renew", "localhost"]] {
        let output = stack.run("cert-manager", command).await?;
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert!(!output.stderr.is_empty(), "{command:?}");
    }
    let output = stack.run("cert-manager", &["no-such-command"]).await?;
    assert_eq!(output.status.code(), Some(2));
    Ok(())
}
