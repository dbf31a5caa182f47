//! Big bodies pass through in pieces: the edge's memory stays where it was.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tests::client;
use tests::demo::Received;
use tests::stack::Stack;

const MIB: u64 = 1024 * 1024;
/// What each big body holds.
const BIG: u64 = 512 * MIB;
/// How much the edge may grow by while it passes one on.
const GROWTH: u64 = 48 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn a_big_download_leaves_memory_flat() -> anyhow::Result<()> {
    let (mut stack, _upstream) = Stack::start_demo().await?;
    for client in [client::http1(&stack.roots()?)?, stack.client()?] {
        let before = stack.running_proxy()?.peak_memory()?;
        let url = stack.https("localhost", &format!("/big?bytes={BIG}"));
        let mut body = client.get(url).send().await?.bytes_stream();
        let mut received = 0;
        while let Some(piece) = body.next().await {
            received += piece?.len() as u64;
        }
        assert_eq!(received, BIG);
        stays_flat(&mut stack, before)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_big_upload_leaves_memory_flat() -> anyhow::Result<()> {
    let (mut stack, _upstream) = Stack::start_demo().await?;
    for client in [client::http1(&stack.roots()?)?, stack.client()?] {
        let before = stack.running_proxy()?.peak_memory()?;
        let piece = Bytes::from(vec![7; 64 * 1024]);
        let pieces = usize::try_from(BIG / piece.len() as u64)?;
        let body = stream::iter(std::iter::repeat_n(Ok::<_, Infallible>(piece), pieces));
        let received: Received = client
            .post(stack.https("localhost", "/upload"))
            .body(reqwest::Body::wrap_stream(body))
            .send()
            .await?
            .json()
            .await?;
        assert_eq!(received.bytes, BIG);
        stays_flat(&mut stack, before)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_slows_the_app_down() -> anyhow::Result<()> {
    let (mut stack, _upstream) = Stack::start_demo().await?;
    for client in [client::http1(&stack.roots()?)?, stack.client()?] {
        let before = stack.running_proxy()?.peak_memory()?;
        let url = stack.https("localhost", &format!("/big?bytes={BIG}"));
        let mut body = client.get(url).send().await?.bytes_stream();
        // The reader's pace, not a wait for something: the app could send all of it meanwhile.
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            ensure!(
                body.next().await.transpose()?.is_some(),
                "the body ended early"
            );
        }
        stays_flat(&mut stack, before)?;
    }
    Ok(())
}

fn stays_flat(stack: &mut Stack, before: u64) -> anyhow::Result<()> {
    let after = stack.running_proxy()?.peak_memory()?;
    ensure!(
        after < before + GROWTH,
        "the proxy grew from {} to {} MiB",
        before / MIB,
        after / MIB
    );
    Ok(())
}
