use serde_json::json;

use crate::peer::{OK, Proxy, Upstream, free_ports, run};

const EXPECTING: &str =
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n";

#[test]
fn a_client_is_told_to_continue_once_somebody_takes_the_body() {
    run(async {
        let [address] = free_ports();
        let proxy = Proxy::start(json!({}), &[address]).await;
        let mut client = proxy.send(EXPECTING).await;
        // Nobody is there yet: the request is held, and so is its body.
        let silent = tokio::time::timeout(std::time::Duration::from_millis(300), client.head());
        assert!(silent.await.is_err());
        let upstream = Upstream::bind_to(address).await;
        let mut connection = upstream.accept().await;
        assert!(connection.head().await.contains("expect: 100-continue\r\n"));
        assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.write("body").await;
        connection.read_to("body").await;
        connection.write(OK).await;
        client.read_to("ok").await;
    });
}

#[test]
fn the_upstream_decides_where_it_is_given_time_to() {
    run(async {
        let handler = json!({"transport": {"protocol": "http", "expect_continue_timeout": "30s"}});
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(handler, &[upstream.address]).await;
        let mut client = proxy.send(EXPECTING).await;
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection
            .write("HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\n\r\nno")
            .await;
        // No `100 Continue` came before it.
        assert!(client.head().await.starts_with("HTTP/1.1 417 "));
        client.read_to("no").await;

        let mut client = proxy.send(EXPECTING).await;
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection.write("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.write("body").await;
        connection.read_to("body").await;
        connection.write(OK).await;
        client.read_to("ok").await;
    });
}
