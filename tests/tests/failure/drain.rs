//! SIGTERM: what was begun is finished.

use anyhow::Context as _;
use futures_util::StreamExt as _;
use rustix::process::Signal;
use tests::stack::Stack;
use tests::wait;
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_are_answered() -> anyhow::Result<()> {
    let (mut stack, _upstream) = Stack::start_demo().await?;
    let client = stack.client()?;
    let url = stack.https("localhost", "/big?bytes=50000000");
    let mut download = client.get(url).send().await?.bytes_stream();
    let mut received = download.next().await.context("nothing came")??.len();
    let url = stack.https("localhost", "/events?count=4&every_ms=500");
    let mut events = client.get(url).send().await?.bytes_stream();
    let mut text = events.next().await.context("no event")??.to_vec();
    let port = stack.ports.https;
    let proxy = stack.running_proxy()?;
    proxy.signal(Signal::TERM)?;
    wait::until(
        "new connections are refused",
        async || match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(_) => anyhow::bail!("one was accepted"),
            Err(_) => Ok(()),
        },
    )
    .await?;
    while let Some(piece) = download.next().await {
        received += piece?.len();
    }
    assert_eq!(received, 50_000_000);
    while let Some(event) = events.next().await {
        text.extend_from_slice(&event?);
    }
    let text = String::from_utf8(text)?;
    assert!(text.contains("data: 3"), "{text}");
    drop(client);
    assert!(stack.running_proxy()?.ended().await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_hold_up_the_end() -> anyhow::Result<()> {
    let (mut stack, _upstream) = Stack::start_demo().await?;
    let client = stack.client()?;
    client
        .get(stack.https("localhost", "/status/200"))
        .send()
        .await?;
    let idle = stack.connect().await?;
    let begin = std::time::Instant::now();
    for program in [
        &mut stack.proxy,
        &mut stack.static_server,
        &mut stack.cert_manager,
    ] {
        assert!(
            program
                .as_mut()
                .context("not started")?
                .stop()
                .await?
                .success()
        );
    }
    assert!(
        begin.elapsed() < std::time::Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
    drop(idle);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_end_is_cut_off_after_the_grace_period() -> anyhow::Result<()> {
    let mut stack = Stack::new()?;
    let upstream = tests::upstream::Upstream::start(stack.folder()).await?;
    stack.add_options("\tgrace_period 1s");
    stack.write_caddyfile(&tests::stack::demo_site("localhost", &upstream))?;
    stack.start_all().await?;
    let mut events = stack
        .client()?
        .get(stack.https("localhost", "/events"))
        .send()
        .await?
        .bytes_stream();
    events.next().await.context("no event")??;
    let begin = std::time::Instant::now();
    stack.running_proxy()?.stop().await?;
    assert!(
        begin.elapsed() < std::time::Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
    Ok(())
}
