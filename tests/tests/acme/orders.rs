//! Orders that succeed, and are not repeated.

use anyhow::{Context as _, ensure};
use proto::certs::v1::State;
use tests::pebble::Validation;
use tests::{client, tls, wait};

use super::start;

#[tokio::test(flavor = "multi_thread")]
async fn every_name_gets_a_certificate_of_the_authority() -> anyhow::Result<()> {
    let (stack, pebble) = start(Validation::AtOnce).await?;
    let status = stack.reached("a.test", State::Valid).await?;
    assert_eq!(status.issuer, pebble.directory);
    stack.reached("b.test", State::Valid).await?;

    let roots = tls::roots(&[&pebble.issuing_root().await?])?;
    let client = client::new(&roots)?;
    for name in ["a.test", "b.test"] {
        let text = wait::until(&format!("{name} is served"), async || {
            Ok(client
                .get(stack.https(name, "/"))
                .send()
                .await?
                .text()
                .await?)
        })
        .await?;
        assert_eq!(text, "ok");
        let config = tls::config(&roots, &[])?;
        let served = tls::serial(&tls::connect(stack.ports.https, name, config).await?)?;
        assert_eq!(served, stack.stored_serial(name).await?);
    }
    let redirect = client::plain()?
        .get(stack.http("a.test", "/x"))
        .send()
        .await?;
    assert_eq!(redirect.status(), 308);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_orders_nothing_new() -> anyhow::Result<()> {
    let (mut stack, pebble) = start(Validation::AtOnce).await?;
    stack.reached("a.test", State::Valid).await?;
    stack.reached("b.test", State::Valid).await?;
    let serials = [
        stack.stored_serial("a.test").await?,
        stack.stored_serial("b.test").await?,
    ];
    let orders = pebble.orders()?;
    for program in [
        &mut stack.cert_manager,
        &mut stack.static_server,
        &mut stack.proxy,
    ] {
        program.as_mut().context("not started")?.stop().await?;
    }
    stack.start_all().await?;
    stack.reached("a.test", State::Valid).await?;
    stack.reached("b.test", State::Valid).await?;
    assert_eq!(
        serials,
        [
            stack.stored_serial("a.test").await?,
            stack.stored_serial("b.test").await?
        ]
    );
    assert_eq!(pebble.orders()?, orders);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn renewal_keeps_the_account() -> anyhow::Result<()> {
    let (stack, pebble) = start(Validation::AtOnce).await?;
    let old = stack
        .reached("a.test", State::Valid)
        .await?
        .certificate
        .context("none")?
        .serial;
    let renewed = stack.run("cert-manager", &["renew", "a.test"]).await?;
    assert!(renewed.status.success(), "{renewed:?}");
    wait::until("a.test has another certificate", async || {
        ensure!(
            stack.stored_serial("a.test").await? != old,
            "it is the old one"
        );
        Ok(())
    })
    .await?;
    assert_eq!(pebble.accounts()?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_killed_during_an_order_goes_on_with_it() -> anyhow::Result<()> {
    let (mut stack, pebble) = start(Validation::Delayed).await?;
    // Pebble has taken both orders, and takes its time to validate.
    wait::until("Pebble has two orders", async || {
        ensure!(pebble.orders()? >= 2, "{} so far", pebble.orders()?);
        Ok(())
    })
    .await?;
    stack
        .cert_manager
        .as_mut()
        .context("not started")?
        .kill()
        .await?;
    stack.start_cert_manager(&[])?;
    for name in ["a.test", "b.test"] {
        stack.reached(name, State::Valid).await?;
    }
    assert_eq!(pebble.orders()?, 2, "orders were placed again");
    assert_eq!(pebble.accounts()?, 1);
    Ok(())
}
