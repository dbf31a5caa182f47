//! The app is down, or being replaced.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::StatusCode;
use tests::stack::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_down_is_a_502_and_a_log_line_that_helps() -> anyhow::Result<()> {
    let (mut stack, mut upstream) = Stack::start_demo().await?;
    upstream.stop().await?;
    let client = stack.client()?;
    // One after the other they would wait for longer than the test may take.
    let answers = join_all((0..40).map(|_| client.get(stack.https("localhost", "/")).send())).await;
    for answer in answers {
        assert_eq!(answer?.status(), StatusCode::BAD_GATEWAY);
    }

    let address = upstream.address().to_string();
    let proxy = stack.running_proxy()?;
    proxy.logged(&["localhost", &address, "refused"]).await?;
    let lines = proxy
        .log()?
        .lines()
        .filter(|line| line.contains("refused"))
        .count();
    assert!(lines <= 10, "{lines} lines for 40 requests");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_an_app_that_is_being_replaced() -> anyhow::Result<()> {
    let (stack, mut upstream) = Stack::start_demo().await?;
    let client = stack.client()?;
    // A connection of the old app's is in the pool.
    client
        .get(stack.https("localhost", "/status/200"))
        .send()
        .await?
        .error_for_status()?;
    upstream.stop().await?;
    let get = client.get(stack.https("localhost", "/status/200")).send();
    let post = client
        .post(stack.https("localhost", "/upload"))
        .body("hello")
        .send();
    let mut both = Box::pin(async { tokio::join!(get, post) });
    let early = tokio::time::timeout(Duration::from_millis(700), &mut both).await;
    assert!(early.is_err(), "answered while the app was gone: {early:?}");
    upstream.resume().await?;
    let (get, post) = both.await;
    assert_eq!(get?.status(), StatusCode::OK);
    assert_eq!(post?.status(), StatusCode::OK);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_served_while_the_app_is_down() -> anyhow::Result<()> {
    let (stack, mut upstream) = Stack::start_demo().await?;
    upstream.stop().await?;
    let response = stack
        .client()?
        .get(stack.https("localhost", "/static/site.css"))
        .send()
        .await?;
    assert_eq!(response.status(), StatusCode::OK);
    Ok(())
}
