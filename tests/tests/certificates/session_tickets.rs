//! Sessions that go on at another replica.

use anyhow::{Context as _, ensure};
use rustls::{ClientConfig, HandshakeKind};
use tests::process::Program;
use tests::raw::Raw;
use tests::stack::{Ports, Stack};
use tests::wait;

use super::SITES;

/// What tells one replica from the other.
struct Replica {
    ports: Ports,
    environment: Vec<(String, String)>,
    program: Option<Program>,
}

/// Turns the stack's proxy into `replica`'s.
fn switch(stack: &mut Stack, replica: &mut Replica) -> anyhow::Result<()> {
    std::mem::swap(&mut stack.ports, &mut replica.ports);
    std::mem::swap(&mut stack.environment, &mut replica.environment);
    std::mem::swap(&mut stack.proxy, &mut replica.program);
    stack.write_caddyfile(SITES)
}

/// A second proxy with folders and ports of its own, in the place of the first.
async fn scale(stack: &mut Stack) -> anyhow::Result<Replica> {
    let data = stack.path("proxy-data-2").display().to_string();
    let mut first = Replica {
        ports: stack.ports,
        environment: vec![("PORTICO_DATA".to_owned(), data)],
        program: None,
    };
    first.ports.http = ports::free()?;
    first.ports.https = ports::free()?;
    first.ports.admin[2] = ports::free()?;
    switch(stack, &mut first)?;
    stack.start_proxy(&[])?;
    stack.ready("proxy").await?;
    stack.certified("localhost").await?;
    Ok(first)
}

/// Waits until a proxy has the keys that are shared.
async fn has_keys(stack: &Stack, folder: &str) -> anyhow::Result<()> {
    let file = stack.path(folder).join("session-tickets.json");
    wait::until("the proxy has keys", async || {
        ensure!(file.exists(), "it has not");
        Ok(())
    })
    .await
}

async fn resumes(port: u16, config: &ClientConfig) -> anyhow::Result<bool> {
    let stream = tests::tls::connect(port, "localhost", config.clone()).await?;
    let kind = stream.get_ref().1.handshake_kind();
    // The ticket comes with the answer.
    let mut raw = Raw::new(stream);
    raw.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    raw.read_to_end().await?;
    Ok(kind == Some(HandshakeKind::Resumed))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_at_another_proxy_also_after_all_were_restarted() -> anyhow::Result<()> {
    let mut stack = Stack::start(SITES).await?;
    stack.certified("localhost").await?;
    let mut other = scale(&mut stack).await?;
    has_keys(&stack, "proxy-data").await?;
    has_keys(&stack, "proxy-data-2").await?;
    let config = tests::tls::config(&stack.roots()?, &["http/1.1"])?;
    let [here, there] = [stack.ports.https, other.ports.https];
    assert!(!resumes(here, &config).await?);
    assert!(resumes(there, &config).await?);
    assert!(resumes(here, &config).await?);

    // cert-manager comes back with the same keys, and the proxies without it.
    stack
        .cert_manager
        .as_mut()
        .context("not started")?
        .kill()
        .await?;
    for _ in 0..2 {
        stack.running_proxy()?.kill().await?;
        stack.start_proxy(&[])?;
        stack.ready("proxy").await?;
        switch(&mut stack, &mut other)?;
    }
    assert!(resumes(there, &config).await?);
    assert!(resumes(here, &config).await?);
    stack.start_cert_manager(&[])?;
    stack.ready("cert-manager").await?;
    assert!(resumes(there, &config).await?);
    Ok(())
}
