use serde_json::json;

use crate::peer::{GET, OK, Proxy, Upstream, run};

#[test]
fn each_request_tells_who_its_client_is() {
    run(async {
        let upstream = Upstream::bind().await;
        let transport = json!({"protocol": "http", "proxy_protocol": "v1"});
        let proxy = Proxy::start(json!({"transport": transport}), &[upstream.address]).await;
        for _ in 0..2 {
            let mut client = proxy.send(GET).await;
            let from = client.stream.local_addr().unwrap().port();
            let to = proxy.address.port();
            let mut connection = upstream.accept().await;
            let line = connection.read_to("\r\n").await;
            assert_eq!(
                line,
                format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\n")
            );
            assert!(connection.head().await.starts_with("GET / HTTP/1.1\r\n"));
            connection.write(OK).await;
            client.read_to("ok").await;
            // It is of no use to other clients.
            assert_eq!(connection.rest().await, "");
        }
    });
}

#[test]
fn connections_are_made_from_the_local_address() {
    run(async {
        let upstream = Upstream::bind().await;
        let transport = json!({"protocol": "http", "local_address": "127.0.0.9"});
        let proxy = Proxy::start(json!({"transport": transport}), &[upstream.address]).await;
        let mut client = proxy.send(GET).await;
        let mut connection = upstream.accept().await;
        let from = connection.stream.peer_addr().unwrap().ip().to_string();
        assert_eq!(from, "127.0.0.9");
        connection.head().await;
        connection.write(OK).await;
        client.read_to("ok").await;
    });
}

#[test]
fn responses_are_held_back_until_they_are_buffered() {
    run(async {
        let upstream = Upstream::bind().await;
        let handler = json!({"response_buffers": 8});
        let proxy = Proxy::start(handler, &[upstream.address]).await;
        let mut client = proxy.send(GET).await;
        let mut connection = upstream.accept().await;
        connection.head().await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        connection.write(&format!("{head}4\r\none \r\n")).await;
        tokio::select! {
            biased;
            head = client.head() => panic!("{head} came before 8 bytes"),
            () = tokio::time::sleep(std::time::Duration::from_millis(100)) => {}
        }
        connection.write("6\r\ntwo on\r\n").await;
        client.read_to("two on").await;
        connection.write("5\r\n more\r\n0\r\n\r\n").await;
        client.read_to("more").await;
        // One that ends earlier has a length.
        client.read_to("0\r\n\r\n").await;
        client.write(GET).await;
        connection.head().await;
        connection
            .write(&format!("{head}2\r\nok\r\n0\r\n\r\n"))
            .await;
        let head = client.head().await;
        assert!(head.contains("content-length: 2\r\n"), "{head}");
    });
}
