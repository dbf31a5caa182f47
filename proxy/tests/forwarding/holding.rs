use std::time::{Duration, Instant};

use serde_json::json;

use crate::peer::{GET, OK, Proxy, Upstream, free_ports, run};

#[test]
fn a_request_is_held_while_its_upstream_comes_back() {
    run(async {
        let upstream = Upstream::bind().await;
        let address = upstream.address;
        let proxy = Proxy::start(json!({}), &[address]).await;
        let mut client = proxy.send(GET).await;
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection.write(OK).await;
        client.read_to("ok").await;

        // Gone, with the pooled connection.
        drop((connection, upstream));
        client
            .write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody")
            .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let upstream = Upstream::bind_to(address).await;
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection.read_to("body").await;
        connection.write(OK).await;
        assert!(client.head().await.starts_with("HTTP/1.1 200 OK\r\n"));
        client.read_to("ok").await;
        assert!(!proxy.log().contains("refused"), "{}", proxy.log());
    });
}

#[test]
fn an_upstream_that_stays_away_is_a_bad_gateway_and_one_line_in_the_log() {
    run(async {
        let [address] = free_ports();
        let handler = json!({"load_balancing": {"try_duration": "300ms"}});
        let proxy = Proxy::start(handler, &[address]).await;
        let began = Instant::now();
        for _ in 0..2 {
            let mut client = proxy.send(GET).await;
            let head = client.head().await;
            assert!(head.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{head}");
        }
        assert!(began.elapsed() >= Duration::from_millis(600));
        let log = proxy.log();
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("refused the connection:"))
            .collect();
        let [line] = lines[..] else { panic!("{log}") };
        assert!(line.contains(&format!("`{address}` refused")), "{line}");
        assert!(line.contains("app.test"), "{line}");
    });
}

#[test]
fn a_name_that_is_gone_says_where_to_look() {
    run(async {
        let proxy = Proxy::start_with(json!([{"handle": [{
            "handler": "reverse_proxy",
            "upstreams": [{"dial": "no-such-service.invalid:80"}],
            "load_balancing": {"retries": 1},
        }]}]))
        .await;
        let mut client = proxy.send(GET).await;
        assert!(client.head().await.starts_with("HTTP/1.1 502 "));
        let log = proxy.log();
        assert!(log.contains("`no-such-service.invalid`"), "{log}");
    });
}

#[test]
fn what_was_sent_is_not_sent_again() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let mut client = proxy
            .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody")
            .await;
        let mut connection = upstream.accept().await;
        connection.read_to("body").await;
        drop(connection);
        tokio::select! {
            head = client.head() => assert!(head.starts_with("HTTP/1.1 502 "), "{head}"),
            _ = upstream.accept() => panic!("it was sent again"),
        }
    });
}

#[test]
fn a_connection_that_closed_in_between_is_replaced() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(json!({}), &[upstream.address]).await;
        let mut client = proxy.send(GET).await;
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection.write(OK).await;
        client.read_to("ok").await;
        // It closes at the very moment when the next request is on its way.
        client.write(GET).await;
        connection.head().await;
        drop(connection);
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection.write(OK).await;
        client.read_to("ok").await;
    });
}

#[test]
fn a_get_is_tried_again_where_that_is_configured() {
    run(async {
        let upstream = Upstream::bind().await;
        let handler = json!({"load_balancing": {"retries": 2}});
        let proxy = Proxy::start(handler, &[upstream.address]).await;
        let mut client = proxy.send(GET).await;
        for _ in 0..2 {
            upstream.accept().await.head().await;
        }
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection.write(OK).await;
        client.read_to("ok").await;
    });
}

#[test]
fn a_slow_answer_is_a_gateway_timeout() {
    run(async {
        let upstream = Upstream::bind().await;
        let transport = json!({"protocol": "http", "response_header_timeout": "50ms"});
        let proxy = Proxy::start(json!({"transport": transport}), &[upstream.address]).await;
        let mut client = proxy.send(GET).await;
        let mut connection = upstream.accept().await;
        connection.head().await;
        assert!(
            client
                .head()
                .await
                .starts_with("HTTP/1.1 504 Gateway Timeout\r\n")
        );
        assert_eq!(connection.rest().await, "");
    });
}
