use serde_json::json;

use crate::peer::{GET, Proxy, Upstream, run};

#[test]
fn the_upstream_learns_that_the_client_left() {
    run(async {
        for part in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart"] {
            let upstream = Upstream::bind().await;
            let proxy = Proxy::start(json!({}), &[upstream.address]).await;
            let mut client = proxy.send(GET).await;
            let mut connection = upstream.accept().await;
            connection.head().await;
            connection.write(part).await;
            if !part.is_empty() {
                client.read_to("part").await;
            }
            drop(client);
            assert_eq!(connection.rest().await, "");
        }
    });
}

#[test]
fn an_upload_that_breaks_off_breaks_off_for_the_upstream() {
    run(async {
        for framing in ["content-length: 100", "transfer-encoding: chunked"] {
            let upstream = Upstream::bind().await;
            let proxy = Proxy::start(json!({}), &[upstream.address]).await;
            let mut client = proxy
                .send(&format!(
                    "POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n4\r\npart\r\n"
                ))
                .await;
            let mut connection = upstream.accept().await;
            connection.read_to("part").await;
            tokio::io::AsyncWriteExt::shutdown(&mut client.stream)
                .await
                .unwrap();
            drop(client);
            let rest = connection.rest().await;
            assert!(!rest.contains("0\r\n\r\n"), "{rest:?} looks complete");
            assert!(!proxy.log().contains("\"ERROR\""), "{}", proxy.log());
        }
    });
}
