//! Which challenge proves control of a name.

use anyhow::{Context as _, ensure};
use proto::certs::v1::{NameStatus, State};
use tests::pebble::{Pebble, Validation};
use tests::stack::Stack;
use tests::{tls, wait};

use super::use_authority;

/// A stack whose authority looks for answers at `http_port`, and at the proxy's port for TLS.
async fn start(sites: &str, http_port: u16) -> anyhow::Result<(Stack, Pebble)> {
    let mut stack = Stack::new()?;
    let ports = [http_port, stack.ports.https];
    let pebble = Pebble::start_at(stack.folder(), ports, Validation::AtOnce).await?;
    use_authority(&mut stack, &pebble)?;
    stack.write_caddyfile(sites)?;
    stack.start_all().await?;
    Ok((stack, pebble))
}

/// A site that proves itself in handshakes alone.
fn tls_alone(name: &str, pebble_directory: &str) -> String {
    format!(
        "{name} {{\n\ttls {{\n\t\tissuer acme {pebble_directory} {{\n\t\t\t\
         disable_http_challenge\n\t\t}}\n\t}}\n\trespond ok\n}}\n"
    )
}

async fn renewed(stack: &Stack, name: &str) -> anyhow::Result<NameStatus> {
    let old = stack.stored_serial(name).await?;
    let renewed = stack.run("cert-manager", &["renew", name]).await?;
    ensure!(renewed.status.success(), "{renewed:?}");
    wait::until("there is another certificate", async || {
        ensure!(stack.stored_serial(name).await? != old, "it is the old one");
        Ok(())
    })
    .await?;
    stack.reached(name, State::Valid).await
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_prove_names_and_addresses() -> anyhow::Result<()> {
    let mut stack = Stack::new()?;
    let ports = [ports::free()?, stack.ports.https];
    let pebble = Pebble::start_at(stack.folder(), ports, Validation::AtOnce).await?;
    use_authority(&mut stack, &pebble)?;
    let names = ["a.test", "127.0.0.1"];
    let sites = names.map(|name| tls_alone(name, &pebble.directory));
    stack.write_caddyfile(&sites.concat())?;
    stack.start_all().await?;
    for name in names {
        let status = stack.reached(name, State::Valid).await?;
        assert_eq!(status.challenge, "tls-alpn-01", "{name}");
        assert_eq!(status.failures, 0, "{name}");
    }
    // Nobody gets the protocol of the challenge when none is open, nor a challenge's certificate.
    let roots = tls::roots(&[&pebble.issuing_root().await?])?;
    let config = tls::config(&roots, &["acme-tls/1"])?;
    let shaken = tls::connect(stack.ports.https, "a.test", config).await;
    assert!(shaken.is_err());
    let config = tls::config(&roots, &["http/1.1"])?;
    let stream = tls::connect(stack.ports.https, "a.test", config).await?;
    assert_eq!(tls::serial(&stream)?, stack.stored_serial("a.test").await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_challenge_follows_one_that_is_refused_and_then_comes_first() -> anyhow::Result<()>
{
    // The authority looks for HTTP-01 where nobody answers.
    let site = "a.test {\n\trespond ok\n}";
    let (mut stack, pebble) = start(site, ports::free()?).await?;
    let status = stack.reached("a.test", State::Valid).await?;
    assert_eq!(status.challenge, "tls-alpn-01");
    assert_eq!(pebble.orders()?, 2);
    let manager = stack.cert_manager.as_mut().context("not started")?;
    let words = "the authority refuses the challenge; trying another one";
    manager.logged(&[words, "http-01"]).await?;

    let status = renewed(&stack, "a.test").await?;
    assert_eq!(status.challenge, "tls-alpn-01");
    let log = stack.cert_manager.as_ref().context("not started")?.log()?;
    assert_eq!(log.matches(words).count(), 1, "{log}");
    Ok(())
}
