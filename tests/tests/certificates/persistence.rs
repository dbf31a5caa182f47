//! What was announced survives: restarts, a cert-manager that is gone, a database that is broken.

use anyhow::Context as _;
use proto::certs::v1::State;
use tests::stack::Stack;

use super::SITES;

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_issues_nothing_new() -> anyhow::Result<()> {
    let mut stack = Stack::start(SITES).await?;
    stack.certified("localhost").await?;
    let serial = stack.stored_serial("localhost").await?;
    for hard in [false, true] {
        for program in [
            &mut stack.cert_manager,
            &mut stack.proxy,
            &mut stack.static_server,
        ] {
            let program = program.as_mut().context("not started")?;
            if hard {
                program.kill().await?;
            } else {
                assert!(program.stop().await?.success());
            }
        }
        stack.start_all().await?;
        stack.certified("localhost").await?;
        assert_eq!(
            stack.served_serial("localhost").await?,
            serial,
            "after kill: {hard}"
        );
        assert_eq!(
            stack.stored_serial("localhost").await?,
            serial,
            "after kill: {hard}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_restarts_and_serves_without_the_cert_manager() -> anyhow::Result<()> {
    let mut stack = Stack::start(SITES).await?;
    stack.certified("localhost").await?;
    let serial = stack.served_serial("localhost").await?;
    stack
        .cert_manager
        .as_mut()
        .context("not started")?
        .stop()
        .await?;
    stack.running_proxy()?.kill().await?;
    stack.start_proxy(&[])?;
    stack.certified("localhost").await?;
    assert_eq!(stack.served_serial("localhost").await?, serial);
    let response = stack
        .client()?
        .get(stack.https("localhost", "/"))
        .send()
        .await?;
    assert_eq!(response.text().await?, "ok");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_open_is_rebuilt_from_the_files() -> anyhow::Result<()> {
    let mut stack = Stack::start(SITES).await?;
    stack.certified("localhost").await?;
    let serial = stack.stored_serial("localhost").await?;
    let manager = stack.cert_manager.as_mut().context("not started")?;
    manager.kill().await?;
    let mut broken = 0;
    for file in super::files_below(&stack.path("cert-data"))? {
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name == "conf" || name == "db" || name.starts_with("snap.") {
            std::fs::write(&file, "broken")?;
            broken += 1;
        }
    }
    assert!(broken > 0, "no database was found");
    stack.start_cert_manager(&[])?;
    stack.ready("cert-manager").await?;
    let status = stack.reached("localhost", State::Valid).await?;
    assert_eq!(status.certificate.context("no certificate")?.serial, serial);
    let manager = stack.cert_manager.as_mut().context("not started")?;
    manager.logged(&["certificate files"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_manager_on_the_same_data_stands_by() -> anyhow::Result<()> {
    let mut stack = Stack::start(SITES).await?;
    stack.certified("localhost").await?;
    let serial = stack.stored_serial("localhost").await?;
    let mut first = stack.cert_manager.take().context("not started")?;
    let old = stack.ports;
    stack.ports.manager = ports::free()?;
    stack.ports.status = ports::free()?;
    stack.ports.admin[0] = ports::free()?;
    stack.start_cert_manager(&[])?;
    let refused = tests::wait::until("the second says why it is not ready", async || {
        let health = stack.run("cert-manager", &["health"]).await?;
        anyhow::ensure!(health.status.code() == Some(1), "it is ready");
        let text = String::from_utf8_lossy(&health.stderr).into_owned();
        anyhow::ensure!(!text.contains("cannot reach"), "{text}");
        Ok(text)
    })
    .await?;
    assert!(!refused.trim().is_empty());
    first.stop().await?;
    stack.ready("cert-manager").await?;
    assert_eq!(stack.stored_serial("localhost").await?, serial);
    assert_ne!(old.manager, stack.ports.manager);
    Ok(())
}
