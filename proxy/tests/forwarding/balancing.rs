use serde_json::json;

use crate::peer::{GET, OK, Proxy, Upstream, free_ports, run};

/// Answers all requests with its name.
fn serve(name: &'static str, upstream: Upstream) {
    tokio::spawn(async move {
        loop {
            let mut connection = upstream.accept().await;
            tokio::spawn(async move {
                loop {
                    connection.head().await;
                    connection
                        .write(&format!(
                            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{name}"
                        ))
                        .await;
                }
            });
        }
    });
}

async fn asked(proxy: &Proxy, lines: &str) -> (String, String) {
    let mut client = proxy
        .send(&format!(
            "GET / HTTP/1.1\r\nhost: a\r\n{lines}connection: close\r\n\r\n"
        ))
        .await;
    let head = client.head().await;
    (head, client.rest().await)
}

#[test]
fn upstreams_take_turns() {
    run(async {
        let (a, b) = (Upstream::bind().await, Upstream::bind().await);
        let handler = json!({"load_balancing": {"selection_policy": {"policy": "round_robin"}}});
        let proxy = Proxy::start(handler, &[a.address, b.address]).await;
        serve("a", a);
        serve("b", b);
        let mut answers = String::new();
        for _ in 0..4 {
            answers += &asked(&proxy, "").await.1;
        }
        assert!(answers == "abab" || answers == "baba", "{answers}");
    });
}

#[test]
fn another_upstream_stands_in_at_once() {
    run(async {
        let [away] = free_ports();
        let here = Upstream::bind().await;
        // Whoever waited before the next try would not be back before the test is given up.
        let handler = json!({"load_balancing": {
            "selection_policy": {"policy": "first"},
            "try_duration": "5m",
            "try_interval": "2m",
        }});
        let proxy = Proxy::start(handler, &[away, here.address]).await;
        serve("h", here);
        for _ in 0..20 {
            assert_eq!(asked(&proxy, "").await.1, "h");
        }
    });
}

#[test]
fn a_cookie_leads_back_to_the_same_upstream() {
    run(async {
        let (a, b) = (Upstream::bind().await, Upstream::bind().await);
        let handler = json!({"load_balancing": {"selection_policy": {"policy": "cookie"}}});
        let proxy = Proxy::start(handler, &[a.address, b.address]).await;
        serve("a", a);
        serve("b", b);
        let (head, first) = asked(&proxy, "").await;
        let cookie = head
            .lines()
            .find_map(|line| line.strip_prefix("set-cookie: "))
            .and_then(|cookie| cookie.split(';').next())
            .unwrap_or_else(|| panic!("{head}"));
        for _ in 0..8 {
            let (head, name) = asked(&proxy, &format!("cookie: other=1; {cookie}\r\n")).await;
            assert_eq!(name, first);
            assert!(!head.contains("set-cookie"), "{head}");
        }
    });
}

#[test]
fn an_upstream_that_failed_is_left_alone_for_a_while() {
    run(async {
        let upstream = Upstream::bind().await;
        let handler = json!({
            "health_checks": {"passive": {"fail_duration": "60s", "unhealthy_status": [5]}},
        });
        let proxy = Proxy::start(handler, &[upstream.address]).await;
        let mut client = proxy.send(GET).await;
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection
            .write("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n")
            .await;
        assert!(client.head().await.starts_with("HTTP/1.1 500 "));
        client.write(GET).await;
        assert!(
            client
                .head()
                .await
                .starts_with("HTTP/1.1 503 Service Unavailable\r\n")
        );
    });
}

#[test]
fn an_upstream_that_has_enough_to_do_gets_no_more() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start_with(json!([{"handle": [{
            "handler": "reverse_proxy",
            "upstreams": [{"dial": upstream.address.to_string(), "max_requests": 1}],
        }]}]))
        .await;
        let mut first = proxy.send(GET).await;
        let mut connection = upstream.accept().await;
        connection.head().await;
        let mut second = proxy.send(GET).await;
        assert!(second.head().await.starts_with("HTTP/1.1 503 "));
        connection.write(OK).await;
        first.read_to("ok").await;
        let mut third = proxy.send(GET).await;
        connection.head().await;
        connection.write(OK).await;
        third.read_to("ok").await;
    });
}

#[test]
fn a_dial_address_may_come_with_the_request() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start_with(json!([{"handle": [{
            "handler": "reverse_proxy",
            "upstreams": [{"dial": "127.0.0.1:{http.request.header.X-Port}"}],
        }]}]))
        .await;
        let port = upstream.address.port();
        serve("x", upstream);
        assert_eq!(asked(&proxy, &format!("x-port: {port}\r\n")).await.1, "x");
        let (head, _) = asked(&proxy, "x-port: none\r\n").await;
        assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
    });
}
