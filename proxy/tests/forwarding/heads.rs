use serde_json::{Value, json};

use crate::peer::{OK, Proxy, Upstream, fields, run};

/// What the upstream gets of a request with these lines.
async fn received(handler: Value, lines: &str) -> String {
    let upstream = Upstream::bind().await;
    let proxy = Proxy::start(handler, &[upstream.address]).await;
    let mut client = proxy
        .send(&format!("GET /path?query=%20 HTTP/1.1\r\n{lines}\r\n"))
        .await;
    let mut connection = upstream.accept().await;
    let head = connection.head().await;
    connection.write(OK).await;
    client.read_to("ok").await;
    head
}

#[test]
fn fields_of_the_clients_connection_stay_behind() {
    run(async {
        let head = received(
            json!({}),
            "Host: app.test\r\nAccept: */*\r\nConnection: keep-alive, X-Private\r\nX-Private: 1\r\n\
             Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: x\r\n\
             TE: trailers, deflate\r\nUpgrade: websocket\r\nX-Own: kept\r\n",
        )
        .await;
        assert!(head.starts_with("GET /path?query=%20 HTTP/1.1\r\n"));
        assert_eq!(
            fields(&head),
            [
                "accept: */*",
                "host: app.test",
                "te: trailers",
                "via: 1.1 Portico",
                "x-forwarded-for: 127.0.0.1",
                "x-forwarded-host: app.test",
                "x-forwarded-proto: http",
                "x-own: kept",
            ]
        );
    });
}

#[test]
fn what_a_client_claims_of_itself_is_replaced() {
    run(async {
        let claims = "Host: app.test:8080\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\n\
                      X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\n";
        let head = received(json!({}), claims).await;
        assert_eq!(
            fields(&head),
            [
                "host: app.test:8080",
                "via: 1.1 Portico",
                "x-forwarded-for: 127.0.0.1",
                "x-forwarded-host: app.test:8080",
                "x-forwarded-proto: http",
            ]
        );
        // A trusted proxy is believed.
        let head = received(json!({"trusted_proxies": ["127.0.0.0/8"]}), claims).await;
        assert_eq!(
            fields(&head),
            [
                "host: app.test:8080",
                "via: 1.1 Portico",
                "x-forwarded-for: 1.2.3.4, 5.6.7.8, 127.0.0.1",
                "x-forwarded-host: evil.test",
                "x-forwarded-proto: https",
            ]
        );
    });
}

#[test]
fn fields_are_changed_as_configured() {
    run(async {
        let handler = json!({"headers": {"request": {
            "set": {"X-Upstream": ["{http.reverse_proxy.upstream.host}"], "Host": ["other.test"]},
            "add": {"X-Tag": ["a"]},
            "delete": ["X-Forwarded-For", "X-Secret"],
        }}});
        let head = received(handler, "Host: app.test\r\nX-Secret: 1\r\nX-Tag: b\r\n").await;
        assert_eq!(
            fields(&head),
            [
                "host: other.test",
                "via: 1.1 Portico",
                "x-forwarded-host: app.test",
                "x-forwarded-proto: http",
                "x-tag: a",
                "x-tag: b",
                "x-upstream: 127.0.0.1",
            ]
        );
    });
}

#[test]
fn method_and_target_are_changed_for_the_upstream_alone() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start_with(json!([
            {"handle": [{
                "handler": "reverse_proxy",
                "upstreams": [{"dial": upstream.address.to_string()}],
                "rewrite": {"method": "HEAD", "uri": "/other"},
            }]},
        ]))
        .await;
        let mut client = proxy.send("GET /path HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut connection = upstream.accept().await;
        assert!(
            connection
                .head()
                .await
                .starts_with("HEAD /other HTTP/1.1\r\n")
        );
        connection.write("HTTP/1.1 200 OK\r\n\r\n").await;
        client.head().await;
    });
}

#[test]
fn a_request_that_should_have_content_says_that_it_has_none() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let mut client = proxy.send("POST / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut connection = upstream.accept().await;
        assert!(connection.head().await.contains("content-length: 0\r\n"));
        connection.write(OK).await;
        client.read_to("ok").await;
        client.write("DELETE / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(!connection.head().await.contains("content-length"));
        connection.write(OK).await;
        client.read_to("ok").await;
    });
}

#[test]
fn an_old_client_is_served_too() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let mut client = proxy.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n").await;
        let mut connection = upstream.accept().await;
        let head = connection.head().await;
        assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("via: 1.0 Portico\r\n"), "{head}");
        connection
            .write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
            .await;
        let answer = client.rest().await;
        // It knows no chunks: the end of the connection ends the body.
        assert!(
            answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nok"),
            "{answer}"
        );
    });
}

#[test]
fn a_client_that_names_no_host_gets_the_upstreams() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let mut client = proxy.send("GET / HTTP/1.0\r\n\r\n").await;
        let mut connection = upstream.accept().await;
        let head = connection.head().await;
        assert!(
            head.contains(&format!("host: {}\r\n", upstream.address)),
            "{head}"
        );
        connection.write(OK).await;
        client.read_to("ok").await;
    });
}

#[test]
fn connect_is_not_forwarded() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let mut client = proxy
            .send("CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n")
            .await;
        tokio::select! {
            head = client.head() => assert!(head.starts_with("HTTP/1.1 405 "), "{head}"),
            _ = upstream.accept() => panic!("it was forwarded"),
        }
    });
}
