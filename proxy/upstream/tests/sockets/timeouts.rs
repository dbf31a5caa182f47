use std::time::Duration;

use http_body_util::BodyExt as _;
use upstream::{BodyError, SendErrorKind, Target};

use crate::peer::{Upstream, client, get, run, spawn_send};

#[test]
fn a_silent_upstream_is_given_up() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let mut settings = upstream.settings();
        settings.response_header_timeout = Some(Duration::from_millis(50));
        let target = Target::new(settings).unwrap();
        let sending = spawn_send(&client, &target, get("/"));
        let mut connection = upstream.accept().await;
        connection.head().await;
        let error = sending.await.unwrap().unwrap_err();
        assert_eq!(error.kind, SendErrorKind::HeaderTimeout);
        connection.closed().await;
    });
}

#[test]
fn a_body_that_stalls_is_given_up() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let mut settings = upstream.settings();
        settings.read_timeout = Some(Duration::from_millis(50));
        let target = Target::new(settings).unwrap();
        let sending = spawn_send(&client, &target, get("/"));
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection
            .write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart")
            .await;
        let error = sending
            .await
            .unwrap()
            .unwrap()
            .into_body()
            .collect()
            .await
            .unwrap_err();
        assert!(matches!(error, BodyError::ReadTimeout(_)), "{error}");
        connection.closed().await;
    });
}

#[test]
fn an_upstream_that_takes_no_bytes_is_given_up() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let mut settings = upstream.settings();
        settings.write_timeout = Some(Duration::from_millis(50));
        let target = Target::new(settings).unwrap();
        let body = http_body_util::Full::new(vec![0; 64 << 20].into()).boxed_unsync();
        let sending = spawn_send(&client, &target, crate::peer::request("POST", "/", body));
        let mut connection = upstream.accept().await;
        connection.head().await;
        let error = sending.await.unwrap().unwrap_err();
        assert_eq!(error.kind, SendErrorKind::Closed);
    });
}
