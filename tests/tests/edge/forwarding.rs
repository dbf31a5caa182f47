//! What reaches the app, and what comes back.

use anyhow::Context as _;
use reqwest::{Method, StatusCode};
use tests::client;
use tests::demo::Echo;
use tests::stack::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn app_is_told_who_asks_and_how() -> anyhow::Result<()> {
    let (stack, _upstream) = Stack::start_demo().await?;
    let authority = format!("localhost:{}", stack.ports.https);
    for client in [stack.client()?, client::http1(&stack.roots()?)?] {
        let echo: Echo = client
            .get(stack.https("localhost", "/echo/a%20b?x=1&y=%2F"))
            .header("x-forwarded-for", "192.0.2.1")
            .header("x-forwarded-proto", "gopher")
            .header("x-mine", "kept")
            .send()
            .await?
            .json()
            .await?;
        assert_eq!(echo.method, "GET");
        assert_eq!(echo.uri, "/echo/a%20b?x=1&y=%2F");
        assert_eq!(echo.header("host"), [&authority]);
        assert_eq!(echo.header("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(echo.header("x-forwarded-proto"), ["https"]);
        assert_eq!(echo.header("x-forwarded-host"), [&authority]);
        assert_eq!(echo.header("x-mine"), ["kept"]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_sent_to_https() -> anyhow::Result<()> {
    let (stack, _upstream) = Stack::start_demo().await?;
    let response = client::plain()?
        .get(stack.http("localhost", "/a?b=c"))
        .send()
        .await?;
    assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
    // Caddy: the port is left out, since `https_port` is the inside of a port mapping.
    assert_eq!(response.headers()["location"], "https://localhost/a?b=c");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_and_bodies_arrive_unchanged() -> anyhow::Result<()> {
    let (stack, _upstream) = Stack::start_demo().await?;
    let client = stack.client()?;
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let echo: Echo = client
            .request(method.clone(), stack.https("localhost", "/echo"))
            .body("hello")
            .send()
            .await?
            .json()
            .await?;
        assert_eq!(echo.method, method.as_str());
        assert_eq!(echo.body_bytes, 5);
        assert!(
            echo.body_sha256.starts_with("2cf24dba5fb0a30e"),
            "{}",
            echo.body_sha256
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn status_codes_pass_through_and_bodies_only_where_allowed() -> anyhow::Result<()> {
    let (stack, _upstream) = Stack::start_demo().await?;
    for client in [stack.client()?, client::http1(&stack.roots()?)?] {
        for code in [200, 201, 204, 304, 404, 418, 500, 503] {
            let url = stack.https("localhost", &format!("/status/{code}"));
            let response = client.get(url).send().await?;
            assert_eq!(response.status().as_u16(), code);
            let body = response.text().await?;
            assert_eq!(
                body.is_empty(),
                code == 204 || code == 304,
                "{code}: {body:?}"
            );
        }
        let response = client
            .head(stack.https("localhost", "/big?bytes=1000"))
            .send()
            .await?;
        assert_eq!(response.headers()["content-length"], "1000");
        assert_eq!(response.bytes().await?.len(), 0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_page_and_its_style_are_served() -> anyhow::Result<()> {
    let (stack, _upstream) = Stack::start_demo().await?;
    let client = stack.client()?;
    let page = client
        .get(stack.https("localhost", "/"))
        .send()
        .await?
        .text()
        .await?;
    let style = page
        .split("href=\"")
        .find_map(|part| part.split('"').next().filter(|path| path.ends_with(".css")))
        .context("a style sheet in the page")?;
    let response = client.get(stack.https("localhost", style)).send().await?;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.headers()["content-type"],
        "text/css; charset=utf-8"
    );
    assert!(response.text().await?.contains(":root"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_served_from_media() -> anyhow::Result<()> {
    let (stack, _upstream) = Stack::start_demo().await?;
    let client = stack.client()?;
    let picture = reqwest::multipart::Part::bytes(vec![7; 300_000]).file_name("my photo.png");
    let response = client
        .post(stack.https("localhost", "/photos"))
        .multipart(reqwest::multipart::Form::new().part("file", picture))
        .send()
        .await?;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let page = client
        .get(stack.https("localhost", "/"))
        .send()
        .await?
        .text()
        .await?;
    assert!(page.contains("<img src=\"/media/my_photo.png\""), "{page}");
    let response = client
        .get(stack.https("localhost", "/media/my_photo.png"))
        .send()
        .await?;
    assert_eq!(response.headers()["content-type"], "image/png");
    assert_eq!(response.bytes().await?, vec![7; 300_000]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_served_gets_no_certificate() -> anyhow::Result<()> {
    let (stack, _upstream) = Stack::start_demo().await?;
    assert!(stack.served_serial("localhost").await.is_ok());
    assert!(stack.served_serial("other.localhost").await.is_err());
    Ok(())
}
