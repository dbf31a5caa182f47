//! The demo with two proxies and three static-servers, under the internal authority.

use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use proto::certs::v1::ListRequest;
use proto::certs::v1::status_client::StatusClient;
use reqwest::StatusCode;
use tests::demo::Echo;
use tests::websocket::Socket;
use tests::{client, tls, wait};
use tonic::transport::Channel;

use super::{DEMO, Demo};

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_works_scaled_and_survives_losses() -> anyhow::Result<()> {
    let demo = Demo::new(&DEMO, "localhost")?;
    demo.up()?;
    for (service, count) in [("cert-manager", 1), ("static-server", 3), ("proxy", 2)] {
        demo.healthy(service, count).await?;
    }
    let roots = demo.internal_root().await?;
    let client = client::new(&roots)?;
    serves_the_page(&demo, &client).await?;
    keeps_connections_open(&demo, &roots, &client).await?;
    reports(&demo).await?;
    hands_files_over(&demo).await?;
    is_confined(&demo)?;
    loses_a_proxy(&demo, &roots).await?;
    replaces_the_app(&demo, &client).await?;

    let serial = demo.served_serial(&roots).await?;
    demo.project.run(&["down"])?;
    demo.up()?;
    let again = wait::until("it is served again", async || {
        demo.served_serial(&roots).await
    })
    .await?;
    assert_eq!(again, serial, "a new certificate after down and up");
    Ok(())
}

async fn serves_the_page(demo: &Demo, client: &reqwest::Client) -> anyhow::Result<()> {
    let page = wait::until("the page is served", async || {
        let response = client
            .get(demo.https("/"))
            .send()
            .await?
            .error_for_status()?;
        Ok(response.text().await?)
    })
    .await?;
    assert!(page.contains("Portico demo"));
    let style = client.get(demo.https("/static/site.css")).send().await?;
    assert_eq!(style.headers()["content-type"], "text/css; charset=utf-8");
    let picture = reqwest::multipart::Part::bytes(vec![7; 100_000]).file_name("photo.png");
    let form = reqwest::multipart::Form::new().part("file", picture);
    let stored = client
        .post(demo.https("/photos"))
        .multipart(form)
        .send()
        .await?;
    assert_eq!(stored.status(), StatusCode::SEE_OTHER);
    let picture = client.get(demo.https("/media/photo.png")).send().await?;
    assert_eq!(picture.bytes().await?, vec![7; 100_000]);
    let echo: Echo = client.get(demo.https("/echo")).send().await?.json().await?;
    assert_eq!(echo.header("x-forwarded-proto"), ["https"]);
    let url = format!("http://localhost:{}/x", demo.http);
    let redirect = client::plain()?.get(url).send().await?;
    assert_eq!(redirect.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(redirect.headers()["location"], "https://localhost/x");
    Ok(())
}

async fn keeps_connections_open(
    demo: &Demo,
    roots: &rustls::RootCertStore,
    client: &reqwest::Client,
) -> anyhow::Result<()> {
    let stream = tls::connect(demo.https, "localhost", tls::config(roots, &["http/1.1"])?).await?;
    let mut socket = Socket::open(stream, "wss://localhost/ws").await?;
    assert_eq!(socket.exchange("hello").await?, "hello");
    let reload = demo
        .project
        .run(&["exec", "-T", "--index=1", "proxy", "proxy", "reload"]);
    reload.context("reloading a proxy")?;
    assert_eq!(socket.exchange("still there").await?, "still there");
    let mut events = client
        .get(demo.https("/events"))
        .send()
        .await?
        .bytes_stream();
    events.next().await.context("no event")??;
    Ok(())
}

async fn reports(demo: &Demo) -> anyhow::Result<()> {
    let table = demo
        .project
        .run(&["exec", "-T", "cert-manager", "cert-manager", "status"])?;
    assert!(table.contains("localhost"), "{table}");
    demo.project.run(&[
        "exec",
        "-T",
        "cert-manager",
        "cert-manager",
        "renew",
        "localhost",
    ])?;
    demo.project
        .run(&["exec", "-T", "proxy", "proxy", "status"])?;
    demo.project
        .run(&["exec", "-T", "static-server", "static-server", "status"])?;
    let address = format!("http://127.0.0.1:{}", demo.status);
    let channel = Channel::from_shared(address)?.connect().await?;
    let names = StatusClient::new(channel)
        .list(ListRequest {})
        .await?
        .into_inner()
        .names;
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(names[0].declared_by, 2, "both proxies declare the name");
    Ok(())
}

async fn hands_files_over(demo: &Demo) -> anyhow::Result<()> {
    wait::until(
        "the proxies know every static-server's socket",
        async || {
            let logs = demo.project.run(&["logs", "proxy"])?;
            let known = logs.matches("\"replicas\":3").count();
            ensure!(known == 2, "{known} proxies do:\n{logs}");
            Ok(())
        },
    )
    .await
}

fn is_confined(demo: &Demo) -> anyhow::Result<()> {
    for service in ["ingress", "proxy", "static-server", "cert-manager"] {
        for container in demo.project.containers(service)? {
            let format = "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} \
                          {{.HostConfig.SecurityOpt}}";
            let facts = demo
                .project
                .docker(&["inspect", "-f", format, &container])?;
            let expected = "65532:65532 true [ALL] [no-new-privileges:true]";
            assert_eq!(facts.trim(), expected, "{service}");
        }
    }
    let static_server = demo.project.containers("static-server")?;
    let format = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}";
    let networks = demo
        .project
        .docker(&["inspect", "-f", format, &static_server[0]])?;
    let networks: Vec<&str> = networks.split_whitespace().collect();
    assert_eq!(networks.len(), 1, "{networks:?}");
    let internal =
        demo.project
            .docker(&["network", "inspect", "-f", "{{.Internal}}", networks[0]])?;
    assert_eq!(internal.trim(), "true");
    Ok(())
}

async fn loses_a_proxy(demo: &Demo, roots: &rustls::RootCertStore) -> anyhow::Result<()> {
    let proxies = demo.project.containers("proxy")?;
    demo.project.docker(&["stop", &proxies[0]])?;
    // New connections, one each.
    for _ in 0..20 {
        let response = client::new(roots)?
            .get(demo.https("/static/site.css"))
            .send()
            .await?;
        assert_eq!(response.status(), StatusCode::OK);
    }
    demo.project.docker(&["start", &proxies[0]])?;
    demo.healthy("proxy", 2).await
}

async fn replaces_the_app(demo: &Demo, client: &reqwest::Client) -> anyhow::Result<()> {
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let (client, url) = (client.clone(), demo.https("/status/200"));
    let requests = tokio::spawn(async move {
        let mut answered = 0;
        while !*stopped.borrow_and_update() {
            let response = client.get(&url).send().await.context("a request failed")?;
            ensure!(response.status() == StatusCode::OK, "{}", response.status());
            answered += 1;
        }
        Ok(answered)
    });
    let args = [
        "up",
        "-d",
        "--no-build",
        "--no-deps",
        "--force-recreate",
        "web",
    ];
    tokio::task::block_in_place(|| demo.project.run(&args))?;
    stop.send_replace(true);
    assert!(requests.await?? > 0);
    Ok(())
}
