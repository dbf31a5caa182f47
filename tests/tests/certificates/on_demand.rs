//! Names that clients bring, allowed by an app.

use anyhow::{Context as _, ensure};
use proto::certs::v1::State;
use tests::ask::App;
use tests::stack::Stack;
use tests::wait;
use tokio::task::JoinSet;

/// A site for all names that `app` allows, ready.
async fn start(app: &App) -> anyhow::Result<Stack> {
    let mut stack = Stack::new()?;
    stack.add_options(&app.options());
    stack.write_caddyfile("https:// {\n\ttls {\n\t\ton_demand\n\t}\n\trespond ok\n}")?;
    stack.start_all().await?;
    wait::until("the proxy is connected", async || {
        let status = stack.run("proxy", &["status", "--json"]).await?;
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        let status: serde_json::Value = serde_json::from_str(&text).context("reading")?;
        ensure!(status["cert_manager_connected"] == true, "{status}");
        Ok(())
    })
    .await?;
    Ok(stack)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_certified_when_its_first_client_comes() -> anyhow::Result<()> {
    let app = App::start().await?;
    let stack = start(&app).await?;
    let response = stack
        .client()?
        .get(stack.https("good.test", "/"))
        .send()
        .await?;
    assert_eq!(response.text().await?, "ok");
    let status = stack.reached("good.test", State::Valid).await?;
    assert_eq!(status.issuer, "internal");
    assert_eq!(
        stack.served_serial("good.test").await?,
        stack.stored_serial("good.test").await?
    );
    wait::until("the name is declared", async || {
        let status = stack.status("good.test").await?;
        ensure!(status.declared_by == 1, "by {}", status.declared_by);
        Ok(())
    })
    .await?;
    assert_eq!(app.questions(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_allowed_is_neither_served_nor_kept() -> anyhow::Result<()> {
    let app = App::start().await?;
    let stack = start(&app).await?;
    for _ in 0..3 {
        stack
            .served_serial("bad.test")
            .await
            .expect_err("it is denied");
    }
    assert_eq!(app.questions(), 1);
    app.stop();
    stack
        .served_serial("good.test")
        .await
        .expect_err("nobody allows it");
    assert!(stack.statuses().await?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_at_once_share_one_certificate() -> anyhow::Result<()> {
    let app = App::start().await?;
    let stack = start(&app).await?;
    let (roots, port) = (stack.roots()?, stack.ports.https);
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        let config = tests::tls::config(&roots, &["http/1.1"])?;
        clients.spawn(async move {
            tests::tls::serial(&tests::tls::connect(port, "good.test", config).await?)
        });
    }
    let stored = {
        let mut serials = clients
            .join_all()
            .await
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        serials.dedup();
        assert_eq!(serials.len(), 1);
        serials.remove(0)
    };
    assert_eq!(stack.stored_serial("good.test").await?, stored);
    assert_eq!(app.questions(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_outlive_restarts_of_both_sides_and_of_one_alone() -> anyhow::Result<()> {
    let app = App::start().await?;
    let mut stack = start(&app).await?;
    let serial = stack.served_serial("good.test").await?;
    let kept = stack.path("proxy-data/on-demand/good.test.pem");
    wait::until("the certificate is kept", async || {
        ensure!(kept.exists(), "it is not");
        Ok(())
    })
    .await?;
    for program in [&mut stack.proxy, &mut stack.cert_manager] {
        program.as_mut().context("not started")?.kill().await?;
    }
    stack.start_proxy(&[])?;
    stack.ready("proxy").await?;
    assert_eq!(stack.served_serial("good.test").await?, serial);
    stack
        .served_serial("good2.test")
        .await
        .expect_err("there is no cert-manager");

    stack.start_cert_manager(&[])?;
    stack.ready("cert-manager").await?;
    wait::until("the name is declared again", async || {
        let status = stack.status("good.test").await?;
        ensure!(status.declared_by == 1, "by {}", status.declared_by);
        Ok(())
    })
    .await?;
    assert_eq!(stack.stored_serial("good.test").await?, serial);
    assert_eq!(app.questions(), 1);
    stack.certified("good2.test").await
}
